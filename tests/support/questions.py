"""Many packet questions at once: who answers whom, in real namespaces and in the simulator."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from vipnet.lab import LabNode
from vipnet.testing import Answer, Probe
from vipnet.testing.responder import PORT

__all__ = ["Question", "asked", "expected"]

_GRACE = 0.03
"""Seconds in which an answer comes that should not."""

_PATIENCE = 5.0
_AGAIN = 0.5


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """A datagram from a machine, by an address of its own (src ""): the first one, to an address."""

    sender: str
    src: str
    dst: str


Answers = dict[Question, Answer]


def expected(oracle: Probe, questions: Iterable[Question]) -> Answers:
    """What a probe answers; who gets no answer is left out."""
    found = ((one, oracle.udp(one.sender, one.dst, src=one.src or None)) for one in questions)
    return {question: answer for question, answer in found if answer is not None}


def asked(
    nodes: Mapping[str, LabNode], questions: Sequence[Question], wanted: Answers, meanwhile: Callable[[], object] = lambda: None
) -> Answers:
    """Ask all in real namespaces at once; wait until what is wanted was answered, and a moment for what is not.

    `meanwhile` is done when all are sent.
    """
    with _Batch(nodes, questions) as batch:
        sent = batch.send(questions)
        until = sent + _PATIENCE
        meanwhile()
        batch.hear(sent + _GRACE)
        while (missing := batch.missing(wanted)) and time.monotonic() < until:
            if time.monotonic() > sent + _AGAIN:
                sent = batch.send(missing)
            batch.hear(time.monotonic() + 0.01)
        batch.hear(sent + _GRACE)
        return batch.answers


@dataclass(slots=True)
class _Batch:
    nodes: Mapping[str, LabNode]
    questions: Sequence[Question]
    answers: Answers = field(default_factory=Answers)
    _sockets: dict[tuple[str, str], socket.socket] = field(default_factory=dict[tuple[str, str], socket.socket])
    _ears: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> _Batch:
        self._stack.enter_context(self._ears)
        places = sorted({(one.sender, one.src) for one in self.questions})
        for sender, mine in groupby(places, key=lambda place: place[0]):
            sources = [src for _, src in mine]
            for src, opened in zip(sources, self.nodes[sender].call(partial(_opened, sources)), strict=True):
                self._sockets[sender, src] = self._stack.enter_context(opened)
                self._ears.register(opened, selectors.EVENT_READ, (sender, src))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, questions: Iterable[Question]) -> float:
        """Send them; return when that was done."""
        for one in questions:
            try:
                self._sockets[one.sender, one.src].sendto(bytes(64), (one.dst, PORT))
            except OSError:  # this machine has no such address now, or no way there
                continue
        return time.monotonic()

    def missing(self, wanted: Answers) -> list[Question]:
        """What was not answered as it should be."""
        return [one for one, answer in wanted.items() if self.answers.get(one) != answer]

    def hear(self, until: float) -> None:
        """Take in what has come, and what comes until then."""
        while (ready := self._ears.select(max(0, until - time.monotonic()))) or time.monotonic() < until:
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                sender, src = key.data
                self._take(sender, src, key.fileobj)

    def _take(self, sender: str, src: str, ear: socket.socket) -> None:
        try:
            said, (peer, *_) = ear.recvfrom(200)
        except OSError:
            return
        server, saw = said.decode().split()
        self.answers[Question(sender, src, peer)] = Answer(server, saw)


def _opened(sources: Iterable[str]) -> list[socket.socket]:
    found: list[socket.socket] = []
    for src in sources:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        if src:
            one.bind((src, 0))
        found.append(one)
    return found
