"""What is there of the entries that should be, by key: O(what is asked), where a dump of a large set is quadratic."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final

from vipnet_nftables.assembly import assembled, dumped_set
from vipnet_nftables.columns import Column, ElementEntry, columns
from vipnet_nftables.wire.elements import SetElement, agreements, decoded_whole, filling
from vipnet_nftables.wire.fields import layouts

__all__ = ["verified"]

_AT_ONCE: Final = 20_000
"""Entries that are encoded at a time: it is no faster with more, and takes memory."""

_Set = tuple[str, str]


def verified(
    link: socket.socket, families: Collection[str], namespace: str, expected: Collection[ElementEntry]
) -> Iterator[ElementEntry]:
    """The entries of a namespace: the expected ones that are there whole, themselves, and what all other elements make.

    A set is dumped only where the kernel does not say that it has nothing else. Raises OSError and DataplaneError.
    """
    there = Counter[_Set]()
    rest: dict[_Set, dict[bytes, SetElement]] = defaultdict(dict)
    remaining = iter(expected)
    while some := list(islice(remaining, _AT_ONCE)):
        yield from _whole(link, some, there, rest)
    crowded = [name for name in layouts() if name[0] in families and _has_others(link, name, there[name])]
    for name, elements in _others(link, crowded, expected):
        rest[name] |= elements
    yield from assembled(namespace, rest)


def _whole(
    link: socket.socket, some: Sequence[ElementEntry], there: Counter[_Set], rest: dict[_Set, dict[bytes, SetElement]]
) -> Iterator[ElementEntry]:
    """Those of some entries that are there whole; what is there of the others goes to `rest`."""
    asked = [(column, list(agreements(link, column.family, column.set, column.elements))) for column in columns(some)]
    for column, found in asked:
        there[column.family, column.set] += len(found) - found.count(None)
    torn = {
        entry
        for column, found in asked
        if found.count(True) < len(found)
        for entry, one in zip(column.entries, found, strict=True)
        if one is not True
    }
    if torn:
        for column, found in asked:
            rest[column.family, column.set].update(_of(torn, column, found))
    return (entry for entry in some if entry not in torn) if torn else iter(some)


def _of(
    torn: Collection[ElementEntry], column: Column, found: Sequence[SetElement | bool | None]
) -> Iterator[tuple[bytes, SetElement]]:
    for entry, element, one in zip(column.entries, column.elements, found, strict=True):
        if entry in torn and one is not None:
            whole = one if isinstance(one, SetElement) else decoded_whole(element)
            yield whole.key, whole


def _has_others(link: socket.socket, name: _Set, known: int) -> bool:
    try:
        return filling(link, *name)[1] != known
    except FileNotFoundError:
        return False


def _others(
    link: socket.socket, crowded: Sequence[_Set], expected: Collection[ElementEntry]
) -> Iterator[tuple[_Set, dict[bytes, SetElement]]]:
    """What sets have beside elements that are expected."""
    if not crowded:
        return
    found = {name: dumped_set(link, *name) for name in crowded}
    remaining = iter(expected)
    while some := list(islice(remaining, _AT_ONCE)):
        for column in columns(some):
            if (elements := found.get((column.family, column.set))) is not None:
                for element in column.elements:
                    elements.pop(decoded_whole(element).key, None)
    yield from found.items()
