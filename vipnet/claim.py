"""Which process watches a store: a lock beside it, the kernel's (flock), so that who is killed claims nothing any more."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from vipnet.errors import DataplaneError

__all__ = ["Claim"]

_PATIENCE: Final = 0.2
"""Seconds in which somebody else who only looks has let go."""


class Claim:
    """The lock of a file, `PATH.watch`, which names its holder. Others that look hold it for a moment, shared."""

    __slots__ = ("_descriptor", "_name")

    def __init__(self, path: Path) -> None:
        self._name = f"{path}.watch"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Claim, or go on claiming; False: another one does. Raises DataplaneError."""
        if self._descriptor is None:
            descriptor = self._open(os.O_RDWR | os.O_CREAT)
            try:
                if not _locks(descriptor):
                    os.close(descriptor)
                    return False
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                os.close(descriptor)
                raise DataplaneError(f"{self._name} cannot be locked: {error.strerror}") from error
            self._descriptor = descriptor
        return True

    def holder(self) -> int | None:
        """The process that claims, 0: not known which; None: nobody does, or only we. Raises DataplaneError."""
        if self._descriptor is not None:
            return None
        try:
            descriptor = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = os.pread(descriptor, 16, 0).decode(errors="replace").strip()
            return int(found) if found.isdecimal() else 0
        else:
            return None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Claim no more."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a child that was forked meanwhile
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, flags: int) -> int:
        try:
            return os.open(self._name, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DataplaneError(f"{self._name} cannot be opened: {error.strerror}") from error


def _locks(descriptor: int) -> bool:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        else:
            return True
