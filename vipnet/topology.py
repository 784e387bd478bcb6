"""The whole desired model as one immutable value with its indexes.

A snapshot shares everything that did not change with the one before (persistent hash maps), so keeping an old one, which
is what a rollback is, costs nothing. `put` and `remove` keep every index and every address pool right; they check no
rules, which is the operations' work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from rpds import HashTrieMap, HashTrieSet

from vipnet.ipam import AddressPool
from vipnet.model import (
    DEFAULT_VPC,
    Address,
    Eip,
    Host,
    InstanceGroup,
    Membership,
    Network,
    Nic,
    Server,
    Thing,
    Vip,
    Vpc,
)

__all__ = ["INDEXES", "KINDS", "Topology"]

T = TypeVar("T", bound=Thing)

KINDS: tuple[type[Thing], ...] = (Vpc, Network, Host, Server, Nic, InstanceGroup, Membership, Vip, Eip, Address)
"""Every kind of object, referenced kinds before those that refer to them."""

INDEXES: Mapping[type[Thing], tuple[str, ...]] = {
    Vpc: ("name", "tag", "external_access_mode"),
    Network: ("name", "vpc_id", "server_type"),
    Host: ("name",),
    Server: ("name", "host_id"),
    Nic: ("server_id", "network_id", "mac", "device"),
    InstanceGroup: ("name",),
    Membership: ("group_id", "server_id"),
    Vip: ("group_id", "network_id", "vrid_key"),
    Eip: ("name", "vip_id", "network_id"),
    Address: ("network_id",),
}
"""The fields by which objects of a kind are looked up."""

_Table: TypeAlias = "HashTrieMap[str, Any]"
_Index: TypeAlias = "HashTrieMap[Any, HashTrieSet[str]]"
_PoolKey = tuple[str, int]


def _classic() -> Vpc:
    return Vpc(id=DEFAULT_VPC, name=DEFAULT_VPC, cidr="0.0.0.0/0", cidr6=None, external_access_mode="none", tag=0)


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """An immutable snapshot. Make one with `Topology.empty()` and derive others with `put` and `remove`."""

    _tables: Mapping[type[Any], _Table]
    _indexes: Mapping[tuple[type[Any], str], _Index]
    _pools: HashTrieMap[_PoolKey, AddressPool]

    @classmethod
    def empty(cls) -> Topology:
        """The model with nothing in it but the built-in classic VPC `default`."""
        tables: dict[type[Any], _Table] = {kind: HashTrieMap() for kind in KINDS}
        indexes: dict[tuple[type[Any], str], _Index] = {
            (kind, field): HashTrieMap() for kind, fields in INDEXES.items() for field in fields
        }
        return cls(tables, indexes, HashTrieMap()).put(_classic())

    def get(self, kind: type[T], id: str) -> T | None:
        """The object of that id, or None."""
        return cast(T | None, self._tables[kind].get(id))

    def at(self, kind: type[T], id: str) -> T:
        """The object of an id that is known to exist."""
        return cast(T, self._tables[kind][id])

    def all(self, kind: type[T]) -> Iterator[T]:
        """Every object of a kind, in no order."""
        return cast(Iterator[T], iter(self._tables[kind].values()))

    def count(self, kind: type[T]) -> int:
        """How many objects of a kind there are."""
        return len(self._tables[kind])

    def by(self, kind: type[T], field: str, value: object) -> list[T]:
        """The objects of a kind whose indexed field has that value, in no order."""
        table = self._tables[kind]
        return [cast(T, table[id]) for id in self._indexes[kind, field].get(value, ())]

    def has(self, kind: type[T], field: str, value: object) -> bool:
        """Whether any object of a kind has that value in an indexed field."""
        return value in self._indexes[kind, field]

    def pool(self, network_id: str, version: int) -> AddressPool | None:
        """The address pool of a network for IP version 4 or 6; None when it has no such range."""
        return self._pools.get((network_id, version))

    def put(self, thing: Thing) -> Topology:
        """The topology with an object added, or replaced by this one of the same id."""
        kind = type(thing)
        old = self._tables[kind].get(thing.id)
        tables = {**self._tables, kind: self._tables[kind].insert(thing.id, thing)}
        return Topology(tables, self._reindexed(old, thing), self._repooled(old, thing))

    def remove(self, thing: Thing) -> Topology:
        """The topology without an object that is in it."""
        kind = type(thing)
        tables = {**self._tables, kind: self._tables[kind].remove(thing.id)}
        return Topology(tables, self._reindexed(thing, None), self._repooled(thing, None))

    def _reindexed(self, old: Thing | None, new: Thing | None) -> Mapping[tuple[type[Any], str], _Index]:
        kind = type(new if new is not None else old)
        indexes = dict(self._indexes)
        for field in INDEXES[cast(type[Thing], kind)]:
            before = None if old is None else getattr(old, field)
            after = None if new is None else getattr(new, field)
            if before == after:
                continue
            key = (cast(type[Thing], kind), field)
            if before is not None and old is not None:
                indexes[key] = _without(indexes[key], before, old.id)
            if after is not None and new is not None:
                indexes[key] = _with(indexes[key], after, new.id)
        return indexes

    def _repooled(self, old: Thing | None, new: Thing | None) -> HashTrieMap[_PoolKey, AddressPool]:
        pools = self._pools
        if isinstance(old, Address) and (old.network_id, old.version) in pools:
            key = (old.network_id, old.version)
            pools = pools.insert(key, _given_back(pools[key], old))
        if isinstance(new, Address):
            key = (new.network_id, new.version)
            pools = pools.insert(key, _taken(pools[key], new))
        if isinstance(old, Network) or isinstance(new, Network):
            pools = self._ranges(cast(Network | None, old), cast(Network | None, new))
        return pools

    def _ranges(self, old: Network | None, new: Network | None) -> HashTrieMap[_PoolKey, AddressPool]:
        pools = self._pools
        before, after = _range_of(old), _range_of(new)
        for version in (4, 6):
            if before.get(version) == after.get(version):
                continue
            id = cast(Network, new or old).id
            span = after.get(version)
            if span is None:
                pools = pools.discard((id, version))
                continue
            pool = AddressPool.of(*span)
            for address in self.by(Address, "network_id", id):
                pool = _taken(pool, address) if address.version == version else pool
            pools = pools.insert((id, version), pool)
        return pools


def _range_of(network: Network | None) -> dict[int, tuple[int, int]]:
    if network is None:
        return {}
    spans: dict[int, tuple[int, int]] = {4: (network.start, network.end)}
    if network.start6 is not None and network.end6 is not None:
        spans[6] = (network.start6, network.end6)
    return spans


def _with(index: _Index, value: object, id: str) -> _Index:
    ids = index.get(value)
    return index.insert(value, HashTrieSet([id]) if ids is None else ids.insert(id))


def _without(index: _Index, value: object, id: str) -> _Index:
    ids = index[value].remove(id)
    return index.insert(value, ids) if len(ids) else index.remove(value)


def _taken(pool: AddressPool, address: Address) -> AddressPool:
    if address.ip not in pool:  # a gateway reserved before the range was narrowed
        return pool
    if address.state == "resting":
        return pool.rest(address.ip, until=address.until or 0.0)
    return pool.hold(address.ip, until=_deadline(address))


def _given_back(pool: AddressPool, address: Address) -> AddressPool:
    if address.ip not in pool:
        return pool
    return pool.release(address.ip, resting=address.state == "resting", until=_deadline(address))


def _deadline(address: Address) -> float | None:
    """When the address is free by itself; one that is leaving waits for the data plane, not for the clock."""
    return address.until if address.state in ("reserved", "resting") else None
