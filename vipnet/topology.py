"""The whole desired model as one immutable value with its indexes.

A snapshot shares everything that did not change with the one before (persistent hash maps), so keeping an old one, which
is what a rollback is, costs nothing. `put` and `remove` keep every index and every address pool right; they check no
rules, which is the operations' work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from immutables import Map

from vipnet.blocks import blocks_of, pool_of
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
from vipnet.stored import Source, StoredPools, StoredTable
from vipnet.tables import Addresses, AddressTable, MemoryTable, PoolKey, Pools, Table

__all__ = ["INDEXES", "KINDS", "VRIDS", "Topology", "ranges_of"]

T = TypeVar("T", bound=Thing)

KINDS: tuple[type[Thing], ...] = (Vpc, Network, Host, Server, Nic, InstanceGroup, Membership, Vip, Eip, Address)
"""Every kind of object, referenced kinds before those that refer to them."""

INDEXES: Mapping[type[Thing], tuple[str, ...]] = {
    Vpc: ("name", "tag", "external_access_mode"),
    Network: ("name", "vpc_id", "server_type"),
    Host: ("name",),
    Server: ("name", "host_id"),
    Nic: ("server_id", "mac", "device"),
    InstanceGroup: ("name",),
    Membership: ("group_id", "server_id"),
    Vip: ("group_id", "vrid_key"),
    Eip: ("name", "vip_id"),
    Address: ("network_id", "address"),
}
"""The fields by which objects of a kind are looked up. What is in a network is found by the addresses taken there."""

VRIDS = 0
"""The VRIDs of a network have a pool in place of an IP version's."""



_NO_POOLS: Map[PoolKey, AddressPool] = Map()


def _classic() -> Vpc:
    return Vpc(id=DEFAULT_VPC, name=DEFAULT_VPC, cidr="0.0.0.0/0", cidr6=None, external_access_mode="none", tag=0)


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """An immutable snapshot. Make one with `Topology.empty()` and derive others with `put` and `remove`."""

    _tables: Mapping[type[Any], Table[Any]]
    _pools: Pools

    @classmethod
    def empty(cls) -> Topology:
        """The model with nothing in it but the built-in classic VPC `default`."""
        return cls.of({})

    @classmethod
    def of(cls, things: Mapping[type[Any], Iterable[Any]]) -> Topology:
        """The model with these objects, by kind, no two of one id, and the built-in VPC."""
        tables: dict[type[Any], Table[Any]] = {
            kind: AddressTable.of(things.get(Address, ()))
            if kind is Address
            else MemoryTable[Any].of(INDEXES[kind], things.get(kind, ()))
            for kind in KINDS
        }
        bare = cls(tables, _NO_POOLS)
        networks: Iterable[Network] = things.get(Network, ())
        pools: dict[PoolKey, AddressPool] = {
            (network.id, version): pool for network in networks for version, pool in _pools_of(bare, network)
        }
        for vip in bare.all(Vip):
            if vip.vrid is not None:
                pools[vip.network_id, VRIDS] = _vrid_taken(pools[vip.network_id, VRIDS], vip.vrid)
        return cls(tables, Map[PoolKey, AddressPool](pools)).put(_classic())

    @classmethod
    def stored(cls, source: Source) -> Topology:
        """The model in a source, whose objects are read as they are asked for, and the built-in VPC."""
        tables = {kind: StoredTable[Any].of(source, kind, INDEXES[kind]) for kind in KINDS}
        return cls(tables, StoredPools(source)).put(_classic())

    def get(self, kind: type[T], id: str) -> T | None:
        """The object of that id, or None."""
        return self._tables[kind].get(id)

    def at(self, kind: type[T], id: str) -> T:
        """The object of an id that is known to exist."""
        found: T | None = self._tables[kind].get(id)
        assert found is not None, f"no {kind.__name__} {id}"
        return found

    def present(self, thing: T) -> T | None:
        """The object that has the id of this one, or None."""
        return self._tables[type(thing)].present(thing)

    def all(self, kind: type[T]) -> Iterator[T]:
        """Every object of a kind, in no order."""
        return iter(self._tables[kind])

    def count(self, kind: type[T]) -> int:
        """How many objects of a kind there are."""
        return len(self._tables[kind])

    def by(self, kind: type[T], field: str, value: object) -> Sequence[T]:
        """The objects of a kind whose indexed field has that value, in no order."""
        return self._tables[kind].by(field, value)

    def has(self, kind: type[T], field: str, value: object) -> bool:
        """Whether any object of a kind has that value in an indexed field."""
        return bool(self._tables[kind].by(field, value))

    def address(self, network_id: str, version: int, ip: int) -> Address | None:
        """The row of an address; None: it is plainly free."""
        return cast("Addresses", self._tables[Address]).at(network_id, version, ip)

    def pool(self, network_id: str, version: int) -> AddressPool | None:
        """The address pool of a network for IP version 4 or 6; None when it has no such range."""
        return self._pools.get((network_id, version))

    def free_vrid(self, network_id: str) -> int | None:
        """The lowest VRID that no VIP of a network has; None: all 255 are taken."""
        pool = self._pools.get((network_id, VRIDS))
        return None if pool is None else pool.choose("stepup", random=int)

    def put(self, thing: Thing) -> Topology:
        """The topology with an object added, or replaced by this one of the same id."""
        return self.change(self.present(thing), thing)

    def remove(self, thing: Thing) -> Topology:
        """The topology without an object that is in it."""
        return self.change(thing, None)

    def change(self, old: Thing | None, new: Thing | None) -> Topology:
        """The topology with `new`, if any, in place of `old`, the object of that id that is in it now, if any."""
        kind = type(old if new is None else new)
        tables = {**self._tables, kind: self._tables[kind].change(old, new)}
        return Topology(tables, self._repooled(old, new) if kind in _POOLED else self._pools)

    def _repooled(self, old: Thing | None, new: Thing | None) -> Pools:
        pools = self._pools
        match old:
            case Address():
                pools = _changed(pools, (old.network_id, old.version), lambda pool: _given_back(pool, old))
            case Vip(vrid=int(vrid)):
                pools = _changed(pools, (old.network_id, VRIDS), lambda pool: _vrid_given_back(pool, vrid))
            case _:
                pass
        match new:
            case Address():
                return _changed(pools, (new.network_id, new.version), lambda pool: _taken(pool, new))
            case Vip(vrid=int(vrid)):
                return _changed(pools, (new.network_id, VRIDS), lambda pool: _vrid_taken(pool, vrid))
            case Network():
                return self._ranges(cast("Network | None", old), new)
            case _:
                return pools if not isinstance(old, Network) else self._ranges(old, None)

    def _ranges(self, old: Network | None, new: Network | None) -> Pools:
        pools = self._pools
        before, after = ranges_of(old), ranges_of(new)
        for version in before.keys() | after.keys():
            if before.get(version) == after.get(version):
                continue
            id = cast("Network", new or old).id
            span = after.get(version)
            if span is None:
                pools = pools.delete((id, version))
                continue
            rows = [row for row in self.by(Address, "network_id", id) if row.version == version]
            pools = pools.set((id, version), _filled(span, rows))
        return pools


