"""Room for what arrives while the switch is busy.

The userspace datapath reads devices in the thread that also carries out changes, by packet sockets with the kernel's default
buffer: at 25,000 packets a second that is full after 10 ms, less than it takes to add a port. Only the socket's owner can give it
more, or net.core.rmem_default for the whole machine; or who may borrow the owner's descriptor (pidfd_getfd(2)), as root may.
"""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Buffers"]

_PIDFD_GETFD: Final = 438
_FORCED_BUFFER: Final = 33
"""SO_RCVBUFFORCE, socket(7): past net.core.rmem_max."""


class Buffers:
    """The packet sockets of the switch's process, each widened once."""

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._seen: tuple[int, frozenset[str]] = (0, frozenset())

    def widen(self, pid: int) -> None:
        """Give room to those that are new. Where that is not allowed, they stay as they are."""
        if not self._octets:
            return
        known_pid, known = self._seen
        there = dict(_sockets(pid))
        with suppress(OSError):
            self._widen(pid, [number for inode, number in there.items() if known_pid != pid or inode not in known])
        self._seen = pid, frozenset(there)

    def _widen(self, pid: int, numbers: list[int]) -> None:
        process = os.pidfd_open(pid)
        try:
            for number in numbers:
                with _borrowed(process, number) as borrowed:
                    if borrowed.family == socket.AF_PACKET:
                        borrowed.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, self._octets)
        finally:
            os.close(process)


def _sockets(pid: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                name = str(path.readlink())
                if name.startswith("socket:"):
                    found.append((name, int(path.name)))
    return found


def _borrowed(process: int, number: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    borrowed: int = libc.syscall(_PIDFD_GETFD, process, number, 0)
    if borrowed < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=borrowed)
