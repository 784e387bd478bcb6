"""Elements of sets and maps: encoded, decoded, asked for by key, and dumped.

Nested attributes go without their mark, as the kernel sends them: so what it says of an element is, byte for byte, what was
sent for it, but for what it counts (nf_tables_fill_setelem).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from vipnet_kernel.netlink import attribute, attributes
from vipnet_nftables.wire import header
from vipnet_nftables.wire.batch import Message

__all__ = [
    "InterruptedDumpError",
    "Limit",
    "SetElement",
    "adding",
    "by_key",
    "decoded",
    "deleting",
    "dumped",
    "element_bytes",
    "element_count",
    "key_bytes",
    "prefix",
    "replies",
]

TABLE: Final = "vipnet"
MOST_BYTES: Final = 60_000
"""Of elements in a message: an attribute's length has 16 bits."""

_HEADER: Final = struct.Struct("=IHHII")
_KIND: Final = header.SUBSYS_NFTABLES << 8
_GENMSG: Final = 4
_ERROR, _DONE = 2, 3
_KEYS_AT_ONCE: Final = 100
"""Answers to so many keys fit into a socket's default buffer."""
_COMMENT: Final = 0
"""NFTNL_UDATA_SET_ELEM_COMMENT of libnftnl: nft's own way to keep a comment, as kind, length, text and a zero."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in bytes; `unit` in seconds. `over`: it picks what is above."""

    rate: int
    unit: int
    burst: int
    over: bool


@dataclass(frozen=True, slots=True)
class SetElement:
    """An element. `value`: the bytes that it maps to; `counted`: packets and bytes, None: it counts nothing."""

    key: bytes
    value: bytes = b""
    counted: tuple[int, int] | None = None
    limit: Limit | None = None
    comment: str = ""


class InterruptedDumpError(Exception):
    """What was dumped has changed meanwhile (NLM_F_DUMP_INTR): some of it may be missing or there twice."""


# --------------------------------------------------------------------------------------------------- encoding


def element_bytes(one: SetElement) -> bytes:
    """An element as it is added."""
    parts = [_value(header.SET_ELEM_KEY, one.key)]
    if one.value:
        parts.append(_value(header.SET_ELEM_DATA, one.value))
    if one.counted is not None:
        parts.append(_counter(*one.counted))
    if one.limit is not None:
        parts.append(limit_expression(one.limit))
    if one.comment:
        parts.append(comment_bytes(one.comment))
    return attribute(header.LIST_ELEM, b"".join(parts))


def key_bytes(key: bytes) -> bytes:
    """An element as it is deleted or asked for."""
    return attribute(header.LIST_ELEM, _value(header.SET_ELEM_KEY, key))


def comment_bytes(text: str) -> bytes:
    """A comment, at most 253 bytes."""
    data = text.encode() + b"\0"
    return attribute(header.SET_ELEM_USERDATA, bytes((_COMMENT, len(data))) + data)


def limit_expression(limit: Limit) -> bytes:
    """A limit's expression: it passes or picks by the element's own bucket."""
    return _expression(
        "limit",
        attribute(header.LIMIT_RATE, limit.rate.to_bytes(8, "big"))
        + attribute(header.LIMIT_UNIT, limit.unit.to_bytes(8, "big"))
        + attribute(header.LIMIT_BURST, limit.burst.to_bytes(4, "big"))
        + attribute(header.LIMIT_TYPE, header.LIMIT_PKT_BYTES.to_bytes(4, "big"))
        + attribute(header.LIMIT_FLAGS, (header.LIMIT_F_INV if limit.over else 0).to_bytes(4, "big")),
    )


def adding(family: str, name: str, elements: Sequence[bytes]) -> Iterator[tuple[Message, list[int]]]:
    """Messages that add encoded elements, each with where in its payload its elements end."""
    return _listed(header.NEWSETELEM, header.CREATE, family, name, elements)


