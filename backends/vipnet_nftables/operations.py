"""What a step asks of the elements of one namespace, as messages of a batch, and whose fault a fault of theirs is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from vipnet_nftables.assembly import Found
from vipnet_nftables.columns import Column, ElementEntry, columns
from vipnet_nftables.metering import owner_of
from vipnet_nftables.wire.batch import Fault, Message, which
from vipnet_nftables.wire.elements import SetElement, adding, decoded_whole, deleting, element_bytes, looked_up

__all__ = ["Operations", "Part", "blamed", "operations", "remaining"]

class Part(NamedTuple):
    """A message, the elements with which it ends, and whose each of them is."""

    message: Message
    elements: Sequence[bytes] = ()
    entries: Sequence[ElementEntry] = ()


class Operations(NamedTuple):
    """Columns of elements that go and that come; what goes, goes first."""

    goes: tuple[Column, ...] = ()
    comes: tuple[Column, ...] = ()

    def parts(self) -> list[Part]:
        """The messages, each with what it is about."""
        return [*_parts(deleting, self.goes), *_parts(adding, self.comes)]


def operations(goes: Collection[ElementEntry], comes: Collection[ElementEntry]) -> Operations:
    """What makes some entries go and others come. An element that would go and come as it is stays, with what it has counted."""
    old, new = tuple(columns(goes)), tuple(columns(comes))
    if not old or not new:
        return Operations(old, new)
    there = {(column.family, column.set): frozenset(column.elements) for column in new}
    kept = {
        where: there[where].intersection(column.elements) for column in old if (where := (column.family, column.set)) in there
    }
    return Operations(_without(old, kept), _without(new, kept))


def remaining(link: socket.socket, asked: Operations) -> Operations:
    """What of operations is left to do, as the kernel says by key: O(what is asked), not of what there is. Raises OSError."""
    goes, comes = list[Column](), list[Column]()
    coming: dict[tuple[str, str], set[bytes]] = {}
    for column in asked.comes:
        wanted = [decoded_whole(element) for element in column.elements]
        there = list(_there(link, column))
        differs = [found is None or not _is_same(found, one) for found, one in zip(there, wanted, strict=True)]
        goes.append(_picked(column, [found is not None and other for found, other in zip(there, differs, strict=True)]))
        comes.append(_picked(column, differs))
        coming[column.family, column.set] = {one.key for one in wanted}
    for column in asked.goes:
        others = coming.get((column.family, column.set), ())
        goes.append(_picked(column, [found is not None and found.key not in others for found in _there(link, column)]))
    return Operations(*(tuple(column for column in some if column.elements) for some in (goes, comes)))


def carried(there: Found, asked: Operations) -> tuple[dict[tuple[str, str], list[bytes]], Operations]:
    """For new tables: the elements of old ones that stay, with what they have counted, and what of operations is left to do."""
    if not there:
        return {}, Operations(comes=asked.comes)
    left = {where: dict(elements) for where, elements in there.items()}
    for column in asked.goes:
        for element in column.elements:
            left.get((column.family, column.set), {}).pop(decoded_whole(element).key, None)
    for column in asked.comes:
        old = left.get((column.family, column.set), {})
        for wanted in map(decoded_whole, column.elements):
            if (one := old.get(wanted.key)) is not None and not _is_same(one, wanted):
                del old[wanted.key]
    kept = {where: [element_bytes(one) for one in some.values()] for where, some in left.items()}
    return kept, Operations(comes=asked.comes)


def blamed(fault: Fault, parts: Sequence[Part]) -> Sequence[ElementEntry]:
    """The entries that a fault is about; none where it is about the batch as such."""
    if not 0 <= fault.at < len(parts):
        return ()
    message, elements, entries = parts[fault.at]
    at = which(message, elements, fault)
    return entries if at is None else entries[at : at + 1]


def _parts(
    listing: Callable[[str, str, Sequence[bytes]], Iterator[tuple[Message, Sequence[bytes]]]], found: Iterable[Column]
) -> Iterator[Part]:
    for family, name, entries, elements in found:
        at = 0
        for message, some in listing(family, name, elements):
            yield Part(message, some, entries[at : at + len(some)])
            at += len(some)


def _without(found: Iterable[Column], kept: Mapping[tuple[str, str], frozenset[bytes]]) -> tuple[Column, ...]:
    some = (
        _picked(column, [element not in stays for element in column.elements])
        if (stays := kept.get((column.family, column.set)))
        else column
        for column in found
    )
    return tuple(column for column in some if column.elements)


def _picked(column: Column, which: Sequence[bool]) -> Column:
    return column._replace(entries=list(compress(column.entries, which)), elements=list(compress(column.elements, which)))


def _there(link: socket.socket, column: Column) -> Iterator[SetElement | None]:
    return looked_up(link, column.family, column.set, column.elements)


def _is_same(there: SetElement, wanted: SetElement) -> bool:
    """Whether an element is as it should be; what it has counted, and whether that is all, is no part of that."""
    owner, should = (owner_of(one.comment)[0] for one in (there, wanted))
    return (there.value, there.limit, owner) == (wanted.value, wanted.limit, should)
