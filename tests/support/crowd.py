"""Many processes at once, some killed and replaced, and what they said until then."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, cast

__all__ = ["Crowd"]


@dataclass(slots=True)
class _One:
    """A process; its doom: so many lines from now, and so many seconds after the last of them, it is killed."""

    process: subprocess.Popen[bytes]
    lines: float
    seconds: float
    heard: bytes = b""
    until: float = float("inf")

    @property
    def out(self) -> IO[bytes]:
        return cast(IO[bytes], self.process.stdout)


class Crowd:
    """Keeps `size` processes at work, each with a number of its own, until enough lines have been said.

    `argv` makes the command line of a process from its number; it prints a line for each thing that it did and ends by
    itself. One in `survives` does; the others are killed by SIGKILL within their first `lines`, wherever they are then.
    A context manager.
    """

    def __init__(
        self, argv: Callable[[int], Sequence[str]], size: int, chance: random.Random, *, survives: float = 0.3, lines: int = 20
    ) -> None:
        self.argv = argv
        self.size = size
        self.said: Counter[str] = Counter()
        self.started = 0
        self.killed = 0
        self._chance = chance
        self._survives = survives
        self._lines = lines
        self._alive: list[_One] = []
        self._stack = ExitStack()
        self._ears = self._stack.enter_context(selectors.DefaultSelector())

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._alive:
            one.process.kill()
        self._stack.close()

    def run(self, lines: int) -> None:
        """Let them say so many lines, and wait until the last ones end."""
        while self.said.total() < lines or self._alive:
            while len(self._alive) < self.size and self.said.total() < lines:
                self._start()
            soonest = min(one.until for one in self._alive)
            for key, _ in self._ears.select(min(1.0, max(0.0, soonest - time.monotonic()))):
                self._hear(key.data)
            self._kill()

    def _start(self) -> None:
        argv = [sys.executable, *self.argv(self.started)]
        process = self._stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
        lives = self._chance.random() < self._survives
        one = _One(process, float("inf") if lives else self._chance.randrange(1, self._lines), self._chance.uniform(0, 0.1))
        self.started += 1
        self._alive.append(one)
        self._ears.register(one.out, selectors.EVENT_READ, one)

    def _hear(self, one: _One) -> None:
        """Take what was said, line by line; a last one that death cut off is dropped."""
        heard = os.read(one.out.fileno(), 1 << 16)
        *lines, one.heard = (one.heard + heard).split(b"\n")
        self.said.update(line.decode() for line in lines)
        one.lines -= len(lines)
        if one.lines <= 0:
            one.until = min(one.until, time.monotonic() + one.seconds)
        if not heard:
            self._bury(one)

    def _bury(self, one: _One) -> None:
        self._ears.unregister(one.out)
        self._alive.remove(one)
        status = one.process.wait()
        self.killed += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL), f"a process ended with status {status}"

    def _kill(self) -> None:
        for one in self._alive:
            if one.until < time.monotonic():
                one.process.kill()
