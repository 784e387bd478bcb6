"""A topology in the making: it is changed in place, over a snapshot that stays as it is.

Within a transaction nobody needs the states between two verbs, so here a change costs a few entries of dicts, and the
persistent maps are made once, when all is done (`settled`). What an operation did before it was refused is taken back from a
journal of those entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from vipnet.ipam import AddressPool
from vipnet.model import Address, Network, Thing, Vip
from vipnet.pools import VRIDS, address_given_back, address_taken, filled, ranges_of, vrid_given_back, vrid_taken
from vipnet.tables import (
    Asked,
    PoolKey,
    Shelf,
    Table,
    ValueAddresses,
    ValuePools,
    enlarged,
    lessened,
    things_on,
)
from vipnet.topology import Snapshot, Topology

__all__ = ["Change", "Workspace"]

T = TypeVar("T", bound=Thing)
V = TypeVar("V")

_UNTOUCHED: Any = object()
"""In the place of a value: the snapshot knows it."""

_Journal: TypeAlias = list[tuple[dict[Any, Any], Any, Any]]
"""Entries as they were before: a dict, a key, and the value or _UNTOUCHED."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None: it did not or does not exist."""

    before: Thing | None
    after: Thing | None


class Workspace(Topology):
    """A model that is being changed. It keeps every index and every pool right and checks no rules."""

    __slots__ = ("_base", "_current", "_journal", "_working", "_working_pools")

    def __init__(self, base: Snapshot) -> None:
        self._base = base
        self._journal: _Journal = []
        self._tables = self._current = dict(base.tables)
        self._working: dict[type[Any], _Working] = {}
        self._pools = self._working_pools = _WorkingPools(base.pools, self._journal)

    def put(self, thing: Thing) -> None:
        """Add an object, or replace the one of its id."""
        self.change(self.present(thing), thing)

    def remove(self, thing: Thing) -> None:
        """Remove an object that is there."""
        self.change(thing, None)

    def change(self, old: Thing | None, new: Thing | None) -> None:
        """Put `new`, if any, in place of `old`, the object of that id that is here now, if any."""
        kind = type(old if new is None else new)
        working = self._working.get(kind)
        if working is None:
            working = self._begin(kind)
        working.change(old, new)
        if kind in _POOLED:
            self._repool(old, new)

    def keep(self) -> None:
        """What was done up to here is no more taken back."""
        self._journal.clear()

    def undo(self) -> None:
        """Take back what was done since `keep`."""
        for place, key, before in reversed(self._journal):
            if before is _UNTOUCHED:
                del place[key]
            else:
                place[key] = before
        self._journal.clear()

    def changes(self) -> list[Change]:
        """What differs from the snapshot, one entry an object: what goes, referring kinds first, then what is new or changed."""
        gone: list[Change] = []
        come: list[Change] = []
        for kind in self._tables:  # referenced kinds first
            for old, new in self._working[kind].changes() if kind in self._working else ():
                if new is None:
                    gone.append(Change(old, None))
                elif new != old:
                    come.append(Change(old, new))
        return [*reversed(gone), *come]

    def settled(self) -> Snapshot:
        """The snapshot with all of this in it."""
        tables = {kind: working.settled() for kind, working in self._working.items()}
        return Snapshot({**self._base.tables, **tables}, self._working_pools.settled())

    def _begin(self, kind: type[Any]) -> _Working:
        base: Any = self._tables[kind]
        made = _WorkingAddresses(base, self._journal) if kind is Address else _WorkingTable[Any](base, self._journal)
        self._current[kind] = self._working[kind] = made
        return made

    def _repool(self, old: Thing | None, new: Thing | None) -> None:
        pools = self._working_pools
        match old:
            case Address():
                pools.change((old.network_id, old.version), address_given_back, old)
            case Vip(vrid=int(vrid)):
                pools.change((old.network_id, VRIDS), vrid_given_back, vrid)
            case _:
                pass
        match new:
            case Address():
                pools.change((new.network_id, new.version), address_taken, new)
            case Vip(vrid=int(vrid)):
                pools.change((new.network_id, VRIDS), vrid_taken, vrid)
            case _:
                if isinstance(old, Network) or isinstance(new, Network):
                    self._rerange(cast("Network | None", old), cast("Network | None", new))

    def _rerange(self, old: Network | None, new: Network | None) -> None:
        before = {} if old is None else ranges_of(old)
        after = {} if new is None else ranges_of(new)
        id = cast("Network", new or old).id
        for version in before.keys() | after.keys():
            span = after.get(version)
            if span is None:
                self._working_pools.put((id, version), None)
            elif span != before.get(version):
                rows = [row for row in self.by(Address, "network_id", id) if row.version == version]
                self._working_pools.put((id, version), filled(span, rows))


_POOLED = frozenset({Address, Vip, Network})


class _Working(Asked[Any], Protocol):
    """A table in the making."""

    def change(self, old: Any, new: Any) -> None: ...
    def changes(self) -> Iterator[tuple[Any, Any]]: ...
    def settled(self) -> Asked[Any]: ...


