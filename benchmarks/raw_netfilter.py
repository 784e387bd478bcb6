"""Netfilter's netlink by hand, and not by vipnet's code: what a floor is measured with, and what counts without listing.

Messages as in the kernel's linux/netfilter/nfnetlink.h, nf_tables.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from vipnet_kernel.namespaces import entered

__all__ = ["connections", "element_count", "forget_connections", "linked", "remember_connections", "replay", "unconditional"]

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NFGEN: Final = b"\0\0\0\0"
_REQUEST, _ACK, _DUMP, _CREATE = 1, 4, 0x300, 0x400
_ERROR, _DONE = 2, 3
_CONNTRACK, _TABLES = 1 << 8, 10 << 8
_NEW_CONNECTION, _DELETE_CONNECTION = 0, 2
_GETSET, _SET_COUNT = 10, 20
_NESTED: Final = 0x8000
_SEND_BUFFER, _RECEIVE_BUFFER = 32, 33


def linked(namespace: str) -> socket.socket:
    """A netfilter socket in a namespace, with room for a transaction of a million elements."""
    with entered(namespace):
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)
    link.setsockopt(socket.SOL_SOCKET, _SEND_BUFFER, 1 << 30)
    link.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, 8 << 20)
    link.settimeout(600)
    return link


def replay(link: socket.socket, *batches: bytes) -> None:
    """Send bytes that ask for one acknowledgement, and wait for it. Raises OSError for what the kernel refuses."""
    for batch in batches:
        link.send(batch)
        _check(link)


def _check(link: socket.socket) -> None:
    for kind, payload in _messages(link.recv(1 << 16)):
        if kind == _ERROR and (code := -int(struct.unpack_from("=i", payload)[0])):
            raise OSError(code, os.strerror(code))


def unconditional(batch: bytes) -> bytes:
    """A transaction without the generation of the ruleset that it was made for, which another namespace does not have."""
    length, kind, flags, sequence, port = _HEADER.unpack_from(batch)
    bare = _HEADER.size + len(_NFGEN)
    return _HEADER.pack(bare, kind, flags, sequence, port) + batch[_HEADER.size : bare] + batch[length:]


def element_count(namespace: str) -> int:
    """How many elements all sets and maps of a namespace have: the kernel keeps the number (since 6.16)."""
    with closing(linked(namespace)) as link:
        link.send(_HEADER.pack(_HEADER.size + 4, _TABLES | _GETSET, _REQUEST | _DUMP, 1, 0) + _NFGEN)
        return sum(_count(payload) for payload in _dumped(link))


def forget_connections(namespace: str) -> None:
    """Empty the table of connections."""
    with closing(linked(namespace)) as link:
        kind = _CONNTRACK | _DELETE_CONNECTION
        replay(link, _HEADER.pack(_HEADER.size + 4, kind, _REQUEST | _ACK, 1, 0) + _NFGEN)


def remember_connections(namespace: str, count: int) -> None:
    """Put connections of no EIP of ours into the table, for an hour."""
    with closing(linked(namespace)) as link:
        for first in range(0, count, 200):
            last = min(count, first + 200)
            batch = b"".join(_connection(number, acknowledge=number == last - 1) for number in range(first, last))
            replay(link, batch)


def connections(namespace: str) -> int:
    """How many connections the table has."""
    with entered(namespace), open("/proc/sys/net/netfilter/nf_conntrack_count") as file:  # noqa: PTH123
        return int(file.read())


def _connection(number: int, *, acknowledge: bool) -> bytes:
    there, here = 0x64400000 + number // 50_000, 0x64500001
    port = 10_000 + number % 50_000
    payload = b"\2\0\0\0" + _tuple(1, there, here, port, 9) + _tuple(2, here, there, 9, port)
    payload += _attribute(7, (3600).to_bytes(4, "big"))
    flags = _REQUEST | _CREATE | (_ACK if acknowledge else 0)
    return _HEADER.pack(_HEADER.size + len(payload), _CONNTRACK | _NEW_CONNECTION, flags, number + 1, 0) + payload


def _tuple(kind: int, source: int, target: int, source_port: int, target_port: int) -> bytes:
    addresses = _attribute(1, source.to_bytes(4, "big")) + _attribute(2, target.to_bytes(4, "big"))
    ports = _attribute(2, source_port.to_bytes(2, "big")) + _attribute(3, target_port.to_bytes(2, "big"))
    protocol = _attribute(1, bytes([socket.IPPROTO_UDP])) + ports
    return _attribute(kind | _NESTED, _attribute(1 | _NESTED, addresses) + _attribute(2 | _NESTED, protocol))


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _count(payload: bytes) -> int:
    at = 4
    while at + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if kind & 0x3FFF == _SET_COUNT:
            return int.from_bytes(payload[at + _ATTRIBUTE.size : at + length], "big")
        at += (length + 3) & ~3
    return 0


def _dumped(link: socket.socket) -> Iterator[bytes]:
    while True:
        for kind, payload in _messages(link.recv(1 << 18)):
            if kind == _DONE:
                return
            yield payload


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
