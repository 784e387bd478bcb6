"""Contestants of nftables: vipnet, the program nft, and the bare kernel with the bytes that vipnet sends."""

from __future__ import annotations

import socket
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from nft_programs import recorded
from nft_scene import Scene, declared, grouped, in_words, nft, without_state
from raw_netfilter import element_count, linked, replay, unconditional

from runner.worker import Worker
from vipnet_nftables.entries import NativeEntry

__all__ = ["Audit", "Change", "Churn", "NftChange", "NftProgram", "Program", "RawChange", "RawProgram", "Unchanged", "timed"]

_CHANGES: Final = 25
_ELEMENTS_EACH: Final = 9
"""What one mapped EIP with a limit is in the kernel."""


class _InScene(Worker):
    """Has a host with a VPC, to which nothing else is done."""

    filled = True
    """Whether its EIPs are there when it is ready."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.stack = stack
            self.scene = stack.enter_context(Scene())
            self.mapped = self.scene.backend.compile(self.scene.mappings(0, self.scale)) if self.filled else {}
            self.scene.program(self.mapped)
            if self.filled:
                self.scene.reopen()
                self.scene.backend.read()
            self.prepare()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Get ready in the scene; what is put on `stack` ends before it."""

    def check(self) -> str:
        found = element_count(self.scene.router)
        assert found >= _ELEMENTS_EACH * self.scale, f"{found} elements for {self.scale} EIPs"
        return f"{found} elements"


class _Anew(Worker):
    """Each round in a scene of its own, with nothing in it but the rules."""

    found = 0

    def once(self) -> Sequence[float]:
        with Scene() as scene:
            took = self.program(scene)
            self.found = element_count(scene.router)
            installed(scene, scene.backend.compile(scene.mappings(self.scale - 1, self.scale)))
        return [took]

    @abstractmethod
    def program(self, scene: Scene) -> float:
        """Program all EIPs; the seconds that it took."""

    def check(self) -> str:
        assert self.found >= _ELEMENTS_EACH * self.scale, f"{self.found} elements for {self.scale} EIPs"
        return f"{self.found} elements"


class Program(_Anew):
    """vipnet: from intents to the acknowledgement of one transaction."""

    def program(self, scene: Scene) -> float:
        mappings, begun = scene.mappings(0, self.scale), time.perf_counter()
        scene.program(scene.backend.compile(mappings))
        return time.perf_counter() - begun


class RawProgram(_Anew):
    """The kernel with the bytes that vipnet sent: no Python in it but one `send`."""

    def __enter__(self) -> Self:
        with Scene() as scene, recorded() as sent:
            scene.program(scene.backend.compile(scene.mappings(0, self.scale)))
            self._sent = [unconditional(one) for one in sent]
        return self

    def program(self, scene: Scene) -> float:
        with linked(scene.router) as link:
            begun = time.perf_counter()
            replay(link, *self._sent)
            return time.perf_counter() - begun


class NftProgram(_Anew):
    """`nft -f` of a file with the same content."""

    def program(self, scene: Scene) -> float:
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            entries = scene.backend.compile(scene.mappings(0, self.scale))
            file.write(declared(scene.router, self.scale) + grouped(in_words(entries.values())))
            file.flush()
            return self.load(scene.router, file.name)

    def load(self, router: str, path: str) -> float:
        """Have a file carried out; the seconds that it took."""
        return timed(lambda: nft(router, "-f", path))


class Change(_InScene):
    """vipnet: one EIP more, then it goes again; from the plan to the acknowledgement."""

    def once(self) -> Sequence[float]:
        return [self._one(number) for number in range(self.scale, self.scale + _CHANGES)]

    def _one(self, number: int) -> float:
        entries = self.scene.backend.compile(self.scene.mappings(number, number + 1))
        steps = self.scene.steps({}, entries)
        begun = time.perf_counter()
        self.scene.carry_out(steps)
        took = time.perf_counter() - begun
        self.scene.carry_out(self.scene.steps(entries, {}))
        return took


class RawChange(_InScene):
    """The kernel with the bytes that vipnet sends for one EIP more."""

    def prepare(self) -> None:
        self._numbers = range(self.scale, self.scale + _CHANGES)
        self._sent = list(map(self._bytes_of, self._numbers))
        self._link: socket.socket = self.stack.enter_context(linked(self.scene.router))

    def once(self) -> Sequence[float]:
        return [self._one(number, sent) for number, sent in zip(self._numbers, self._sent, strict=True)]

    def _bytes_of(self, number: int) -> list[bytes]:
        entries = self.scene.backend.compile(self.scene.mappings(number, number + 1))
        with recorded() as sent:
            self.scene.program(entries)
        self.scene.carry_out(self.scene.steps(entries, {}))
        return [unconditional(one) for one in sent]

    def _one(self, number: int, sent: Sequence[bytes]) -> float:
        begun = time.perf_counter()
        replay(self._link, *sent)
        took = time.perf_counter() - begun
        self.scene.carry_out(self.scene.steps(self.scene.backend.compile(self.scene.mappings(number, number + 1)), {}))
        return took


class NftChange(_InScene):
    """`nft -f -` with the elements of one EIP more. What it has put in is looked for by key each time."""

    changes = 5

    def once(self) -> Sequence[float]:
        return [self._one(number) for number in range(self.scale, self.scale + self.changes)]

    def work(self, entries: Collection[NativeEntry]) -> Callable[[], object]:
        """Get ready to add entries, and return what does it."""
        text = grouped(in_words(entries))
        return lambda: nft(self.scene.router, "-f", "-", text=text)

    def _one(self, number: int) -> float:
        entries = self.scene.backend.compile(self.scene.mappings(number, number + 1))
        took = timed(self.work(entries.values()))
        installed(self.scene, entries)
        nft(self.scene.router, "-f", "-", text=grouped(without_state(in_words(entries.values())), "delete"))
        return took


class Churn(_InScene):
    """A hundred EIPs go and a hundred come: one by one, or in one transaction (option `together`); the time of each of them."""

    def once(self) -> Sequence[float]:
        backend, scene, count = self.scene.backend, self.scene, min(100, self.scale)
        gone, come = (backend.compile(scene.mappings(first, first + count)) for first in (0, self.scale))
        if self.options["together"] == "yes":
            took = timed(lambda: scene.carry_out(scene.steps(gone, come)))
        else:
            took = sum(self._moved(number) for number in range(count))
        scene.carry_out(scene.steps(come, gone))
        return [took / count]

    def _moved(self, number: int) -> float:
        scene, other = self.scene, self.scale + number
        old, new = (scene.backend.compile(scene.mappings(first, first + 1)) for first in (number, other))
        return timed(lambda: scene.carry_out(scene.steps(old, new)))


class Unchanged(_InScene):
    """Whether anything has changed, where nothing has."""

    def once(self) -> Sequence[float]:
        return [timed(self.scene.backend.changed) for _ in range(20)]


class Audit(_InScene):
    """Everything read back and compared; the time of each element."""

    def once(self) -> Sequence[float]:
        expected: dict[str, NativeEntry] = self.mapped
        return [timed(lambda: self.scene.backend.audit(expected)) / (_ELEMENTS_EACH * self.scale)]


def installed(scene: Scene, entries: Mapping[str, NativeEntry]) -> None:
    """Look for entries by key. Raises AssertionError where one is missing, or has another limit than it should."""
    found = scene.backend.evidence([*entries.values()])
    assert {finding.state for finding in found.values()} == {"installed"}, found


def timed(work: Callable[[], object]) -> float:
    """The seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
