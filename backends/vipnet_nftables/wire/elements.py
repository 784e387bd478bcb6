"""Elements of sets and maps: encoded, decoded, asked for by key, and dumped.

Nested attributes go without their mark, as the kernel sends them: so what it says of an element is, byte for byte, what was
sent for it, but for what it counts (nf_tables_fill_setelem).
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from vipnet_kernel.netlink import attribute, attributes
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import GENMSG, asked, dumped, each
from vipnet_nftables.wire.batch import Message

__all__ = [
    "Limit",
    "SetElement",
    "adding",
    "agreements",
    "by_key",
    "decoded",
    "decoded_whole",
    "deleting",
    "dumped_elements",
    "element_bytes",
    "filling",
    "key_bytes",
    "looked_up",
    "prefix",
    "replies",
]

TABLE: Final = "vipnet"
MOST_BYTES: Final = 60_000
"""Of elements in a message: an attribute's length has 16 bits."""

_ANSWER: Final = 4096
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
    data = text.encode()
    before, after = _around_comment(len(data))
    return b"%b%b%b" % (before, data, after)


@functools.cache
def _around_comment(length: int) -> tuple[bytes, bytes]:
    """What is before and behind the text of a comment of so many bytes."""
    whole = attribute(header.SET_ELEM_USERDATA, bytes((_COMMENT, length + 1)) + bytes(length + 1))
    return whole[:6], whole[6 + length :]


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


def adding(family: str, name: str, elements: Sequence[bytes]) -> Iterator[tuple[Message, Sequence[bytes]]]:
    """Messages that add encoded elements, each with those of them with which its payload ends."""
    return _listed(header.NEWSETELEM, header.CREATE, family, name, elements)


def deleting(family: str, name: str, elements: Sequence[bytes]) -> Iterator[tuple[Message, Sequence[bytes]]]:
    """Messages that delete elements, which are encoded as they were added or by their keys, each as `adding`."""
    return _listed(header.DELSETELEM, 0, family, name, elements)


@functools.lru_cache(64)
def prefix(family: str, name: str) -> bytes:
    """How the payload of every message about elements of a set begins."""
    return (
        bytes((header.FAMILIES[family], 0, 0, 0))
        + attribute(header.SET_ELEM_LIST_TABLE, f"{TABLE}\0".encode())
        + attribute(header.SET_ELEM_LIST_SET, f"{name}\0".encode())
    )


def _listed(
    kind: int, flags: int, family: str, name: str, elements: Sequence[bytes]
) -> Iterator[tuple[Message, Sequence[bytes]]]:
    begin = prefix(family, name)
    most = len(elements) if sum(map(len, elements)) <= MOST_BYTES else MOST_BYTES // max(map(len, elements))
    for at in range(0, len(elements), most or 1):
        some = elements[at : at + most]
        yield Message(kind, flags, begin + attribute(header.SET_ELEM_LIST_ELEMENTS, b"".join(some))), some


def _value(kind: int, data: bytes) -> bytes:
    return attribute(kind, attribute(header.DATA_VALUE, data))


def _expression(name: str, data: bytes) -> bytes:
    body = attribute(header.EXPR_NAME, f"{name}\0".encode()) + attribute(header.EXPR_DATA, data)
    return attribute(header.SET_ELEM_EXPR, body)


def _counter(packets: int, octets: int) -> bytes:
    counted = attribute(header.COUNTER_BYTES, octets.to_bytes(8, "big"))
    return _expression("counter", counted + attribute(header.COUNTER_PACKETS, packets.to_bytes(8, "big")))


_COUNTER_AT: Final = 12
"""Where an element's counter is, behind the key of 4 bytes."""
_COUNTER_END: Final = _COUNTER_AT + len(_counter(0, 0))
_COUNTER: Final = _counter(0, 0)[:24]
"""How a counter begins, up to how many bytes it has counted."""


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


def decoded_whole(element: bytes) -> SetElement:
    """The element of an encoded LIST_ELEM; raises as `decoded`."""
    return decoded(element[4:])


def _limit(numbers: dict[int, int]) -> Limit:
    over = bool(numbers.get(header.LIMIT_FLAGS, 0) & header.LIMIT_F_INV)
    return Limit(numbers[header.LIMIT_RATE], numbers[header.LIMIT_UNIT], numbers[header.LIMIT_BURST], over)