def deleting(family: str, name: str, elements: Sequence[bytes]) -> Iterator[tuple[Message, list[int]]]:
    """Messages that delete elements, which are encoded as they were added or by their keys, each as `adding`."""
    return _listed(header.DELSETELEM, 0, family, name, elements)


def prefix(family: str, name: str) -> bytes:
    """How the payload of every message about elements of a set begins."""
    return (
        bytes((header.FAMILIES[family], 0, 0, 0))
        + attribute(header.SET_ELEM_LIST_TABLE, f"{TABLE}\0".encode())
        + attribute(header.SET_ELEM_LIST_SET, f"{name}\0".encode())
    )


def _listed(kind: int, flags: int, family: str, name: str, elements: Sequence[bytes]) -> Iterator[tuple[Message, list[int]]]:
    begin = prefix(family, name)
    at = 0
    while at < len(elements):
        some = elements[at : at + max(1, MOST_BYTES // len(elements[at]))]
        body = b"".join(some)
        while len(body) > MOST_BYTES:
            some = some[: max(1, len(some) * MOST_BYTES // len(body) - 1)]
            body = b"".join(some)
        payload = begin + attribute(header.SET_ELEM_LIST_ELEMENTS, body)
        ends = list(accumulate(map(len, some), initial=len(begin) + 4))[1:]
        yield Message(kind, flags, payload), ends
        at += len(some)


def _value(kind: int, data: bytes) -> bytes:
    return attribute(kind, attribute(header.DATA_VALUE, data))


def _expression(name: str, data: bytes) -> bytes:
    body = attribute(header.EXPR_NAME, f"{name}\0".encode()) + attribute(header.EXPR_DATA, data)
    return attribute(header.SET_ELEM_EXPR, body)


def _counter(packets: int, octets: int) -> bytes:
    counted = attribute(header.COUNTER_BYTES, octets.to_bytes(8, "big"))
    return _expression("counter", counted + attribute(header.COUNTER_PACKETS, packets.to_bytes(8, "big")))


# --------------------------------------------------------------------------------------------------- decoding


def decoded(data: bytes) -> SetElement:
    """The element of the inside of a LIST_ELEM. Raises KeyError, ValueError or struct.error for what is none."""
    found = attributes(data)
    expression = attributes(found.get(header.SET_ELEM_EXPR, b""))
    name, body = expression.get(header.EXPR_NAME), attributes(expression.get(header.EXPR_DATA, b""))
    numbers = {kind: int.from_bytes(value, "big") for kind, value in body.items()}
    return SetElement(
        key=attributes(found[header.SET_ELEM_KEY])[header.DATA_VALUE],
        value=attributes(found.get(header.SET_ELEM_DATA, b"")).get(header.DATA_VALUE, b""),
        counted=(numbers[header.COUNTER_PACKETS], numbers[header.COUNTER_BYTES]) if name == b"counter\0" else None,
        limit=_limit(numbers) if name == b"limit\0" else None,
        comment=_comment(found.get(header.SET_ELEM_USERDATA, b"")),
    )


def _limit(numbers: dict[int, int]) -> Limit:
    over = bool(numbers.get(header.LIMIT_FLAGS, 0) & header.LIMIT_F_INV)
    return Limit(numbers[header.LIMIT_RATE], numbers[header.LIMIT_UNIT], numbers[header.LIMIT_BURST], over)


def _comment(data: bytes) -> str:
    """The comment among nft's own data; whatever else somebody put there is none."""
    return data[2:-1].decode(errors="replace") if data[:1] == bytes((_COMMENT,)) else ""


# --------------------------------------------------------------------------------------------------- reading


def by_key(link: socket.socket, family: str, name: str, keys: Sequence[bytes]) -> dict[bytes, SetElement]:
    """Those elements of a set that are there, by key. Raises OSError; FileNotFoundError too where there is no such set."""
    found: dict[bytes, SetElement] = {}
    begin = len(prefix(family, name)) - _GENMSG + 8  # up to the inside of the one LIST_ELEM
    for key, reply in zip(keys, replies(link, family, name, [key_bytes(key) for key in keys]), strict=True):
        if reply is not None:
            found[key] = decoded(reply[begin:])
    return found


def replies(link: socket.socket, family: str, name: str, elements: Sequence[bytes]) -> Iterator[bytes | None]:
    """Ask for elements, encoded whole or by key; yield what the kernel says of each, behind nfgenmsg, None: it is not there.

    The kernel stops at the first that is not there, and says so: O(1) each for those that are. Raises OSError.
    """
    begin = prefix(family, name)
    at = 0
    while at < len(elements):
        some = elements[at : at + _KEYS_AT_ONCE]
        payload = begin + attribute(header.SET_ELEM_LIST_ELEMENTS, b"".join(some))
        _send(link, header.GETSETELEM, payload, header.ACK)
        answered, code = 0, 0
        for kind, _, body in _received(link):
            if kind == _ERROR:
                code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                break
            answered += 1
            yield body[_GENMSG:]
        if code == errno.ENOENT:
            _require_set(link, family, name)
            yield None
            answered += 1
        elif code:
            raise OSError(code, os.strerror(code))
        at += answered


def dumped(link: socket.socket, family: str, name: str) -> Iterator[SetElement]:
    """All elements of a set: quadratic in the kernel from some 100,000 on. Raises OSError; at its end InterruptedDumpError."""
    _send(link, header.GETSETELEM, prefix(family, name), header.DUMP)
    interrupted = False
    for kind, flags, body in _received(link):
        interrupted |= bool(flags & header.DUMP_INTR)
        if kind == _DONE:
            break
        if kind == _ERROR:
            code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
            raise OSError(code, os.strerror(code))
        yield from map(decoded, _each(attributes(body, _GENMSG)[header.SET_ELEM_LIST_ELEMENTS]))
    if interrupted:
        raise InterruptedDumpError


def element_count(link: socket.socket, family: str, name: str) -> int | None:
    """How many elements a set has, O(1); None: this kernel does not say. Raises OSError, FileNotFoundError without such a set."""
    count = _described(link, family, name).get(header.SET_COUNT)
    return None if count is None else int.from_bytes(count, "big")


def declared_size(link: socket.socket, family: str, name: str) -> int | None:
    """For how many elements a set has room; None: it grows by itself. Raises OSError."""
    size = attributes(_described(link, family, name).get(header.SET_DESC, b"")).get(header.SET_DESC_SIZE)
    return None if size is None else int.from_bytes(size, "big")


def _require_set(link: socket.socket, family: str, name: str) -> None:
    """Raise FileNotFoundError where what is not there is the set itself."""
    _described(link, family, name)


def _described(link: socket.socket, family: str, name: str) -> dict[int, bytes]:
    payload = (
        bytes((header.FAMILIES[family], 0, 0, 0))
        + attribute(header.SET_TABLE, f"{TABLE}\0".encode())
        + attribute(header.SET_NAME, f"{name}\0".encode())
    )
    _send(link, header.GETSET, payload, 0)
    for kind, _, body in _received(link):
        if kind == _ERROR:
            code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
            raise OSError(code, f"set {family} {name}: {os.strerror(code)}")
        return attributes(body, _GENMSG)
    raise AssertionError("unreachable")


def _each(data: bytes) -> Iterator[bytes]:
    """The insides of the LIST_ELEMs of a list."""
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 2], sys.byteorder)
        if length < 4:
            raise ValueError("an element of no length")
        yield data[at + 4 : at + length]
        at += (length + 3) & ~3


def _send(link: socket.socket, kind: int, payload: bytes, flags: int) -> None:
    link.send(_HEADER.pack(_HEADER.size + len(payload), _KIND | kind, header.REQUEST | flags, 1, 0) + payload)


def _received(link: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Kind, flags and payload of what comes, until nobody asks for more."""
    while True:
        data = link.recv(1 << 18)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            yield kind, flags, data[at + _HEADER.size : at + length]
            at += max(_HEADER.size, (length + 3) & ~3)
