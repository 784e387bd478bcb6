"""Addresses: in their network's range, each with its owner, each owner with its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vipnet.addresses import format_ip
from vipnet.errors import InputParameterError
from vipnet.invariants.wording import called, kind_word, shown
from vipnet.model import Address, Eip, InstanceGroup, Network, Nic, OwnerType, Server, Vip
from vipnet.operations.addresses import holder
from vipnet.topology import Topology

__all__ = ["check_addresses", "check_in_range"]


class _Claim(NamedTuple):
    """That an owner has an address."""

    network_id: str
    version: int
    ip: int
    owner_type: OwnerType
    owner_id: str
    holder: Nic | Vip | Eip


def check_addresses(topology: Topology) -> None:
    """Raise InputParameterError where the table of addresses and what NICs, VIPs and EIPs have are not the same."""
    for address in topology.all(Address):
        check_in_range(topology, address)
    claimed: dict[str, _Claim] = {}
    for claim in _claims(topology):
        key = f"{claim.network_id}/{claim.version}/{claim.ip}"
        if key in claimed:
            raise InputParameterError(_twice(topology, claimed[key], claim))
        claimed[key] = claim
    for claim in claimed.values():
        _check_row(topology, claim, topology.address(claim.network_id, claim.version, claim.ip))
    for address in topology.all(Address):
        if address.state == "used" and address.id not in claimed:
            raise InputParameterError(_idle(topology, address))


def check_in_range(topology: Topology, address: Address) -> None:
    """Raise InputParameterError for an address outside the range of its network, which must exist."""
    network = topology.at(Network, address.network_id)
    pool = topology.pool(network.id, address.version)
    if pool is None:
        raise InputParameterError(
            f"address {shown(address)} is of network {network.name}, which has no IPv{address.version} range; leave it out"
        )
    if address.ip not in pool:
        span = f"{format_ip(address.version, pool.first)}-{format_ip(address.version, pool.last)}"
        raise InputParameterError(f"address {shown(address)} is outside the range {span} of network {network.name}")


def _claims(topology: Topology) -> Iterator[_Claim]:
    for nic in topology.all(Nic):
        yield from _both(nic, "servers", nic.server_id)
    for vip in topology.all(Vip):
        yield from _both(vip, "instancegroups", vip.group_id)
    for eip in topology.all(Eip):
        yield _Claim(eip.network_id, 4, eip.ip, "elasticips", eip.id, eip)


def _both(thing: Nic | Vip, owner_type: OwnerType, owner_id: str) -> Iterator[_Claim]:
    yield _Claim(thing.network_id, 4, thing.ip, owner_type, owner_id, thing)
    if thing.ip6 is not None:
        yield _Claim(thing.network_id, 6, thing.ip6, owner_type, owner_id, thing)


def _check_row(topology: Topology, claim: _Claim, row: Address | None) -> None:
    text = f"address {format_ip(claim.version, claim.ip)} of network {topology.at(Network, claim.network_id).name}"
    if row is None:
        raise InputParameterError(f"{text} is had by {_who(topology, claim)} and is not among the addresses; add its row")
    if row.state != "used" or (row.owner_type, row.owner_id) != (claim.owner_type, claim.owner_id):
        has = f"state {row.state}, owner {row.owner_type} {row.owner_id!r}"
        want = f"state used, owner {claim.owner_type} {claim.owner_id!r}"
        raise InputParameterError(f"{text} is had by {_who(topology, claim)}, its row says {has}; use {want}")


def _twice(topology: Topology, one: _Claim, other: _Claim) -> str:
    text = f"address {format_ip(one.version, one.ip)} of network {topology.at(Network, one.network_id).name}"
    first, second = sorted((_who(topology, one), _who(topology, other)))
    return f"{text} is held twice, by {first} and {second}; give one another"


def _who(topology: Topology, claim: _Claim) -> str:
    match claim.holder:
        case Nic():
            return f"{kind_word(Server)} {topology.at(Server, claim.owner_id).name}"
        case Vip():
            return f"{kind_word(InstanceGroup)} {topology.at(InstanceGroup, claim.owner_id).name}"
        case Eip():
            return called(claim.holder)


def _idle(topology: Topology, address: Address) -> str:
    network = topology.at(Network, address.network_id)
    return (
        f"address {shown(address)} of network {network.name} is used by {holder(topology, address)} ({address.owner_id}), "
        "which has no NIC, VIP or EIP with it; leave it out, or add that"
    )
