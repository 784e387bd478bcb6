"""The objects of one kind as an immutable value, found by id and by the fields that are indexed; and the pools of addresses.

A table shares what did not change with the one before it. The persistent hash map is `immutables`: of those measured at a
million elastic IPs it was the smallest and the quickest; docs/design.md has the figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from immutables import Map

from vipnet.ipam import AddressPool
from vipnet.model import Address, Thing

__all__ = [
    "AddressRows",
    "AddressTable",
    "Addresses",
    "Asked",
    "MemoryPools",
    "MemoryTable",
    "PoolKey",
    "Pools",
    "Shelf",
    "Table",
    "ValueAddresses",
    "ValuePools",
    "enlarged",
    "lessened",
    "shelf_of",
    "shelves_of",
    "things_on",
]

T = TypeVar("T", bound=Thing)
V = TypeVar("V")

_FEW = 32
"""Up to so many objects of one value, a tuple is cheaper to change than a map."""

Shelf: TypeAlias = "T | tuple[T, ...] | Map[str, T] | None"
"""The objects of one value: nothing; the object itself where it is alone, as it mostly is; a tuple; a map by id of many."""

PoolKey = tuple[str, int]
"""Network and IP version; version 0 is the network's VRIDs, which are given out like addresses."""

AddressRows = Mapping[tuple[str, int], Mapping[int, Address | None]]
"""Addresses by network and IP version; None: plainly free."""


class Asked(Protocol[T]):
    """What a topology asks of the objects of one kind."""

    def get(self, id: str) -> T | None:
        """The object of that id."""
        ...

    def present(self, thing: T) -> T | None:
        """The object that has the id of this one."""
        ...

    def by(self, field: str, value: object) -> Sequence[T]:
        """The objects whose indexed field has that value, in no order."""
        ...

    def __iter__(self) -> Iterator[T]: ...

    def __len__(self) -> int: ...


class Table(Asked[T], Protocol):
    """The objects of one kind, as a value."""

    @property
    def fields(self) -> Iterable[str]:
        """The indexed fields."""
        ...

    def shelf(self, field: str, value: object) -> Shelf[T]:
        """What `by` gives, as it lies there."""
        ...

    def updated(self, rows: Mapping[str, T | None], shelves: Mapping[str, Mapping[Any, Shelf[T]]]) -> Table[T]:
        """The table with objects put or removed (None) by id, and the shelves that are other than before."""
        ...


class Addresses(Asked[Address], Protocol):
    """What a topology asks of addresses, which are found by network, IP version and address."""

    def at(self, network_id: str, version: int, ip: int) -> Address | None:
        """The row of an address; None: it is plainly free."""
        ...


class ValueAddresses(Addresses, Protocol):
    """The addresses, as a value."""

    def updated_addresses(self, rows: AddressRows) -> ValueAddresses:
        """The table with rows put or removed."""
        ...


class Pools(Protocol):
    """The pools of all networks."""

    def get(self, key: PoolKey) -> AddressPool | None: ...


class ValuePools(Pools, Protocol):
    """The pools, as a value."""

    def updated(self, pools: Mapping[PoolKey, AddressPool | None]) -> ValuePools:
        """The pools with some put or removed."""
        ...


class MemoryTable(Generic[T]):
    """A table in memory. An object whose indexed field is None is not found by it."""

    __slots__ = ("_indexes", "_rows")

    def __init__(self, rows: Map[str, T], indexes: Mapping[str, Map[Any, Shelf[T]]]) -> None:
        self._rows, self._indexes = rows, indexes

    @classmethod
    def of(cls, fields: Iterable[str], things: Iterable[T]) -> MemoryTable[T]:
        """Make a table of objects, no two of one id, which are found by these fields."""
        rows = {thing.id: thing for thing in things}
        some = list(rows.values())
        return cls(Map(rows), {field: Map(shelves_of(field, some)) for field in fields})

    @property
    def fields(self) -> Iterable[str]:
        return self._indexes

    def get(self, id: str) -> T | None:
        return self._rows.get(id)

    def present(self, thing: T) -> T | None:
        return self._rows.get(thing.id)

    def shelf(self, field: str, value: object) -> Shelf[T]:
        return self._indexes[field].get(value)

    def by(self, field: str, value: object) -> Sequence[T]:
        return things_on(self._indexes[field].get(value))

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def updated(self, rows: Mapping[str, T | None], shelves: Mapping[str, Mapping[Any, Shelf[T]]]) -> MemoryTable[T]:
        indexes = {field: _updated(index, shelves.get(field, {})) for field, index in self._indexes.items()}
        return MemoryTable(_updated(self._rows, rows), indexes)


