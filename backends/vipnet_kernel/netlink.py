"""Netlink by hand: the two questions that every verb asks, before and after, of each namespace it touches.

Everything else is pyroute2's. Measured with 0.9.7, its socket kept open: links 0.08 ms here, 1.1 ms there (3 links; 4 and
36 ms for 151); generation 0.03 ms here, 0.12 ms there (0.5 ms with a socket opened for it), and it has no decoder for it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered

__all__ = ["links_fingerprint", "ruleset_generation"]

_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_NEWGEN, _GETGEN = (10 << 8) | 15, (10 << 8) | 16
_GETLINK = 18
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_UP = 1
_ADDRESS, _NAME, _MASTER = 1, 3, 10


def ruleset_generation(namespace: str) -> int:
    """The number that every committed change of the nftables ruleset of a namespace moves, by whomever."""
    for kind, payload in _ask(namespace, _NETFILTER, _GETGEN, b"\0\0\0\0"):
        if kind == _NEWGEN:
            return int.from_bytes(_attributes(payload, 4)[1], "big")
    raise DataplaneError(f"the kernel tells no ruleset generation of namespace {namespace or 'of this process'}")


def links_fingerprint(namespace: str) -> frozenset[tuple[int, bool, bytes, bytes, bytes]]:
    """What tells links apart: (number, whether up, name, MAC, master) of each of a namespace."""
    answers = _ask(namespace, socket.NETLINK_ROUTE, _GETLINK, _LINK.pack(0, 0, 0, 0, 0), dump=True)
    return frozenset(_fingerprint(payload) for _, payload in answers)


def _ask(namespace: str, family: int, kind: int, payload: bytes, *, dump: bool = False) -> list[tuple[int, bytes]]:
    flags = _REQUEST | (_DUMP if dump else 0)
    try:
        with entered(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as link:
            link.settimeout(5)
            link.send(_HEADER.pack(_HEADER.size + len(payload), kind, flags, 1, 0) + payload)
            return list(_answers(link, dump=dump))
    except OSError as error:
        raise DataplaneError(f"the kernel refused a netlink request: {error.strerror or error}") from error


def _attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _fingerprint(payload: bytes) -> tuple[int, bool, bytes, bytes, bytes]:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    found = _attributes(payload, _LINK.size)
    return index, bool(flags & _UP), found.get(_NAME, b""), found.get(_ADDRESS, b""), found.get(_MASTER, b"")


def _answers(link: socket.socket, *, dump: bool) -> Iterator[tuple[int, bytes]]:
    while True:
        for kind, payload in _messages(link.recv(1 << 18)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise_for(payload)
            else:
                yield kind, payload
        if not dump:
            return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _raise_for(payload: bytes) -> None:
    code = -struct.unpack_from("=i", payload)[0]
    if code:
        raise OSError(code, os.strerror(code))
