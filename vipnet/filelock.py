"""A lock between processes, beside a file: the kernel's (flock), so that one who is killed lets go."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from vipnet.errors import DataplaneError

__all__ = ["locked"]

_PATIENCE = 60.0


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold the lock of a file, `PATH.lock`, which names its holder. Raises DataplaneError after a minute of waiting."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path)
        os.pwrite(descriptor, f"{os.getpid():<10}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _acquire(descriptor: int, path: Path) -> None:
    until = time.monotonic() + _PATIENCE
    wait = 0.0002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                holder = os.pread(descriptor, 16, 0).decode(errors="replace").strip() or "unknown"
                raise DataplaneError(f"process {holder} has been changing {path} for {_PATIENCE:g} s; end it, or wait") from error
            time.sleep(wait)
            wait = min(wait * 1.5, 0.02)
        else:
            return
