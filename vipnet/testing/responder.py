"""The machines' other end: one thread that answers TCP and UDP in all of them, saying who it is and whom it saw."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from vipnet.lab import LabNode

__all__ = ["PORT", "Responders"]

PORT = 7007
_IP_PKTINFO = 8  # in <linux/in.h>; Python 3.11 does not name it
_LARGEST = 65535


class Responders:
    """Listens in every node, on all of its addresses; answers come from the address that was asked."""

    def __init__(self, nodes: Mapping[str, LabNode]) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, stopped = socket.socketpair()
        self._watch(stopped, lambda: None)
        for name, node in nodes.items():
            for family in (socket.AF_INET, socket.AF_INET6):
                datagrams, streams = node.call(partial(_listen, family))
                self._watch(datagrams, partial(_answer, datagrams, name))
                self._watch(streams, partial(self._accept, streams, name))
        self._thread = threading.Thread(target=self._serve, args=(stopped,), name="responders", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and close all sockets, also those of open connections."""
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _serve(self, stopped: socket.socket) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is stopped:
                    return
                with suppress(OSError):  # the other end has gone, or an ICMP error came; nobody waits for us then
                    key.data()

    def _watch(self, watched: socket.socket, ready: Callable[[], object]) -> None:
        self._selector.register(watched, selectors.EVENT_READ, ready)

    def _accept(self, listener: socket.socket, name: str) -> None:
        connection, (saw, *_) = listener.accept()
        connection.setblocking(False)
        self._watch(connection, partial(self._echo, connection))
        connection.sendall(f"{name} {saw}\n".encode())

    def _echo(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(_LARGEST)
        except OSError:
            received = b""
        if received:
            connection.sendall(received)
        else:
            self._selector.unregister(connection)
            connection.close()


def _listen(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        datagrams.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    datagrams.bind(("", PORT))
    return datagrams, socket.create_server(("", PORT), family=family, backlog=64)


def _answer(datagrams: socket.socket, name: str) -> None:
    question, ancillary, _, sender = datagrams.recvmsg(_LARGEST, socket.CMSG_SPACE(20))
    level, kind, asked = ancillary[0]
    answer = f"{name} {sender[0]}\n".encode().ljust(len(question))
    datagrams.sendmsg([answer], [(level, kind, _from_there(asked))], 0, sender)


def _from_there(asked: bytes) -> bytes:
    """What sends an answer from the address that was asked: struct in_pktinfo of ip(7), in6_pktinfo of ipv6(7)."""
    if len(asked) == 12:
        return struct.pack("=i4s4s", 0, asked[8:], asked[8:])
    return asked[:16] + bytes(4)
