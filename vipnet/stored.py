"""Tables and pools read from a store as they are asked for: what a short-lived process needs of a large model.

A source is one state of a store that does not change while it is open, so answers may be kept; what is changed on top of
it lies over it. A table that is asked for much is read whole, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from immutables import Map

from vipnet.ipam import AddressPool
from vipnet.model import Thing
from vipnet.tables import MemoryTable, PoolKey

__all__ = ["Source", "StoredPools", "StoredTable"]

T = TypeVar("T", bound=Thing)

_WORTH = 64
"""When a question was asked for every so many rows of a table, reading all of it is no longer a loss: it then costs, with
the questions before, less than twice what it would have cost at once."""


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

    def __init__(self, source: Source, kind: type[T], fields: tuple[str, ...]) -> None:
        self._source, self._kind, self._fields = source, kind, fields
        self._answers: dict[tuple[str, object], Sequence[T]] = {}
        self._whole: MemoryTable[T] | None = None
        self._count: int | None = None

    def get(self, id: str) -> T | None:
        if self._whole is not None:
            return self._whole.get(id)
        return next(iter(self.by("id", id)), None)

    def by(self, field: str, value: object) -> Sequence[T]:
        found = self._answers.get((field, value))
        if found is not None:
            return found
        if self._whole is None and len(self._answers) * _WORTH > len(self):
            self._read_whole()
        if self._whole is not None and field != "id":
            return self._whole.by(field, value)
        found = self._answers[field, value] = self._source.by(self._kind, field, value)
        return found

    def __iter__(self) -> Iterator[T]:
        return iter(self._whole if self._whole is not None else self._read_whole())

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._source.count(self._kind)
        return self._count

    def _read_whole(self) -> MemoryTable[T]:
        self._whole = MemoryTable[T].of(self._fields, self._source.all(self._kind))
        self._answers.clear()
        return self._whole


class StoredTable(Generic[T]):
    """The objects of one kind: those of a source, and over them what was changed since."""

    __slots__ = ("_hidden", "_over", "_rows", "_surplus")

    def __init__(self, rows: _Rows[T], over: MemoryTable[T], hidden: Map[str, None], surplus: int) -> None:
        self._rows, self._over, self._hidden, self._surplus = rows, over, hidden, surplus

    @classmethod
    def of(cls, source: Source, kind: type[T], fields: tuple[str, ...]) -> StoredTable[T]:
        """Make the table of a kind as it is in a source."""
        return cls(_Rows(source, kind, fields), MemoryTable[T].of(fields, ()), Map(), 0)

    def get(self, id: str) -> T | None:
        return self._over.get(id) if id in self._hidden else self._rows.get(id)

    def present(self, thing: T) -> T | None:
        return self.get(thing.id)

    def at(self, network_id: str, version: int, ip: int) -> T | None:
        return self.get(f"{network_id}/{version}/{ip}")

    def by(self, field: str, value: object) -> Sequence[T]:
        found = self._rows.by(field, value)
        if not self._hidden:
            return found
        return [*(thing for thing in found if thing.id not in self._hidden), *self._over.by(field, value)]

    def __iter__(self) -> Iterator[T]:
        return chain((thing for thing in self._rows if thing.id not in self._hidden), self._over)

    def __len__(self) -> int:
        return len(self._rows) + self._surplus

    def change(self, old: T | None, new: T | None) -> StoredTable[T]:
        thing = old if new is None else new
        if thing is None:
            return self
        over = self._over.change(self._over.get(thing.id), new)
        surplus = self._surplus + (new is not None) - (old is not None)
        return StoredTable(self._rows, over, self._hidden.set(thing.id, None), surplus)


class StoredPools:
    """The pools of a source, and over them what was changed since; None: gone."""

    __slots__ = ("_over", "_source")

    def __init__(self, source: Source, over: Map[PoolKey, AddressPool | None] | None = None) -> None:
        self._source = source
        self._over: Map[PoolKey, AddressPool | None] = Map() if over is None else over

    def get(self, key: PoolKey) -> AddressPool | None:
        return self._over[key] if key in self._over else self._source.pool(key)

    def set(self, key: PoolKey, val: AddressPool) -> StoredPools:
        return StoredPools(self._source, self._over.set(key, val))

    def delete(self, key: PoolKey) -> StoredPools:
        return StoredPools(self._source, self._over.set(key, None))