def _comment(data: bytes) -> str:
    """The comment among nft's own data; whatever else somebody put there is none."""
    return data[2:-1].decode(errors="replace") if data[:1] == bytes((_COMMENT,)) else ""


# --------------------------------------------------------------------------------------------------- reading


def by_key(link: socket.socket, family: str, name: str, keys: Sequence[bytes]) -> dict[bytes, SetElement]:
    """Those elements of a set that are there, by key; where there is no such set, none is. Raises OSError."""
    there = looked_up(link, family, name, [key_bytes(key) for key in keys])
    return {one.key: one for one in there if one is not None}


def agreements(link: socket.socket, family: str, name: str, elements: Sequence[bytes]) -> Iterator[SetElement | bool | None]:
    """Ask for encoded elements; yield True for one that is there as it is encoded, whatever it has counted.

    Else as `looked_up`.
    """
    begin = _inside(family, name)
    for element, reply in zip(elements, replies(link, family, name, elements), strict=True):
        if reply is None:
            yield None
        elif reply.endswith(inside := element[4:], begin) and len(reply) - begin == len(inside):
            yield True
        else:
            yield _bare(reply[begin:]) == inside or decoded(reply[begin:])


def _bare(inside: bytes) -> bytes:
    """An element of an IPv4 address without its counter."""
    return inside[:_COUNTER_AT] + inside[_COUNTER_END:] if inside.startswith(_COUNTER, _COUNTER_AT) else inside


def looked_up(link: socket.socket, family: str, name: str, elements: Sequence[bytes]) -> Iterator[SetElement | None]:
    """Ask for elements as `replies` does; yield each as it is there. Raises OSError."""
    begin = _inside(family, name)
    return (None if reply is None else decoded(reply[begin:]) for reply in replies(link, family, name, elements))


def _inside(family: str, name: str) -> int:
    """Where in a reply the inside of its one LIST_ELEM begins."""
    return len(prefix(family, name)) - GENMSG + 8


def replies(link: socket.socket, family: str, name: str, elements: Sequence[bytes]) -> Iterator[bytes | None]:
    """Ask for elements, encoded whole or by key; yield what the kernel says of each, behind nfgenmsg, None: it is not there.

    The kernel stops at the first that is not there, and says so: O(1) each for those that are. Where there is no such set, none
    is there. Raises OSError.
    """
    begin = prefix(family, name)
    at = 0
    while at < len(elements):
        question = begin + attribute(header.SET_ELEM_LIST_ELEMENTS, b"".join(elements[at : at + _KEYS_AT_ONCE]))
        try:
            for answer in asked(link, header.GETSETELEM, question, room=_ANSWER):
                at += 1
                yield answer
        except FileNotFoundError:
            missing = 1 if _is_there(link, family, name) else len(elements) - at
            yield from repeat(None, missing)
            at += missing


def dumped_elements(link: socket.socket, family: str, name: str) -> Iterator[bytes]:
    """All elements of a set, the inside of each: quadratic in the kernel from 100,000 on; without such a set none.

    Raises OSError, at its end InterruptedDumpError.
    """
    for answer in dumped(link, header.GETSETELEM, prefix(family, name)):
        yield from (element for _, element in each(attributes(answer)[header.SET_ELEM_LIST_ELEMENTS]))


def filling(link: socket.socket, family: str, name: str) -> tuple[int, int | None]:
    """How many elements a set can have, 0: it has no size, and how many it has, None: this kernel does not say. O(1).

    Raises OSError, FileNotFoundError without such a set.
    """
    found = _described(link, family, name)
    size = attributes(found.get(header.SET_DESC, b"")).get(header.SET_DESC_SIZE, b"")
    count = found.get(header.SET_COUNT)
    return int.from_bytes(size, "big"), None if count is None else int.from_bytes(count, "big")


def _is_there(link: socket.socket, family: str, name: str) -> bool:
    try:
        return bool(_described(link, family, name))
    except FileNotFoundError:
        return False


def _described(link: socket.socket, family: str, name: str) -> dict[int, bytes]:
    where = attribute(header.SET_TABLE, f"{TABLE}\0".encode()) + attribute(header.SET_NAME, f"{name}\0".encode())
    (answer,) = asked(link, header.GETSET, bytes((header.FAMILIES[family], 0, 0, 0)) + where)
    return attributes(answer)
