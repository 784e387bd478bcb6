"""From the model to intents: the only place where references are resolved.

A change touches scopes, and only those are derived again; a resync derives every scope. Both roads give the same entries,
because each intent follows from one scope alone, and `scopes_of` names every scope that an object takes part in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, assert_never

from vipnet.config import Config
from vipnet.intents import (
    EipMapping,
    Intent,
    Member,
    PortSecurity,
    Released,
    SubnetRouting,
    SubnetSwitching,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
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
    mac_of,
)
from vipnet.topology import Topology

__all__ = ["Scope", "all_scopes", "derive", "released", "scopes_of", "wide_scopes"]


class Scope(NamedTuple):
    """A part of the model from which some intents follow, and nothing else follows from."""

    kind: Literal["vpc", "network", "port", "vip", "eip", "uplinks"]
    id: str


_UPLINKS = Scope("uplinks", "")


def all_scopes(topology: Topology) -> Iterator[Scope]:
    """Every scope of a topology."""
    yield from wide_scopes(topology)
    yield from (Scope("port", nic.id) for nic in topology.all(Nic))
    yield from (Scope("vip", vip.id) for vip in topology.all(Vip))
    yield from (Scope("eip", eip.id) for eip in topology.all(Eip))


def wide_scopes(topology: Topology) -> Iterator[Scope]:
    """The scopes that are no single server's, group's or EIP's."""
    yield _UPLINKS
    yield from (Scope("vpc", vpc.id) for vpc in topology.all(Vpc))
    yield from (Scope("network", network.id) for network in topology.all(Network))


def scopes_of(topology: Topology, things: Iterable[Thing]) -> set[Scope]:
    """The scopes that objects of this topology take part in. Each server and group is looked at once, whatever brings it up."""
    scopes = set[Scope]()
    servers, ports, groups = set[str](), set[str](), set[str]()
    for thing in things:
        match thing:
            case Vpc():
                scopes |= {Scope("vpc", thing.id), _UPLINKS}
            case Network():
                scopes.add(Scope("network", thing.id))
            case Nic():
                scopes.add(Scope("port", thing.id))
                servers.add(thing.server_id)
            case Server():
                servers.add(thing.id)
            case Membership():
                ports.add(thing.server_id)
                groups.add(thing.group_id)
            case Vip():
                scopes.add(Scope("vip", thing.id))
                scopes.update(Scope("eip", eip.id) for eip in topology.by(Eip, "vip_id", thing.id))
                groups.add(thing.group_id)
            case Eip():
                scopes.add(Scope("eip", thing.id))
            case InstanceGroup() | Host() | Address():
                pass
            case _:
                assert_never(thing)
    return scopes | _around(topology, servers, ports, groups)


def _around(topology: Topology, servers: set[str], ports: set[str], groups: set[str]) -> set[Scope]:
    """Of `servers` their ports and groups, of `groups` the VIPs and the ports of all members: each may use the VIP and
    reach the others by VRRP; of `ports` the ports alone."""
    groups = groups | {row.group_id for id in servers for row in topology.by(Membership, "server_id", id)}
    ports = ports | servers | {row.server_id for id in groups for row in topology.by(Membership, "group_id", id)}
    vips = {Scope("vip", vip.id) for id in groups for vip in topology.by(Vip, "group_id", id)}
    return vips | {Scope("port", nic.id) for id in ports for nic in topology.by(Nic, "server_id", id)}


def derive(topology: Topology, config: Config, scopes: Iterable[Scope]) -> dict[str, Intent]:
    """The intents of some scopes, by id; a scope that does not exist in the topology has none."""
    intents: dict[str, Intent] = {}
    for scope in scopes:
        for intent in _derive_one(topology, config, scope):
            intents[intent.id] = intent
    return intents


def _derive_one(topology: Topology, config: Config, scope: Scope) -> Iterator[Intent]:
    match scope.kind:
        case "vpc":
            yield from _vpc(topology, config, scope.id)
        case "network":
            yield from _network(topology, config, scope.id)
        case "port":
            yield from _port(topology, config, scope.id)
        case "vip":
            yield from _vip(topology, config, scope.id)
        case "eip":
            yield from _eip(topology, config, scope.id)
        case "uplinks":
            yield from _uplinks(topology, config)
        case _:
            assert_never(scope.kind)


def _vpc(topology: Topology, config: Config, id: str) -> Iterator[Intent]:
    vpc = topology.get(Vpc, id)
    if vpc is None or vpc.id == DEFAULT_VPC:
        return
    mode = vpc.external_access_mode
    yield VpcRouting(
        vpc_id=vpc.id,
        tag=vpc.tag,
        mode=mode,
        mac=mac_of(vpc.id),
        uplinks=() if mode == "none" else config.ways,
    )


def _uplinks(topology: Topology, config: Config) -> Iterator[Intent]:
    """An uplink is in use while some VPC may send anything out."""
    modes = {mode for mode in ("eip", "distgw", "eip-distgw") if topology.has(Vpc, "external_access_mode", mode)}
    if not modes:
        return
    ways = config.ways
    own = next((way.name for way in ways if way.address is not None), None) if modes - {"eip"} else None
    for way in ways:
        yield UplinkSwitching(uplink=way, masquerade=way.name == own)


