"""Entries as elements on the wire, a set at a time: a column of bytes beside the entries that they are of.

By columns, since there may be a million: an EIP's elements are of eight sets, and each has the same form but for addresses.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, assert_never

from vipnet_kernel import names
from vipnet_nftables.entries import LIMITS, Count, Element, Guard, Nat, Torn
from vipnet_nftables.metering import comment_of
from vipnet_nftables.wire import header
from vipnet_nftables.wire.elements import Limit, SetElement, comment_bytes, element_bytes, limit_expression
from vipnet_nftables.wire.fields import layouts, packed

__all__ = ["Column", "ElementEntry", "columns", "leg_key", "standard_limit"]

ElementEntry = Element | Guard | Nat | Torn | Count
"""The entries that are elements of sets."""

_IP: Final = struct.Struct(">4s")


class Column(NamedTuple):
    """Elements of one set, encoded, and for each the entry that it belongs to."""

    family: str
    set: str
    entries: Sequence[ElementEntry]
    elements: Sequence[bytes]


def columns(entries: Collection[ElementEntry]) -> Iterator[Column]:
    """The elements of entries of one namespace. No set comes twice, and an EIP's in the order of their entries."""
    if not entries:
        return
    nats = list[Nat]()
    counts: dict[str, list[Count]] = defaultdict(list)
    others: dict[tuple[str, str], list[tuple[ElementEntry, bytes]]] = defaultdict(list)
    for entry in entries:
        match entry:
            case Nat():
                nats.append(entry)
            case Count():
                counts[entry.set].append(entry)
            case Element() | Guard() | Torn():
                for part in entry.parts():
                    others[part.family, part.set].append((entry, _of_words(part)))
            case _:
                assert_never(entry)
    found = [*_of_nats(nats), *_of_counts(counts)]
    found += (Column(*where, *map(list, zip(*some, strict=True))) for where, some in others.items())
    yield from _merged(found) if others else found


def leg_key(leg: str, eip: int) -> bytes:
    """The key of an EIP in `vn_eips`."""
    return _name(leg) + eip.to_bytes(4, "big")


def standard_limit(rate: int) -> Limit:
    """A limit as it is set: what is above so many bytes a second is picked, and the burst is the least that nft takes."""
    return Limit(rate, 1, 1, over=True)


def _of_nats(nats: Sequence[Nat]) -> Iterator[Column]:
    if not nats:
        return
    yield Column("ip", "vn_eip_vip", nats, [_pair(_KEY, eip, _DATA, vip) for _, eip, vip, _, _ in nats])
    yield Column("ip", "vn_vip_eip", nats, [_pair(_KEY, vip, _DATA, eip) for _, eip, vip, _, _ in nats])
    marks = {uplink: _DATA + (uplink + 1).to_bytes(4, sys.byteorder) for uplink in {nat.uplink for nat in nats}}
    yield Column("ip", "vn_vip_out", nats, [_marked(_KEY, vip, marks[uplink]) for _, _, vip, uplink, _ in nats])
    legs = {uplink: _leg_opening(names.uplink_leg(uplink)) for uplink in marks}
    eips = [legs[uplink] + eip.to_bytes(4, "big") for _, eip, _, uplink, _ in nats]
    yield Column("ip", "vn_eips", nats, eips)
    yield Column("arp", "vn_eips", nats, eips)
    if limited := [nat for nat in nats if nat.rate]:
        limits = {rate: limit_expression(standard_limit(rate)) for rate in {nat.rate for nat in limited}}
        elements = [_with(nat.eip, limits[nat.rate]) for nat in limited]
        yield from (Column("ip", name, limited, elements) for name in LIMITS)


def _of_counts(counts: Mapping[str, Sequence[Count]]) -> Iterator[Column]:
    """What counts one way is mostly what counts the other way, too: then both have the same elements."""
    known: Sequence[object] = ()
    elements = list[bytes]()
    for name, some in counts.items():
        if (what := [count[2:] for count in some]) != known:
            known, elements = what, [_with(count.eip, comment_bytes(comment_of(count))) for count in some]
        yield Column("ip", name, some, elements)


def _of_words(entry: Element) -> bytes:
    """An element by its words; one that was found with a limit only ever goes, for which its key is enough."""
    layout = layouts()[entry.family, entry.set]
    value = packed(entry.value, (layout.value,)) if entry.value else b""
    return element_bytes(SetElement(packed(entry.element, layout.key), value, comment=entry.owner))


def _merged(found: Iterable[Column]) -> Iterator[Column]:
    """Elements in words may be of sets that have columns, too."""
    by_set: dict[tuple[str, str], list[Column]] = defaultdict(list)
    for column in found:
        by_set[column.family, column.set].append(column)
    for (family, name), some in by_set.items():
        if len(some) == 1:
            yield some[0]
        else:
            entries = [entry for column in some for entry in column.entries]
            yield Column(family, name, entries, [element for column in some for element in column.elements])


# --------------------------------------------------------------------------------------------------- forms


def _opening(length: int, kind: int) -> bytes:
    return struct.pack("=HH", length, kind)


_KEY: Final = _opening(28, header.LIST_ELEM) + _opening(12, header.SET_ELEM_KEY) + _opening(8, header.DATA_VALUE)
_DATA: Final = _opening(12, header.SET_ELEM_DATA) + _opening(8, header.DATA_VALUE)
_BARE_KEY: Final = _KEY[4:]
_pair = struct.Struct(">12sI8sI").pack
_marked = struct.Struct(">12sI12s").pack


def _with(ip: int, rest: bytes) -> bytes:
    """An element with the key of an address and something more."""
    return b"%b%b%b" % (_before_ip(len(rest)), ip.to_bytes(4, "big"), rest)


@functools.cache
def _before_ip(length: int) -> bytes:
    """How an element begins that has so much behind the address that is its key."""
    return _opening(16 + length, header.LIST_ELEM) + _BARE_KEY


def _leg_opening(leg: str) -> bytes:
    """How an element begins whose key is of a leg and an address."""
    return _opening(32, header.LIST_ELEM) + _opening(28, header.SET_ELEM_KEY) + _opening(24, header.DATA_VALUE) + _name(leg)


def _name(leg: str) -> bytes:
    return leg.encode().ljust(16, b"\0")
