"""A contestant's own process: it gets ready, does the work once for each line that comes in, and says what that took.

    python -m runner.worker module:class SCALE SEED [name=value ...]

It prints JSON lines: `ready`, then one for each line of standard input, and `end` when that has ended and all is cleaned up.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from runner.records import undisturbed

__all__ = ["Worker", "loop", "main"]

_LOOP: Final = 12_000
_SPREAD: Final = 2_654_435_761
"""By which neighbouring numbers get far from each other (Knuth's multiplicative hash)."""

_LONG_ENOUGH: Final = 0.3
"""Seconds, after which the speed of a machine that others share is known well enough."""


class Worker(ABC):
    """The work of one contestant at one scale. A context manager: what it needs is there from `__enter__` to `__exit__`."""

    cpu: bool = False
    """Whether what is said is CPU time."""

    def __init__(self, scale: int, seed: int, **options: str) -> None:
        self.scale, self.seed, self.options = scale, seed, options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def timeline(self) -> Sequence[tuple[float, str]]:
        """What is to be drawn of the last round: when who answered, in seconds from what was done to them; "": nobody."""
        return ()

    @abstractmethod
    def once(self) -> Sequence[float]:
        """Do the work of one round; the seconds of each unit of it, or bytes."""

    def check(self) -> str:
        """Read back what was done, outside of what is measured, and say it. Raises AssertionError where it is not that."""
        return ""


def loop() -> float:
    """CPU seconds of a fixed piece of Python, which makes, hashes and finds things, as vipnet does.

    Code like it suffers as it does where others use the machine's caches; a loop of additions alone would not.
    """
    begun, found = time.process_time(), dict[int, tuple[int, str]]()
    for number in range(_LOOP):
        key = number * _SPREAD & 0xFFFFFFFF
        found[key] = number, str(key)
    if sum(len(found[key][1]) for key in found) <= _LOOP:
        raise AssertionError("digits are missing")
    return time.process_time() - begun


def main(arguments: Sequence[str]) -> None:
    """Be a contestant."""
    where, scale, seed, *rest = arguments
    module, _, name = where.partition(":")
    kind: type[Worker] = getattr(importlib.import_module(module), name)
    made = kind(int(scale), int(seed), **dict(one.split("=", 1) for one in rest))
    signal.signal(signal.SIGTERM, _end)
    begun = time.perf_counter()
    with made:
        gc.collect()
        _say(ready=time.perf_counter() - begun)
        for _ in sys.stdin:
            samples, looped = _round(made)
            _say(samples=samples, loop=looped, cpu=made.cpu, timeline=made.timeline())
        checked = made.check()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all is cleaned up, and the end is near
    _say(end=True, checked=checked, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _round(made: Worker) -> tuple[list[float], float]:
    """One round. Work that takes CPU time alone, and little of it, is done again and again, with the loop before each time."""
    samples, loops = list[float](), list[float]()
    until = time.perf_counter() + (_LONG_ENOUGH if made.cpu else 0)
    while not samples or time.perf_counter() < until:
        loops.append(loop())
        samples += made.once()
    return samples, undisturbed(loops)


def _say(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)  # by way of `__exit__`: nothing is left behind


if __name__ == "__main__":
    main(sys.argv[1:])
