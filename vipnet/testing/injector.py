"""Faults at the seams: the few functions through which a program asks or changes the world outside it.

An `Injector` wraps them for the length of a `with` block, counts their calls, and lets one go wrong:

    fail         it is refused, and nothing is done
    timeout      nothing is done, and no answer comes
    lost         it is done, and no answer comes
    interrupt    KeyboardInterrupt instead of it
    kill         the process dies by SIGKILL before it
    kill after   ... and after it

`core_seams` are those of vipnet itself; a backend adds its own.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NoReturn, assert_never, cast

__all__ = ["Injector", "Kind", "Seam", "core_seams", "raising"]

Kind = Literal["fail", "timeout", "lost", "interrupt", "kill", "kill after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """A function or method, `attribute` of `owner`, that callers look up there at each call.

    `refuse` and `silence` get its arguments and do what it does when it is refused, and when no answer comes. `kinds` are
    the faults that it knows.
    """

    name: str
    owner: Any
    attribute: str
    refuse: Callable[..., Any]
    silence: Callable[..., Any]
    kinds: Sequence[Kind] = ("fail", "timeout", "lost", "interrupt", "kill", "kill after")


def raising(make: Callable[[], BaseException]) -> Callable[..., NoReturn]:
    """For a seam that tells by an exception."""

    def function(*_: Any, **__: Any) -> NoReturn:
        raise make()

    return function


class Injector:
    """Counts calls from 0 and strikes at number `point`; None: never. `passed` are the names of the seams met, in order.

    `relevant` says of a call, in the thread that makes it, whether it counts.
    """

    def __init__(
        self, seams: Iterable[Seam], *, point: int | None = None, kind: Kind = "fail", relevant: Callable[[], bool] = lambda: True
    ) -> None:
        self.passed: list[str] = []
        self._seams = list(seams)
        self._point = point
        self._kind: Kind = kind
        self._relevant = relevant
        self._lock = threading.Lock()
        self._inner: list[tuple[Seam, Any]] = []

    def __enter__(self) -> Injector:
        for seam in self._seams:
            inner = cast(dict[str, Any], vars(seam.owner))[seam.attribute]
            self._inner.append((seam, inner))
            setattr(seam.owner, seam.attribute, self._wrapped(seam, inner))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._inner:
            seam, inner = self._inner.pop()
            setattr(seam.owner, seam.attribute, inner)

    def _wrapped(self, seam: Seam, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **options: Any) -> Any:
            if not (self._relevant() and self._is_struck(seam)):
                return inner(*args, **options)
            return self._strike(seam, inner, args, options)

        return outer

    def _is_struck(self, seam: Seam) -> bool:
        with self._lock:
            self.passed.append(seam.name)
            return self._point == len(self.passed) - 1 and self._kind in seam.kinds

    def _strike(self, seam: Seam, inner: Callable[..., Any], args: Any, options: Any) -> Any:
        match self._kind:
            case "fail":
                return seam.refuse(*args, **options)
            case "timeout":
                return seam.silence(*args, **options)
            case "lost":
                inner(*args, **options)
                return seam.silence(*args, **options)
            case "interrupt":
                raise KeyboardInterrupt
            case "kill":
                return _die()
            case "kill after":
                inner(*args, **options)
                return _die()
            case _:
                assert_never(self._kind)


def core_seams() -> tuple[Seam, ...]:
    """Where vipnet itself meets the world: commits of the store, its lock, programs."""
    from sqlalchemy.engine.default import DefaultDialect

    from vipnet import filelock, process

    return (
        Seam(
            name="store",
            owner=DefaultDialect,
            attribute="do_commit",  # a transaction is one step, and this its end: SQLite sees to what is before
            refuse=raising(lambda: sqlite3.OperationalError("database or disk is full")),
            silence=raising(lambda: sqlite3.OperationalError("disk I/O error")),
        ),
        Seam(
            name="lock",
            owner=filelock,
            attribute="_wait",
            refuse=raising(lambda: OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))),
            silence=raising(lambda: OSError(errno.EINTR, os.strerror(errno.EINTR))),
        ),
        Seam(
            name="program",
            owner=process,
            attribute="_ended",
            refuse=_refused_program,
            silence=_silent_program,
        ),
        Seam(
            name="start",
            owner=process,
            attribute="_start",
            refuse=raising(lambda: OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))),
            silence=raising(lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
            kinds=("fail", "kill after"),  # it is at work then, and nobody waits for it any more
        ),
    )


def _refused_program(argv: Sequence[str], *_: Any) -> subprocess.CompletedProcess[str]:
    said = "/dev/stdin:1:1-9: Error: Could not process rule: Operation not permitted"
    return subprocess.CompletedProcess(list(argv), 1, "", said)


def _silent_program(argv: Sequence[str], _stdin: str | None, timeout: float) -> NoReturn:
    raise subprocess.TimeoutExpired(list(argv), timeout)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
