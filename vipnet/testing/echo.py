"""The end of streams that answers; see `vipnet.testing.streaming`."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from vipnet.testing.batches import Batch

__all__ = ["AT_ONCE", "SIZE", "WHO", "Echo", "dropped"]

SIZE: Final = 64
"""Bytes of UDP payload of a question."""

WHO: Final = 16
"""Bytes of the name of who answers, padded with zeros."""

AT_ONCE: Final = 256
"""Datagrams that one system call moves at most."""

_MEMINFO, _DROPS = 55, 8  # <asm/socket.h>, <linux/sock_diag.h>


class Echo:
    """Answers datagrams with who it is, whom it saw and what they said; TCP connections with who it is, and then alike."""

    def __init__(self) -> None:
        self.crowded = 0
        self._ready: dict[int, Callable[[], None]] = {}
        self._sockets: list[socket.socket] = []
        self._poll = select.epoll()

    def datagrams(self, command: Mapping[str, Any], sockets: list[socket.socket]) -> None:
        self._sockets += sockets
        for one, who in zip(sockets, command["who"], strict=True):
            self._watch(one, partial(self._answer, one, Batch(AT_ONCE, SIZE, prefix=_padded(who))))

    def listeners(self, command: Mapping[str, Any], sockets: list[socket.socket]) -> None:
        for one, who in zip(sockets, command["who"], strict=True):
            self._watch(one, partial(self._accept, one, _padded(who)))

    def wait(self) -> float | None:
        return None

    def descriptors(self) -> select.epoll:
        return self._poll

    def step(self) -> None:
        for descriptor, _ in self._poll.poll(0):
            self._ready[descriptor]()

    def _watch(self, one: socket.socket, ready: Callable[[], None]) -> None:
        self._ready[one.fileno()] = ready
        self._poll.register(one, select.EPOLLIN)

    def _answer(self, one: socket.socket, batch: Batch) -> None:
        while (count := batch.receive(one.fileno())) > 0:
            self.crowded += batch.send(one.fileno(), count)

    def _accept(self, listener: socket.socket, who: bytes) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        connection.send(who)
        self._watch(connection, partial(self._return, connection))

    def _return(self, connection: socket.socket) -> None:
        try:
            if received := connection.recv(65536):
                connection.send(received)
                return
        except OSError:  # cut
            pass
        self._poll.unregister(connection)
        del self._ready[connection.fileno()]
        connection.close()

    def report(self) -> dict[str, Any]:
        return {"crowded": self.crowded, "dropped": dropped(self._sockets)}


def _padded(who: str) -> bytes:
    return who.encode().ljust(WHO, b"\0")


def dropped(sockets: Iterable[socket.socket]) -> int:
    """Datagrams that came to sockets whose buffers were full."""
    return sum(struct.unpack("=9I", one.getsockopt(socket.SOL_SOCKET, _MEMINFO, 36))[_DROPS] for one in sockets)
