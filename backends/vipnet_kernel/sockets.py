"""Netlink sockets, kept open: to open one in another namespace takes 50 us, as long as a transaction of one EIP."""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from vipnet_kernel.namespaces import entered, number
from vipnet_kernel.netlink import NETFILTER

__all__ = ["Sockets", "opened", "prepare"]

_MOST: Final = 128
"""Idle sockets that are kept: of two families of 64 namespaces, where a process may have 1,024 files open."""
_ROOM_OUT, _ROOM_IN = 1 << 30, 8 << 20
_SEND_BUFFER, _RECEIVE_BUFFER = 32, 33
_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_PATIENCE: Final = 5.0

_Place = tuple[str, int]
"""A namespace and a family."""


class Sockets:
    """Lends sockets; of those that came back the latest are kept. For any thread: nobody has what another one has.

    An open socket keeps its namespace alive: `forget` it before it is deleted, and `sweep` for those that others deleted.
    """

    __slots__ = ("_forgets", "_idle", "_lock")

    def __init__(self) -> None:
        self._forgets = 0
        self._idle: OrderedDict[_Place, list[tuple[int, socket.socket]]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lent(self, namespace: str, family: int) -> Generator[socket.socket]:
        """Have a socket of a namespace ("": this thread's) for the length of a `with` block.

        After an error it is closed: its answers may still come. Raises OSError, and DataplaneError without such a namespace.
        """
        forgets = self._forgets
        there, link = self._taken(namespace, family)
        try:
            yield link
        except BaseException:
            link.close()
            raise
        if self._forgets == forgets:
            self._back((namespace, family), there, link)
        else:
            link.close()

    def forget(self, namespace: str) -> None:
        """Close what is open in a namespace."""
        with self._lock:
            self._forgets += 1
            gone = [self._idle.pop(place) for place in list(self._idle) if place[0] == namespace]
        _close(link for some in gone for link in some)

    def sweep(self) -> None:
        """Close what is open in namespaces that are gone, or are others of the same name."""
        with self._lock:
            known = [(place, some[0][0]) for place, some in self._idle.items() if some]
        for (namespace, _), there in known:
            if _number(namespace) != there:
                self.forget(namespace)

    def close(self) -> None:
        """Close all that is idle."""
        with self._lock:
            gone = list(self._idle.values())
            self._idle.clear()
        _close(link for some in gone for link in some)

    def _taken(self, namespace: str, family: int) -> tuple[int, socket.socket]:
        there = _number(namespace)
        with self._lock:
            some = self._idle.get((namespace, family), [])
            known, link = some.pop() if some else (None, None)
        if link is not None and known == there and there is not None:
            return there, link
        if link is not None:
            link.close()
        with entered(namespace):  # says what is wrong where there is no such namespace
            there = number("")
            return there, opened(family)

    def _back(self, place: _Place, there: int, link: socket.socket) -> None:
        with self._lock:
            self._idle.setdefault(place, []).append((there, link))
            self._idle.move_to_end(place)
            gone = self._idle.popitem(last=False)[1] if len(self._idle) > _MOST else []
        _close(gone)


def prepare(link: socket.socket) -> socket.socket:
    """Give a netfilter socket room for batches and for what is said of them; done once. Returns it."""
    link.setsockopt(socket.SOL_SOCKET, _SEND_BUFFER, _ROOM_OUT)
    link.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, _ROOM_IN)
    link.setsockopt(_NETLINK, _CAP_ACK, 1)
    link.setsockopt(_NETLINK, _EXT_ACK, 1)
    return link


def opened(family: int) -> socket.socket:
    """Open a socket in this thread's namespace, prepared. Raises OSError."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    try:
        link.settimeout(_PATIENCE)
        return prepare(link) if family == NETFILTER else link
    except BaseException:
        link.close()
        raise


def _number(namespace: str) -> int | None:
    """The number of a namespace; None: it is gone."""
    try:
        return number(namespace)
    except FileNotFoundError:
        return None


def _close(links: Iterable[tuple[int, socket.socket]]) -> None:
    for _, link in links:
        link.close()
