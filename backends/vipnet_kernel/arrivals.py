"""Names of network namespaces that come and go, as /run/netns tells (inotify(7)).

By ctypes, for want of it in the standard library: three calls.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from vipnet.errors import DataplaneError

__all__ = ["Arrivals"]

_FOLDER = Path("/run/netns")
_CREATE, _DELETE = 0x100, 0x200
_OVERFLOW = 0x4000
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("=iIII")


class Arrivals:
    """Hears of names in /run/netns; a name that came may not be a namespace yet."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        _FOLDER.mkdir(mode=0o755, exist_ok=True)  # as ip-netns(8) makes it with the first namespace
        self._descriptor: int = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, bytes(_FOLDER), _CREATE | _DELETE) < 0:
            reason = os.strerror(ctypes.get_errno())
            self.close()
            raise DataplaneError(f"{_FOLDER} cannot be watched: {reason}; see fs.inotify.max_user_instances")

    def fileno(self) -> int:
        """For poll."""
        return self._descriptor

    def read(self) -> Iterator[tuple[str, bool]]:
        """Names, and whether they came, since the last call; ("", True): some were lost."""
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            _, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode(errors="replace")
            at += _EVENT.size + length
            yield ("" if mask & _OVERFLOW else name), bool(mask & (_CREATE | _OVERFLOW))

    def close(self) -> None:
        """Hear no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