def _network(topology: Topology, config: Config, id: str) -> Iterator[Intent]:
    network = topology.get(Network, id)
    if network is None or network.server_type == "eip":
        return
    leg = config.classic.get(network.name) if network.vpc_id == DEFAULT_VPC else None
    yield SubnetSwitching(
        network_id=network.id,
        vpc_id=network.vpc_id,
        leg=None if leg is None else leg.device,
        vlan_id=network.vlan_id,
    )
    if network.vpc_id != DEFAULT_VPC and network.gateway is not None:
        yield SubnetRouting(
            network_id=network.id,
            vpc_id=network.vpc_id,
            gateway=network.gateway,
            length=network.length,
            gateway6=network.gateway6,
            length6=network.length6,
            mac=mac_of(network.id),
        )


def _port(topology: Topology, config: Config, id: str) -> Iterator[Intent]:
    nic = topology.get(Nic, id)
    if nic is None or not _is_local(topology, config, nic.server_id):
        return
    vips = [
        vip
        for row in topology.by(Membership, "server_id", nic.server_id)
        for vip in topology.by(Vip, "group_id", row.group_id)
        if vip.network_id == nic.network_id
    ]
    yield PortSecurity(
        nic_id=nic.id,
        network_id=nic.network_id,
        vpc_id=topology.at(Network, nic.network_id).vpc_id,
        device=nic.device,
        mac=nic.mac,
        ip=nic.ip,
        ips=tuple(sorted({nic.ip, *(vip.ip for vip in vips)})),
        ip6s=tuple(sorted(ip6 for ip6 in {nic.ip6, *(vip.ip6 for vip in vips)} if ip6 is not None)),
        vrrp_peers=_peers(topology, config, nic),
        ip6=nic.ip6,
    )


def _peers(topology: Topology, config: Config, nic: Nic) -> tuple[str, ...]:
    groups = [row.group_id for row in topology.by(Membership, "server_id", nic.server_id)]
    devices = {
        other.device
        for group_id in groups
        for other in _member_nics(topology, config, group_id, nic.network_id)
        if other.id != nic.id
    }
    return tuple(sorted(devices))


def _member_nics(topology: Topology, config: Config, group_id: str, network_id: str) -> list[Nic]:
    rows = sorted(topology.by(Membership, "group_id", group_id), key=lambda row: row.position)
    return [
        nic
        for row in rows
        if _is_local(topology, config, row.server_id)
        for nic in topology.by(Nic, "server_id", row.server_id)
        if nic.network_id == network_id
    ]


def _is_local(topology: Topology, config: Config, server_id: str) -> bool:
    """Whether this controller programs the server's ports: all without `host`, else those of the host of that name or id."""
    if not config.host:
        return True
    host_id = topology.at(Server, server_id).host_id
    return host_id is not None and config.host in (host_id, topology.at(Host, host_id).name)


def _vip(topology: Topology, config: Config, id: str) -> Iterator[Intent]:
    vip = topology.get(Vip, id)
    if vip is None:
        return
    nics = _member_nics(topology, config, vip.group_id, vip.network_id)
    yield VipBinding(
        vip_id=vip.id,
        group_id=vip.group_id,
        network_id=vip.network_id,
        vpc_id=topology.at(Network, vip.network_id).vpc_id,
        ip=vip.ip,
        ip6=vip.ip6,
        members=tuple(Member(nic_id=nic.id, device=nic.device, mac=nic.mac) for nic in nics),
    )


def _eip(topology: Topology, config: Config, id: str) -> Iterator[Intent]:
    eip = topology.get(Eip, id)
    if eip is None or eip.vip_id is None:
        return
    vip = topology.at(Vip, eip.vip_id)
    yield EipMapping(
        eip_id=eip.id,
        vpc_id=topology.at(Network, vip.network_id).vpc_id,
        network_id=eip.network_id,
        eip=eip.ip,
        vip=vip.ip,
        bandwidth=eip.bandwidth,
        uplink=config.way_of.get(topology.at(Network, eip.network_id).name),
    )


def released(before: dict[str, Intent], after: dict[str, Intent]) -> list[Released]:
    """What ended between two derivations of the same scopes: mappings that went or moved, addresses that left a port."""
    ended: list[Released] = []
    for id, old in before.items():
        new = after.get(id)
        match old:
            case EipMapping():
                if not isinstance(new, EipMapping) or (new.vpc_id, new.eip, new.vip) != (old.vpc_id, old.eip, old.vip):
                    stays = isinstance(new, EipMapping) and new.vpc_id == old.vpc_id
                    left = None if stays else old.eip_id
                    ended.append(Released(vpc_id=old.vpc_id, network_id=old.network_id, ip=old.vip, eip=old.eip, eip_id=left))
            case PortSecurity():
                ended += _left(old, new if isinstance(new, PortSecurity) else None)
            case _:
                pass
    return ended


def _left(old: PortSecurity, new: PortSecurity | None) -> Iterator[Released]:
    kept, kept6 = ((), ()) if new is None else (new.ips, new.ip6s)
    for ip in old.ips:
        if ip not in kept:
            yield Released(vpc_id=old.vpc_id, network_id=old.network_id, ip=ip, eip=None, mac=old.mac)
    for ip in old.ip6s:
        if ip not in kept6:
            yield Released(vpc_id=old.vpc_id, network_id=old.network_id, ip=ip, eip=None, version=6, mac=old.mac)
