"""The objects of one kind as an immutable value, found by id and by the fields that are indexed.

A change shares everything else with the table before it. The persistent hash map is `immutables`: of those measured at a
million elastic IPs it was the smallest and the quickest; docs/design.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from immutables import Map

from vipnet.ipam import AddressPool
from vipnet.model import Address, Thing

__all__ = ["AddressTable", "Addresses", "MemoryTable", "PoolKey", "Pools", "Table"]

T = TypeVar("T", bound=Thing)

_FEW = 32
"""Up to so many objects of one value, a tuple is cheaper to change than a map."""

_Shelf: TypeAlias = "T | tuple[T, ...] | Map[str, T]"
"""The objects of one value: the object itself where it is alone, as it mostly is; a tuple of a few; a map by id of many."""


class Table(Protocol[T]):
    """What a topology asks of the objects of one kind. A value: `change` gives another one."""

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

    def change(self, old: T | None, new: T | None) -> Table[T]:
        """The table with `new`, if any, in place of `old`, the object that is there now, if any. They have one id."""
        ...


class Addresses(Table[Address], Protocol):
    """The table of addresses, which are found by network, IP version and address."""

    def at(self, network_id: str, version: int, ip: int) -> Address | None:
        """The row of an address; None: it is plainly free."""
        ...

    def change(self, old: Address | None, new: Address | None) -> Addresses: ...


PoolKey = tuple[str, int]
"""Network and IP version; version 0 is the network's VRIDs, which are given out like addresses."""


class Pools(Protocol):
    """The pools of all networks. A value: `set` and `delete` give another one."""

    def get(self, key: PoolKey) -> AddressPool | None: ...

    def set(self, key: PoolKey, val: AddressPool) -> Pools: ...

    def delete(self, key: PoolKey) -> Pools: ...


class MemoryTable(Generic[T]):
    """A table in memory. An object whose indexed field is None is not found by it."""

    __slots__ = ("_indexes", "_rows")

    def __init__(self, rows: Map[str, T], indexes: dict[str, Map[Any, _Shelf[T]]]) -> None:
        self._rows, self._indexes = rows, indexes

    @classmethod
    def of(cls, fields: tuple[str, ...], things: Iterable[T]) -> MemoryTable[T]:
        """Make a table of objects, no two of one id, which are found by these fields."""
        rows = Map({thing.id: thing for thing in things})
        return cls(rows, {field: Map(_shelves(field, rows.values())) for field in fields})

    def get(self, id: str) -> T | None:
        return self._rows.get(id)

    def present(self, thing: T) -> T | None:
        return self._rows.get(thing.id)

    def by(self, field: str, value: object) -> Sequence[T]:
        match self._indexes[field].get(value):
            case None:
                return ()
            case tuple() as few:
                return few
            case Map() as many:
                return tuple(many.values())
            case alone:
                return (alone,)

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def change(self, old: T | None, new: T | None) -> MemoryTable[T]:
        indexes = self._indexes.copy()
        for field, index in self._indexes.items():
            before = None if old is None else getattr(old, field)
            after = None if new is None else getattr(new, field)
            if old is not None and before is not None and before != after:
                index = _without(index, before, old.id)  # noqa: PLW2901 -- out of one place, into another
            if new is not None and after is not None:
                index = _with(index, after, new, is_new=before != after)  # noqa: PLW2901
            indexes[field] = index
        if new is None:
            return self if old is None else MemoryTable(self._rows.delete(old.id), indexes)
        return MemoryTable(self._rows.set(new.id, new), indexes)


def _shelves(field: str, things: Iterable[T]) -> dict[Any, _Shelf[T]]:
    found: dict[Any, list[T]] = {}
    for thing in things:
        if (value := getattr(thing, field)) is not None:
            found.setdefault(value, []).append(thing)
    return {value: _shelf(tuple(some)) for value, some in found.items()}


def _with(index: Map[Any, _Shelf[T]], value: object, thing: T, *, is_new: bool) -> Map[Any, _Shelf[T]]:
    found = index.get(value)
    if found is None:
        return index.set(value, thing)
    if isinstance(found, Map):
        return index.set(value, found.set(thing.id, thing))
    others = found if isinstance(found, tuple) else (found,)
    if not is_new:
        others = tuple(one for one in others if one.id != thing.id)
    return index.set(value, _shelf((*others, thing)))


def _without(index: Map[Any, _Shelf[T]], value: object, id: str) -> Map[Any, _Shelf[T]]:
    found = index[value]
    if isinstance(found, Map):
        rest = found.delete(id)
        return index.set(value, rest if len(rest) > _FEW else _shelf(tuple(rest.values())))
    others = tuple(one for one in (found if isinstance(found, tuple) else (found,)) if one.id != id)
    return index.set(value, _shelf(others)) if others else index.delete(value)


def _shelf(things: tuple[T, ...]) -> _Shelf[T]:
    if len(things) == 1:
        return things[0]
    return things if len(things) <= _FEW else Map({one.id: one for one in things})


class AddressTable:
    """The addresses in memory, by network and version: what they are found by is not kept a second time as text."""

    __slots__ = ("_count", "_rows")

    def __init__(self, rows: Map[tuple[str, int], Map[int, Address]], count: int) -> None:
        self._rows, self._count = rows, count

    @classmethod
    def of(cls, rows: Iterable[Address]) -> AddressTable:
        """Make a table of addresses, no two of them the same."""
        found: dict[tuple[str, int], dict[int, Address]] = {}
        for row in rows:
            found.setdefault((row.network_id, row.version), {})[row.ip] = row
        return cls(Map({key: Map(some) for key, some in found.items()}), sum(map(len, found.values())))

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
        return (row for rows in self._rows.values() for row in rows.values())

    def __len__(self) -> int:
        return self._count

    def change(self, old: Address | None, new: Address | None) -> AddressTable:
        thing = old if new is None else new
        if thing is None:
            return self
        key = (thing.network_id, thing.version)
        before = self._rows.get(key, _NO_ROWS)
        after = before.delete(thing.ip) if new is None else before.set(thing.ip, new)
        rows = self._rows.set(key, after) if after else self._rows.delete(key)
        return AddressTable(rows, self._count + len(after) - len(before))


_NO_ROWS: Map[int, Address] = Map()
