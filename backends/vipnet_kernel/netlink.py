"""Netlink by hand: two questions that every verb asks, before and after, of each namespace it touches, and counters.

Everything else is pyroute2's. Measured with 0.9.7, its socket kept open: links 0.08 ms here, 1.1 ms there (3 links; 4 and
36 ms for 151); generation 0.03 ms here, 0.12 ms there (0.5 ms with a socket opened for it), and it has no decoder for it.
nft asks the kernel for one element, too, but lists the whole set before: 0.7 s with 100,000 in it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered

__all__ = ["SetCounter", "links_fingerprint", "ruleset_generation", "set_counter"]

_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_NEWGEN, _GETGEN = (10 << 8) | 15, (10 << 8) | 16
_GETSETELEM = (10 << 8) | 13
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_ELEMENT, _KEY, _VALUE, _COMMENTS, _EXPRESSION = 1, 1, 1, 6, 7
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_BYTES, _PACKETS = 1, 2
_NESTED = 0x8000
_GETLINK = 18
_REQUEST, _DUMP = 1, 0x300
_ERROR, _DONE = 2, 3
_UP = 1
_ADDRESS, _NAME, _MASTER = 1, 3, 10


@dataclass(frozen=True, slots=True)
class SetCounter:
    """What an element of a set has counted, and its comment."""

    packets: int
    bytes: int
    comment: str


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


def set_counter(namespace: str, table: str, name: str, key: bytes) -> SetCounter | None:
    """What the element of this key of a set of an IPv4 table has counted; None: it is not there, or counts nothing."""
    element = _packed(_ELEMENT | _NESTED, _packed(_KEY | _NESTED, _packed(_VALUE, key)))
    where = _packed(_TABLE, f"{table}\0".encode()) + _packed(_SET, f"{name}\0".encode())
    payload = bytes((socket.AF_INET, 0, 0, 0)) + where + _packed(_ELEMENTS | _NESTED, element)
    try:
        ((_, answer),) = _ask(namespace, _NETFILTER, _GETSETELEM, payload)
    except FileNotFoundError:
        return None
    return _counted(_attributes(_attributes(_attributes(answer, 4)[_ELEMENTS])[_ELEMENT]))


def _counted(element: dict[int, bytes]) -> SetCounter | None:
    expression = _attributes(element.get(_EXPRESSION, b""))
    if expression.get(_EXPRESSION_NAME) != b"counter\0":
        return None
    found = _attributes(expression[_EXPRESSION_DATA])
    packets, octets = (int.from_bytes(found[kind], "big") for kind in (_PACKETS, _BYTES))
    comment = element.get(_COMMENTS, b"")  # nft's own: a kind, a length, the text, and a zero
    return SetCounter(packets, octets, comment[2:-1].decode(errors="replace"))


def _packed(kind: int, data: bytes) -> bytes:
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data).ljust(_ATTRIBUTE.size + (len(data) + 3 & ~3), b"\0")


def _ask(namespace: str, family: int, kind: int, payload: bytes, *, dump: bool = False) -> list[tuple[int, bytes]]:
    flags = _REQUEST | (_DUMP if dump else 0)
    try:
        with entered(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as link:
            link.settimeout(5)
            link.send(_HEADER.pack(_HEADER.size + len(payload), kind, flags, 1, 0) + payload)
            return list(_answers(link, dump=dump))
    except FileNotFoundError:
        raise
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
