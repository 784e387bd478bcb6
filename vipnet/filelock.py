"""A lock between processes, beside a file: the kernel's (flock), so that one who is killed lets go.

A program that the holder has started holds on with it: what a killed process was doing through one ends before the next
process begins.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from vipnet.errors import DataplaneError

__all__ = ["held", "locked"]

_PATIENCE = 60.0
_HELD: ContextVar[tuple[int, ...]] = ContextVar("held", default=())


def held() -> tuple[int, ...]:
    """The file descriptors of the locks that this thread holds."""
    return _HELD.get()


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold the lock of a file, `PATH.lock`, which names its holder.

    Raises DataplaneError when it cannot be had: after a minute of waiting, or when the system refuses it.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path)
        before = _HELD.set((*_HELD.get(), descriptor))
        try:
            yield
        finally:
            _HELD.reset(before)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataplaneError(f"{path}.lock cannot be opened: {error.strerror}") from error


def _acquire(descriptor: int, path: Path) -> None:
    try:
        _wait(descriptor, path)
        os.pwrite(descriptor, f"{os.getpid():<10}\n".encode(), 0)
    except OSError as error:
        raise DataplaneError(f"{path} cannot be locked: {error.strerror}") from error


def _wait(descriptor: int, path: Path) -> None:
    until = time.monotonic() + _PATIENCE
    wait = 0.0002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                holder = os.pread(descriptor, 16, 0).decode(errors="replace").strip() or "unknown"
                raise DataplaneError(
                    f"process {holder}, or a program of its, has been changing {path} for {_PATIENCE:g} s; end it, or wait"
                ) from error
            time.sleep(wait)
            wait = min(wait * 1.5, 0.02)
        else:
            return
