"""What a client sees while a VIP moves: a new HTTP connection every 20 ms, and a drawing of the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from vipnet.lab import probe
from vipnet.lab.node import LabNode

__all__ = ["Answer", "Watcher", "draw", "longest_gap"]

_STEP = 0.02
_TIMEOUT = 0.25
_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Answer:
    """One attempt: when it began and ended, in seconds of the monotonic clock, and the page; None: no answer in time."""

    began: float
    ended: float
    page: str | None


class Watcher:
    """A context manager that asks `ip` for its page from `client`, in a thread, all the time.

    An attempt is given up after `timeout` seconds, in which nothing else is asked: no gap is known more exactly.
    """

    def __init__(self, client: LabNode, ip: str, *, timeout: float = _TIMEOUT) -> None:
        self.answers: list[Answer] = []
        self._ip = ip
        self._timeout = timeout
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: client.call(self._ask), name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def served_by(self, name: str) -> bool:
        """Whether the last attempt was answered with the page of this server."""
        last = self.answers[-1:]
        return bool(last) and last[0].page is not None and last[0].page.strip() == name

    def since(self, began: float) -> list[Answer]:
        """The attempts that ended after a moment, and the one before them."""
        answers = list(self.answers)
        first = next((place for place, answer in enumerate(answers) if answer.ended >= began), len(answers))
        return answers[max(first - 1, 0) :]

    def _ask(self) -> None:
        tick = time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            page = probe.http_get(self._ip, port=80, timeout=self._timeout)
            self.answers.append(Answer(began, time.monotonic(), page))
            tick = max(tick + _STEP, time.monotonic() - _STEP)
            self._stop.wait(max(0.0, tick - time.monotonic()))


def longest_gap(answers: Iterable[Answer]) -> float:
    """The longest time without an answer, in seconds: from the end of a good attempt to the end of the next good one."""
    good = [answer.ended for answer in answers if answer.page is not None]
    return max((ended - began for began, ended in pairwise(good)), default=0.0)


def draw(answers: list[Answer], signs: dict[str, str]) -> str:
    """Draw attempts as one line of signs, `signs` by page, a dot for none; the scale is at the end."""
    began, ended = answers[0].began, answers[-1].ended
    step = max(0.05, (ended - began) / _WIDTH)
    line = ["."] * (int((ended - began) / step) + 1)
    for answer in answers:
        place = int((answer.ended - began) / step)
        if answer.page is not None and answer.ended - answer.began < _TIMEOUT:
            line[place] = signs.get(answer.page.strip(), "?")
    return f"{''.join(line)}  ({step * 1000:.0f} ms each)"