_POOLED = frozenset({Address, Vip, Network})


def ranges_of(network: Network | None) -> dict[int, tuple[int, int]]:
    """The pools that a network has, by IP version, and that of its VRIDs: first and last, inclusive."""
    if network is None:
        return {}
    spans: dict[int, tuple[int, int]] = {4: (network.start, network.end), VRIDS: (1, 255)}
    if network.start6 is not None and network.end6 is not None:
        spans[6] = (network.start6, network.end6)
    return spans


def _pools_of(topology: Topology, network: Network) -> Iterator[tuple[int, AddressPool]]:
    rows: dict[int, list[Address]] = {4: [], 6: [], VRIDS: []}
    for row in topology.by(Address, "network_id", network.id):
        rows[row.version].append(row)
    for version, span in ranges_of(network).items():
        yield version, _filled(span, rows[version])


def _filled(span: tuple[int, int], rows: Sequence[Address]) -> AddressPool:
    blocks = ((block.first, bits) for block, bits in blocks_of(rows).items())
    return pool_of(*span, blocks, [row for row in rows if _deadline(row) is not None])


def _changed(pools: Pools, key: PoolKey, change: Callable[[AddressPool], AddressPool]) -> Pools:
    pool = pools.get(key)
    return pools if pool is None else pools.set(key, change(pool))


def _vrid_taken(pool: AddressPool, vrid: int) -> AddressPool:
    # What is being imported may have one twice, or one that is none, and is refused for it when all of it is seen.
    return pool.hold(vrid) if vrid in pool and not pool.is_taken(vrid) else pool


def _vrid_given_back(pool: AddressPool, vrid: int) -> AddressPool:
    return pool.release(vrid) if vrid in pool and pool.is_taken(vrid) else pool


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