def _updated(before: Map[Any, V], news: Mapping[Any, V | None]) -> Map[Any, V]:
    if not news:
        return before
    after = before.mutate()
    for key, value in news.items():
        if value is not None:
            after[key] = value
        elif key in after:
            del after[key]
    return after.finish()


def things_on(shelf: Shelf[T]) -> Sequence[T]:
    """The objects on a shelf."""
    if shelf is None:
        return ()
    if isinstance(shelf, tuple):
        return shelf
    return tuple(shelf.values()) if isinstance(shelf, Map) else (shelf,)


def shelf_of(things: Sequence[T]) -> Shelf[T]:
    """Put objects, no two of one id, on a shelf."""
    if len(things) < 2:
        return things[0] if things else None
    return tuple(things) if len(things) <= _FEW else Map({one.id: one for one in things})


def enlarged(shelf: Shelf[T], thing: T, *, is_new: bool) -> Shelf[T]:
    """A shelf with an object more, or in place of the one of its id."""
    if shelf is None:
        return thing
    if isinstance(shelf, Map):
        return shelf.set(thing.id, thing)
    others = shelf if isinstance(shelf, tuple) else (shelf,)
    if not is_new:
        others = tuple(one for one in others if one.id != thing.id)
    return shelf_of((*others, thing))


def lessened(shelf: Shelf[T], id: str) -> Shelf[T]:
    """A shelf without the object of an id."""
    if isinstance(shelf, Map):
        rest = shelf.delete(id)
        return rest if len(rest) > _FEW else shelf_of(tuple(rest.values()))
    return shelf_of(tuple(one for one in things_on(shelf) if one.id != id))


def shelves_of(field: str, things: Collection[T]) -> dict[Any, Shelf[T]]:
    """Sort objects by the value of a field; one that is None is left out."""
    values = list(map(attrgetter(field), things))
    alone: dict[Any, Shelf[T]] = dict(zip(values, things, strict=True))
    if len(alone) + max(0, values.count(None) - 1) < len(values):
        found = defaultdict[Any, list[T]](list)
        for value, thing in zip(values, things, strict=True):
            found[value].append(thing)
        alone = {value: shelf_of(some) for value, some in found.items()}
    alone.pop(None, None)
    return alone


class AddressTable:
    """The addresses in memory, by network and version: what they are found by is not kept a second time as text."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Map[tuple[str, int], Map[int, Address]]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, rows: Iterable[Address]) -> AddressTable:
        """Make a table of addresses, no two of them the same."""
        found: dict[tuple[str, int], dict[int, Address]] = {}
        for row in rows:
            found.setdefault((row.network_id, row.version), {})[row.ip] = row
        return cls(Map({key: Map(some) for key, some in found.items()}))

    def at(self, network_id: str, version: int, ip: int) -> Address | None:
        rows = self._rows.get((network_id, version))
        return None if rows is None else rows.get(ip)

    def get(self, id: str) -> Address | None:
        network_id, version, ip = id.split("/")
        return self.at(network_id, int(version), int(ip))

    def present(self, thing: Address) -> Address | None:
        return self.at(thing.network_id, thing.version, thing.ip)

    def by(self, field: str, value: object) -> Sequence[Address]:
        match field, value:
            case "network_id", str(id):
                return [row for version in (4, 6) for row in self._rows.get((id, version), _NO_ROWS).values()]
            case "address", (int(version), int(ip)):
                return [rows[ip] for (_, other), rows in self._rows.items() if other == version and ip in rows]
            case _:
                raise AssertionError(f"addresses are not found by {field} {value!r}")

    def __iter__(self) -> Iterator[Address]:
        return chain.from_iterable(rows.values() for rows in self._rows.values())

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def updated_addresses(self, rows: AddressRows) -> AddressTable:
        news = {key: _updated(self._rows.get(key, _NO_ROWS), some) or None for key, some in rows.items()}
        return AddressTable(_updated(self._rows, news))


_NO_ROWS: Map[int, Address] = Map()


class MemoryPools:
    """Pools in memory."""

    __slots__ = ("_pools",)

    def __init__(self, pools: Mapping[PoolKey, AddressPool]) -> None:
        self._pools = Map[PoolKey, AddressPool](pools)

    def get(self, key: PoolKey) -> AddressPool | None:
        return self._pools.get(key)

    def updated(self, pools: Mapping[PoolKey, AddressPool | None]) -> MemoryPools:
        return MemoryPools(_updated(self._pools, pools))
