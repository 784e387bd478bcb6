"""Contestants for the tests of the runner."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from runner.worker import Worker


class Steady(Worker):
    """Says what its option tells it to; notes its turns, and its end, in a file."""

    def once(self) -> Sequence[float]:
        self._note("turn")
        return [float(self.options["seconds"])] * 3

    def check(self) -> str:
        return "as it should be"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._note("end")

    def _note(self, what: str) -> None:
        with Path(self.options["notes"]).open("a") as file:
            file.write(f"{self.options['name']} {what}\n")


class Dying(Worker):
    """Ends in its second round."""

    rounds = 0

    def once(self) -> Sequence[float]:
        self.rounds += 1
        if self.rounds > 1:
            sys.exit(3)
        return [1.0]


class Wrong(Worker):
    """Did not do what it was to do."""

    def once(self) -> Sequence[float]:
        return [1.0]

    def check(self) -> str:
        raise AssertionError("nothing is there")


class Slow(Worker):
    """Takes longer than anybody has."""

    def once(self) -> Sequence[float]:
        time.sleep(60)
        return [60.0]