class _WorkingTable(Generic[T]):
    """The objects of one kind: of rows and shelves those that were touched, the others lie in the base."""

    __slots__ = ("_base", "_journal", "_rows", "_shelves")

    def __init__(self, base: Table[T], journal: _Journal) -> None:
        self._base, self._journal = base, journal
        self._rows: dict[str, T | None] = {}
        self._shelves: dict[str, dict[Any, Shelf[T]]] = {field: {} for field in base.fields}

    def get(self, id: str) -> T | None:
        found = self._rows.get(id, _UNTOUCHED)
        return self._base.get(id) if found is _UNTOUCHED else found

    def present(self, thing: T) -> T | None:
        return self.get(thing.id)

    def by(self, field: str, value: object) -> Sequence[T]:
        shelf = self._shelves[field].get(value, _UNTOUCHED)
        return self._base.by(field, value) if shelf is _UNTOUCHED else things_on(shelf)

    def __iter__(self) -> Iterator[T]:
        here = [thing for thing in self._rows.values() if thing is not None]
        return chain((thing for thing in self._base if thing.id not in self._rows), here)

    def __len__(self) -> int:
        return len(self._base) + sum((new is not None) - (old is not None) for old, new in self.changes())

    def change(self, old: T | None, new: T | None) -> None:
        """Put `new`, if any, in place of `old`, the object of that id that is here now, if any."""
        id = cast("T", old if new is None else new).id
        self._put(self._rows, id, new)
        for field, shelves in self._shelves.items():
            before = None if old is None else getattr(old, field)
            after = None if new is None else getattr(new, field)
            if before is not None and before != after:
                self._put(shelves, before, lessened(self._shelf(field, before), id))
            if new is not None and after is not None:
                self._put(shelves, after, enlarged(self._shelf(field, after), new, is_new=before != after))

    def changes(self) -> Iterator[tuple[T | None, T | None]]:
        """Objects before and after, as far as they were touched."""
        for id, new in self._rows.items():
            old = self._base.get(id)
            if old is not None or new is not None:
                yield old, new

    def settled(self) -> Table[T]:
        """The table with all of this in it."""
        return self._base.updated(self._rows, self._shelves)

    def _shelf(self, field: str, value: object) -> Shelf[T]:
        found = self._shelves[field].get(value, _UNTOUCHED)
        return self._base.shelf(field, value) if found is _UNTOUCHED else found

    def _put(self, place: dict[Any, Any], key: object, value: object) -> None:
        self._journal.append((place, key, place.get(key, _UNTOUCHED)))
        place[key] = value


class _WorkingAddresses:
    """The addresses: those that were touched, by network and version; the others lie in the base."""

    __slots__ = ("_base", "_journal", "_rows")

    def __init__(self, base: ValueAddresses, journal: _Journal) -> None:
        self._base, self._journal = base, journal
        self._rows: dict[tuple[str, int], dict[int, Address | None]] = {}

    def at(self, network_id: str, version: int, ip: int) -> Address | None:
        rows = self._rows.get((network_id, version))
        found = _UNTOUCHED if rows is None else rows.get(ip, _UNTOUCHED)
        return self._base.at(network_id, version, ip) if found is _UNTOUCHED else found

    def get(self, id: str) -> Address | None:
        network_id, version, ip = id.split("/")
        return self.at(network_id, int(version), int(ip))

    def present(self, thing: Address) -> Address | None:
        return self.at(thing.network_id, thing.version, thing.ip)

    def by(self, field: str, value: object) -> Sequence[Address]:
        match field, value:
            case "network_id", str(id):
                here: Iterable[Address | None] = chain(*(self._rows.get((id, version), {}).values() for version in (4, 6)))
            case "address", (int(version), int(ip)):
                here = (rows[ip] for (_, other), rows in self._rows.items() if other == version and ip in rows)
            case _:
                raise AssertionError(f"addresses are not found by {field} {value!r}")
        there = (row for row in self._base.by(field, value) if not self._is_touched(row))
        return [*there, *(row for row in here if row is not None)]

    def __iter__(self) -> Iterator[Address]:
        here = [row for rows in self._rows.values() for row in rows.values() if row is not None]
        return chain((row for row in self._base if not self._is_touched(row)), here)

    def __len__(self) -> int:
        return len(self._base) + sum((new is not None) - (old is not None) for old, new in self.changes())

    def change(self, old: Address | None, new: Address | None) -> None:
        """Put `new`, if any, in place of `old`, the row of that address that is here now, if any."""
        thing = cast("Address", old if new is None else new)
        rows = self._rows.setdefault((thing.network_id, thing.version), {})
        self._journal.append((rows, thing.ip, rows.get(thing.ip, _UNTOUCHED)))
        rows[thing.ip] = new

    def changes(self) -> Iterator[tuple[Address | None, Address | None]]:
        """Rows before and after, as far as they were touched."""
        for (network_id, version), rows in self._rows.items():
            for ip, new in rows.items():
                old = self._base.at(network_id, version, ip)
                if old is not None or new is not None:
                    yield old, new

    def settled(self) -> ValueAddresses:
        """The addresses with all of this in them."""
        return self._base.updated_addresses(self._rows)

    def _is_touched(self, row: Address) -> bool:
        return row.ip in self._rows.get((row.network_id, row.version), ())


class _WorkingPools:
    """The pools: those that were changed, None: gone; the others lie in the base."""

    __slots__ = ("_base", "_changed", "_journal")

    def __init__(self, base: ValuePools, journal: _Journal) -> None:
        self._base, self._journal = base, journal
        self._changed: dict[PoolKey, AddressPool | None] = {}

    def get(self, key: PoolKey) -> AddressPool | None:
        found = self._changed.get(key, _UNTOUCHED)
        return self._base.get(key) if found is _UNTOUCHED else found

    def change(self, key: PoolKey, how: Callable[[AddressPool, V], AddressPool], what: V) -> None:
        """Put what `how` makes of a pool in its place, if there is one."""
        if (pool := self.get(key)) is not None:
            self.put(key, how(pool, what))

    def put(self, key: PoolKey, pool: AddressPool | None) -> None:
        """Put a pool in the place of one; None: the network has it no more."""
        self._journal.append((self._changed, key, self._changed.get(key, _UNTOUCHED)))
        self._changed[key] = pool

    def settled(self) -> ValuePools:
        """The pools with all of this in them."""
        return self._base.updated(self._changed)
