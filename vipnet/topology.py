"""The whole desired model with its indexes, to be asked; and a snapshot of it, an immutable value.

A snapshot shares everything that did not change with the one before (persistent hash maps), so keeping an old one, which
is what a rollback is, costs nothing. Changes are made in a workspace over a snapshot (working.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

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
from vipnet.pools import VRIDS, filled, ranges_of, vrid_taken
from vipnet.stored import Source, StoredAddresses, StoredPools, StoredTable
from vipnet.tables import Addresses, AddressTable, Asked, MemoryPools, MemoryTable, PoolKey, Pools, ValuePools

__all__ = ["INDEXES", "KINDS", "Snapshot", "Topology"]

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

_CLASSIC = Vpc(id=DEFAULT_VPC, name=DEFAULT_VPC, cidr="0.0.0.0/0", cidr6=None, external_access_mode="none", tag=0)


class Topology:
    """What may be asked of a model, be it a snapshot or one in the making."""

    __slots__ = ("_pools", "_tables")

    _tables: Mapping[type[Any], Asked[Any]]
    _pools: Pools

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


class Snapshot(Topology):
    """The model at one moment; nothing changes it. `tables` and `pools` are for what is built on top of it."""

    __slots__ = ("pools", "tables")

    def __init__(self, tables: Mapping[type[Any], Asked[Any]], pools: ValuePools) -> None:
        self._tables = self.tables = tables
        self._pools = self.pools = pools

    @classmethod
    def empty(cls) -> Snapshot:
        """The model with nothing in it but the built-in classic VPC `default`."""
        return cls.of({})

    @classmethod
    def of(cls, things: Mapping[type[Any], Iterable[Any]]) -> Snapshot:
        """The model with these objects, by kind, no two of one id; the built-in VPC is added."""
        given = {**things, Vpc: [_CLASSIC, *(vpc for vpc in things.get(Vpc, ()) if vpc.id != DEFAULT_VPC)]}
        tables: dict[type[Any], Asked[Any]] = {
            kind: MemoryTable[Any].of(INDEXES[kind], given.get(kind, ())) for kind in KINDS if kind is not Address
        }
        bare = cls(tables | {Address: AddressTable.of(given.get(Address, ()))}, MemoryPools({}))
        return cls(bare.tables, MemoryPools(_pools_of(bare)))

    @classmethod
    def stored(cls, source: Source) -> Snapshot:
        """The model in a source, whose objects are read as they are asked for."""
        tables: dict[type[Any], Asked[Any]] = {
            kind: StoredTable[Any].of(source, kind, INDEXES[kind]) for kind in KINDS if kind is not Address
        }
        tables[Vpc] = cast("StoredTable[Vpc]", tables[Vpc]).updated({DEFAULT_VPC: _CLASSIC}, {})
        tables[Address] = StoredAddresses.of(source, Address, INDEXES[Address])
        return cls(tables, StoredPools(source))


def _pools_of(topology: Topology) -> dict[PoolKey, AddressPool]:
    pools: dict[PoolKey, AddressPool] = {}
    for network in topology.all(Network):
        rows: dict[int, list[Address]] = {4: [], 6: [], VRIDS: []}
        for row in topology.by(Address, "network_id", network.id):
            rows[row.version].append(row)
        pools |= {(network.id, version): filled(span, rows[version]) for version, span in ranges_of(network).items()}
    for vip in topology.all(Vip):
        if vip.vrid is not None:
            key = vip.network_id, VRIDS
            pools[key] = vrid_taken(pools[key], vip.vrid)
    return pools
