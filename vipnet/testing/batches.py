"""Many datagrams a system call, and no work for each in Python: sendmmsg(2), recvmmsg(2), recvmsg(2), <linux/socket.h>.

Names, payloads and timestamps of a batch lie side by side in one buffer each, so that a whole batch is read by one
`struct.iter_unpack`, and an answer is sent out of the very buffers that the question was received into.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import socket
import struct
from collections.abc import Iterable, Sequence

__all__ = ["NAME", "STAMP", "Batch"]

NAME = struct.Struct("=HH4s8x")
"""A sockaddr_in: family, port and address, both in network order."""

STAMP = struct.Struct("=16x2q")
"""A control message of SO_TIMESTAMPNS: seconds and nanoseconds of CLOCK_REALTIME when the kernel received it."""

_NO_ROOM = {errno.EAGAIN, errno.ENOBUFS}
_NOTHING_THERE = {errno.EAGAIN, errno.EINTR}


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    _fields_ = [("header", _Header), ("length", ctypes.c_uint)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Batch:
    """Room for `count` datagrams of up to `size` bytes each, with their names and, if `stamped`, their times.

    With `prefix` each is sent as those bytes, its name and its payload, so that an answer tells who answered whom.
    """

    def __init__(self, count: int, size: int, *, prefix: bytes = b"", stamped: bool = False) -> None:
        self.count, self.size = count, size
        self.payloads = ctypes.create_string_buffer(count * size)
        self.names = ctypes.create_string_buffer(count * NAME.size)
        self.stamps = ctypes.create_string_buffer(count * STAMP.size)
        self._prefix = ctypes.create_string_buffer(prefix, max(len(prefix), 1))
        self._stamped = stamped
        self._incoming = self._messages([self._vectors(at)[-1:] for at in range(count)])
        self._outgoing = self._messages([self._vectors(at)[0 if prefix else 2 :] for at in range(count)])

    def address(self, at: int, ip: str, port: int) -> None:
        """Send the one at that place there."""
        name = NAME.pack(socket.AF_INET, socket.htons(port), socket.inet_aton(ip))
        ctypes.memmove(ctypes.addressof(self.names) + at * NAME.size, name, NAME.size)

    def receive(self, descriptor: int) -> int:
        """Fill the batch from its start with what a socket has; return the number of datagrams. Does not wait."""
        got: int = _libc().recvmmsg(descriptor, self._incoming, self.count, socket.MSG_DONTWAIT, None)
        if got < 0 and (code := ctypes.get_errno()) not in _NOTHING_THERE:
            raise OSError(code, f"datagrams cannot be received: {os.strerror(code)}")
        return max(got, 0)

    def send(self, descriptor: int, count: int) -> int:
        """Send the first `count`, one after the other; return for how many this machine had no room.

        Does not wait. What the kernel refuses for another reason, an address that has gone, is left out without a word.
        """
        crowded = at = 0
        while at < count:
            rest = ctypes.byref(self._outgoing, at * ctypes.sizeof(_Message))
            sent: int = _libc().sendmmsg(descriptor, rest, count - at, socket.MSG_DONTWAIT)
            crowded += sent <= 0 and ctypes.get_errno() in _NO_ROOM
            at += max(sent, 1)
        return crowded

    def _vectors(self, at: int) -> Sequence[_Vector]:
        return (
            _Vector(ctypes.addressof(self._prefix), len(self._prefix)),
            _Vector(ctypes.addressof(self.names) + at * NAME.size, NAME.size),
            _Vector(ctypes.addressof(self.payloads) + at * self.size, self.size),
        )

    def _messages(self, vectors: Iterable[Sequence[_Vector]]) -> ctypes.Array[_Message]:
        messages = (_Message * self.count)()
        for at, (message, parts) in enumerate(zip(messages, vectors, strict=True)):
            header = message.header
            header.name, header.name_length = ctypes.addressof(self.names) + at * NAME.size, NAME.size
            header.vectors, header.vector_count = (_Vector * len(parts))(*parts), len(parts)
            if self._stamped:  # both lengths are the same after each receipt, and need not be set again
                header.control, header.control_length = ctypes.addressof(self.stamps) + at * STAMP.size, STAMP.size
        return messages
