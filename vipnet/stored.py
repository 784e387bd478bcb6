"""Tables and pools read from a store as they are asked for: what a short-lived process needs of a large model.

A source is one state of a store that does not change while it is open, so answers may be kept; what is changed on top of
it lies over it. A table that is asked for much is read whole, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Generic, Protocol, Self, TypeVar

from immutables import Map

from vipnet.ipam import AddressPool
from vipnet.model import Address, Thing
from vipnet.tables import AddressRows, MemoryTable, PoolKey, Shelf, shelf_of, shelves_of, things_on

__all__ = ["Source", "StoredAddresses", "StoredPools", "StoredTable"]

T = TypeVar("T", bound=Thing)

_WORTH = 64
"""When a question was asked for every so many rows of a table, reading all of it is no longer a loss: it then costs, with
the questions before, less than twice what it would have cost at once."""

_FEW = 32
"""Fewer questions are not worth counting the rows for."""


class Source(Protocol):
    """One state of a store, read by key."""

    def by(self, kind: type[T], field: str, value: object) -> Sequence[T]:
        """The objects of a kind whose indexed field, or `id`, has that value."""
        ...

    def all(self, kind: type[T]) -> Iterable[T]:
        """All objects of a kind."""
        ...

    def count(self, kind: type[Any]) -> int:
        """How many objects of a kind there are."""
        ...

    def pool(self, key: PoolKey) -> AddressPool | None:
        """A pool of a network; None when the network has none."""
        ...

    def close(self) -> None: ...


class _Rows(Generic[T]):
    """The objects of one kind in a source, with what was answered before."""

    def __init__(self, source: Source, kind: type[T]) -> None:
        self._source, self._kind = source, kind
        self._answers: dict[tuple[str, object], Sequence[T]] = {}
        self._whole: dict[str, T] | None = None
        self._shelves: dict[str, Mapping[Any, Shelf[T]]] = {}
        self._count: int | None = None

    def get(self, id: str) -> T | None:
        if self._whole is not None:
            return self._whole.get(id)
        return next(iter(self.by("id", id)), None)

    def by(self, field: str, value: object) -> Sequence[T]:
        found = self._answers.get((field, value))
        if found is not None:
            return found
        if self._whole is None and len(self._answers) >= _FEW and len(self._answers) * _WORTH > len(self):
            self._read_whole()
        if self._whole is not None and field != "id":
            return things_on(self._shelved(self._whole, field).get(value))
        found = self._answers[field, value] = self._source.by(self._kind, field, value)
        return found

    def __iter__(self) -> Iterator[T]:
        return iter((self._whole if self._whole is not None else self._read_whole()).values())

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._source.count(self._kind)
        return self._count

    def _read_whole(self) -> dict[str, T]:
        self._whole = {thing.id: thing for thing in self._source.all(self._kind)}
        self._answers.clear()
        return self._whole

    def _shelved(self, whole: dict[str, T], field: str) -> Mapping[Any, Shelf[T]]:
        if field not in self._shelves:
            self._shelves[field] = shelves_of(field, whole.values())
        return self._shelves[field]


class StoredTable(Generic[T]):
    """The objects of one kind: those of a source, and over them what was changed since. A value."""

    __slots__ = ("_hidden", "_over", "_rows")

    def __init__(self, rows: _Rows[T], over: MemoryTable[T], hidden: Map[str, None]) -> None:
        self._rows, self._over, self._hidden = rows, over, hidden

    @classmethod
    def of(cls, source: Source, kind: type[T], fields: Sequence[str]) -> Self:
        """Make the table of a kind as it is in a source."""
        return cls(_Rows(source, kind), MemoryTable[T].of(fields, ()), Map())

    @property
    def fields(self) -> Iterable[str]:
        return self._over.fields

    def get(self, id: str) -> T | None:
        return self._over.get(id) if id in self._hidden else self._rows.get(id)

    def present(self, thing: T) -> T | None:
        return self.get(thing.id)

    def by(self, field: str, value: object) -> Sequence[T]:
        found = self._rows.by(field, value)
        if not self._hidden:
            return found
        return [*(thing for thing in found if thing.id not in self._hidden), *self._over.by(field, value)]

    def shelf(self, field: str, value: object) -> Shelf[T]:
        return shelf_of(self.by(field, value))

    def __iter__(self) -> Iterator[T]:
        return chain((thing for thing in self._rows if thing.id not in self._hidden), self._over)

    def __len__(self) -> int:
        return len(self._rows) + len(self._over) - sum(self._rows.get(id) is not None for id in self._hidden)

    def updated(self, rows: Mapping[str, T | None], shelves: Mapping[str, Mapping[Any, Shelf[T]]]) -> Self:  # noqa: ARG002
        # Few objects change here: what is over the source is made anew.
        over = {**{thing.id: thing for thing in self._over}, **rows}
        kept = MemoryTable[T].of(self.fields, [thing for thing in over.values() if thing is not None])
        return type(self)(self._rows, kept, self._hidden.update(dict.fromkeys(rows)))


class StoredAddresses(StoredTable[Address]):
    """The addresses of a source, and over them what was changed since."""

    __slots__ = ()

    def at(self, network_id: str, version: int, ip: int) -> Address | None:
        return self.get(f"{network_id}/{version}/{ip}")

    def updated_addresses(self, rows: AddressRows) -> StoredAddresses:
        news = {f"{id}/{version}/{ip}": row for (id, version), some in rows.items() for ip, row in some.items()}
        return self.updated(news, {})


class StoredPools:
    """The pools of a source, and over them what was changed since; None: gone. A value."""

    __slots__ = ("_over", "_source")

    def __init__(self, source: Source, over: Mapping[PoolKey, AddressPool | None] = MappingProxyType({})) -> None:
        self._source, self._over = source, over

    def get(self, key: PoolKey) -> AddressPool | None:
        return self._over[key] if key in self._over else self._source.pool(key)

    def updated(self, pools: Mapping[PoolKey, AddressPool | None]) -> StoredPools:
        return StoredPools(self._source, {**self._over, **pools})
