"""Contestants of a scenario at one scale: each in a process of its own, taking turns round by round, so that drift cancels."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from runner.presence import absence
from runner.records import Absence, Key, Record
from runner.scenario import Contestant, Scenario

__all__ = ["NO_TIME", "Plan", "held"]

_HERE: Final = Path(__file__).resolve().parent.parent
_CLEAN: Final = 60.0
"""Seconds that it may take to clean up."""

NO_TIME: Final = "there was no time for a round"
"""Why somebody is absent when the time is over."""

_SOON: Final = 1.0
"""Seconds in which who is ready soon is ready."""

_READY: Final = 600.0
"""Seconds that a contestant may take to get ready, or for one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One scenario at one scale: who takes part, how many rounds there are to be, and when it must end."""

    scenario: Scenario
    scale: int
    contestants: Sequence[Contestant]
    rounds: int
    seed: int
    until: float
    """By `time.monotonic`."""


class _FailedError(Exception):
    """A contestant has ended, or does not answer."""


class _Process:
    """A contestant's process. A context manager; at its end the process has cleaned up, or was killed.

    Work that asks no data plane has a new process each round, if one is soon ready: where things lie in its memory is chance,
    and makes the same code up to a tenth slower or faster.
    """

    def __init__(self, plan: Plan, contestant: Contestant) -> None:
        options = [f"{name}={value}" for name, value in contestant.options.items()]
        python = [sys.executable, "-W", "ignore", "-m", "runner.worker"]
        self._words = [*python, contestant.worker, str(plan.scale), str(plan.seed), *options]
        self.key = Key(scenario=plan.scenario.id, scale=plan.scale, contestant=contestant.name)
        self._until = plan.until
        self._is_light = plan.scenario.group == "pure"
        self._process = self._begun()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _begun(self) -> subprocess.Popen[str]:
        env = os.environ | {"PYTHONHASHSEED": "0"}  # or tables of the same things lie otherwise in each process
        pipe = subprocess.PIPE
        return subprocess.Popen(self._words, cwd=_HERE, stdin=pipe, stdout=pipe, text=True, env=env)

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.terminate()
        try:
            self._process.wait(_CLEAN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ready(self) -> dict[str, Any]:
        """Wait until it is. Raises _FailedError."""
        said = self.answer()
        self._is_light = self._is_light and said["ready"] < _SOON
        return said

    def turn(self, number: int) -> dict[str, Any]:
        """Have it do the work of a round; the first one warms up. Raises _FailedError."""
        if number and self._is_light:
            self.end()
            self._close()
            self._process = self._begun()
            self.answer()
        return self.go()

    def answer(self) -> dict[str, Any]:
        """What it says next. Raises _FailedError."""
        assert self._process.stdout is not None
        patience = min(_READY, max(1.0, self._until - time.monotonic()))
        if not select.select([self._process.stdout], [], [], patience)[0]:
            late = f"took more than {patience:.0f} s"
            raise _FailedError(late if patience == _READY else f"{NO_TIME}: it {late}")
        line = self._process.stdout.readline()
        if not line:
            raise _FailedError(f"ended with status {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def go(self) -> dict[str, Any]:
        """Have it do its work once. Raises _FailedError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise _FailedError(f"ended with status {self._process.wait()}") from error
        return self.answer()

    def end(self) -> dict[str, Any]:
        """Have it read back what it did, and clean up. Raises _FailedError."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.answer()


def _too_late(plan: Plan) -> str:
    return NO_TIME if time.monotonic() > plan.until else ""


def held(plan: Plan, done: Collection[Key], tell: Callable[[str], object] = str) -> Iterator[Record | Absence]:
    """Hold a contest, and yield each record when it is known; contestants that are `done` already take no part again.

    The first round warms up, and is not recorded. Who fails, or is not ready in time, is absent from then on. When the time is
    over no round begins, and nobody gets ready.
    """
    with ExitStack() as stack:
        running: list[_Process] = []
        for contestant in plan.contestants:
            key = Key(scenario=plan.scenario.id, scale=plan.scale, contestant=contestant.name)
            if key in done:
                continue
            if reason := absence(contestant, plan.scale) or _too_late(plan):
                yield Absence(key=key, reason=reason)
                continue
            process = stack.enter_context(_Process(plan, contestant))
            tell(f"{contestant.name} gets ready")
            failed = _tried(process, process.ready)
            if isinstance(failed, Absence):
                yield failed
            else:
                running.append(process)
        yield from _rounds(plan, running, tell)


def _rounds(plan: Plan, running: list[_Process], tell: Callable[[str], object]) -> Iterator[Record | Absence]:
    records: dict[Key, list[Record]] = {process.key: [] for process in running}
    for number in range(plan.rounds + 1):
        if time.monotonic() > plan.until:
            break
        tell(f"round {number} of {plan.rounds}")
        for process in _turned(running, number):
            said = _tried(process, partial(process.turn, number))
            if isinstance(said, Absence):
                running.remove(process)
                yield said
            elif number:
                records[process.key].append(_record(process.key, number, said))
    for process in running:
        yield from _ended(process, records[process.key])


def _ended(process: _Process, records: Sequence[Record]) -> Iterator[Record | Absence]:
    """What is known of a contestant, if what it did is what it was to do."""
    said = _tried(process, process.end)
    if isinstance(said, Absence):
        yield said
    elif not records:
        yield Absence(key=process.key, reason=NO_TIME)
    else:
        *rest, last = records
        yield from rest
        yield replace(last, peak_mb=said["peak_mb"], checked=said["checked"])


def _record(key: Key, number: int, said: dict[str, Any]) -> Record:
    timeline = tuple((seconds, who) for seconds, who in said["timeline"])
    return Record(
        key=key, round=number, samples=tuple(said["samples"]), loop=said["loop"], cpu=said["cpu"], timeline=timeline
    )


def _turned(running: list[_Process], number: int) -> list[_Process]:
    """Another one begins each round."""
    turn = number % len(running) if running else 0
    return [*running[turn:], *running[:turn]]


def _tried(process: _Process, work: Callable[[], dict[str, Any]]) -> dict[str, Any] | Absence:
    try:
        return work()
    except _FailedError as error:
        return Absence(key=process.key, reason=str(error))
