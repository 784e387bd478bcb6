"""What is in a picture, in order of names: VPCs, their networks, in these servers, groups and EIPs; all of it text."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vipnet.addresses import format_ip4, format_ip6
from vipnet.model import DEFAULT_VPC, Eip, Host, InstanceGroup, Membership, Network, Nic, Server, Vip, Vpc
from vipnet.operations.groups import members_of, vips_of
from vipnet.operations.vips import common_network
from vipnet.topology import Topology

__all__ = ["LOOSE", "EipBox", "GroupBox", "NetworkBox", "Outline", "ServerBox", "VipBox", "VpcBox", "outline_of"]

LOOSE = "in no network, or in several"
"""The heading of servers and groups that no network has to itself."""

_Named = Network | Server | InstanceGroup | Eip
_T = TypeVar("_T")
_N = TypeVar("_N", Network, Server, InstanceGroup)
_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class EipBox:
    """An elastic IP; `vip` and `group`: what it is mapped to."""

    id: str
    name: str
    ip: str
    limit: str
    network: str
    vip: str | None
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VipBox:
    """A virtual IP; `ips` has one address or a pair."""

    id: str
    ips: tuple[str, ...]
    vrid: int | None
    eips: tuple[EipBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBox:
    """A server as it is in one network."""

    id: str
    name: str
    ips: tuple[str, ...]
    host: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBox:
    """A group; members in the order of joining. `marks` say what is not ordinary."""

    id: str
    name: str
    members: tuple[ServerBox, ...]
    vips: tuple[VipBox, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBox:
    """A network; `facts` are what to know of it, `eips` those that come out of it."""

    id: str
    name: str
    prefixes: tuple[str, ...]
    facts: tuple[str, ...]
    servers: tuple[ServerBox, ...]
    groups: tuple[GroupBox, ...]
    eips: tuple[EipBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcBox:
    """A VPC."""

    id: str
    name: str
    facts: tuple[str, ...]
    networks: tuple[NetworkBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The whole picture; `servers` and `groups` are those that are in no network."""

    vpcs: tuple[VpcBox, ...]
    servers: tuple[ServerBox, ...]
    groups: tuple[GroupBox, ...]


def outline_of(topology: Topology) -> Outline:
    """Say what is in the picture of a topology; an empty built-in VPC is not."""
    return _Outliner(topology).outline()


class _Outliner:
    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._groups = _gathered(topology.all(InstanceGroup), self._home)
        self._nics = _gathered(topology.all(Nic), lambda nic: nic.network_id)
        self._eips = _gathered(topology.all(Eip), lambda eip: eip.network_id)

    def outline(self) -> Outline:
        topology = self._topology
        vpcs = [vpc for vpc in topology.all(Vpc) if vpc.id != DEFAULT_VPC or topology.by(Network, "vpc_id", vpc.id)]
        idle = [server for server in topology.all(Server) if not topology.by(Nic, "server_id", server.id)]
        return Outline(
            vpcs=tuple(self._vpc(vpc) for vpc in sorted(vpcs, key=lambda vpc: (vpc.id == DEFAULT_VPC, vpc.name))),
            servers=tuple(self._server(server, ()) for server in _ordered(idle)),
            groups=tuple(self._group(group) for group in _ordered(self._groups.get(None, []))),
        )

    def _home(self, group: InstanceGroup) -> str | None:
        """The network that a group is drawn in: its VIP's, else that of all its members."""
        for vip in self._topology.by(Vip, "group_id", group.id):
            return vip.network_id
        return common_network(self._topology, self._topology.by(Membership, "group_id", group.id))

    def _vpc(self, vpc: Vpc) -> VpcBox:
        facts = ("classic",) if vpc.id == DEFAULT_VPC else (vpc.cidr, vpc.cidr6, f"access {vpc.external_access_mode}")
        networks = _ordered(self._topology.by(Network, "vpc_id", vpc.id))
        return VpcBox(
            id=vpc.id,
            name=vpc.name,
            facts=tuple(fact for fact in facts if fact),
            networks=tuple(self._network(network) for network in networks),
        )

    def _network(self, network: Network) -> NetworkBox:
        topology = self._topology
        nics = [(topology.at(Server, nic.server_id), nic) for nic in self._nics.get(network.id, [])]
        nics.sort(key=lambda pair: (pair[0].name, pair[0].project, pair[0].id))
        return NetworkBox(
            id=network.id,
            name=_title(network),
            prefixes=tuple(prefix for prefix in (network.prefix, network.prefix6) if prefix),
            facts=tuple(_facts(network)),
            servers=tuple(self._server(server, _ips(nic)) for server, nic in nics),
            groups=tuple(self._group(group) for group in _ordered(self._groups.get(network.id, []))),
            eips=tuple(self._eip(eip) for eip in sorted(self._eips.get(network.id, []), key=lambda eip: eip.ip)),
        )

    def _server(self, server: Server, ips: tuple[str, ...]) -> ServerBox:
        host = None if server.host_id is None else self._topology.at(Host, server.host_id).name
        return ServerBox(id=server.id, name=_title(server), ips=ips, host=host)

    def _group(self, group: InstanceGroup) -> GroupBox:
        vips = vips_of(self._topology, group)
        marks = {"disabled": not group.enabled, "frozen": group.frozen}
        return GroupBox(
            id=group.id,
            name=_title(group),
            members=tuple(self._server(server, self._member_ips(server, vips)) for server in members_of(self._topology, group)),
            vips=tuple(self._vip(vip) for vip in vips),
            marks=tuple(mark for mark, holds in marks.items() if holds),
        )

    def _member_ips(self, server: Server, vips: Sequence[Vip]) -> tuple[str, ...]:
        nics = sorted(self._topology.by(Nic, "server_id", server.id), key=lambda nic: nic.position)
        networks = {vip.network_id for vip in vips}
        return tuple(ip for nic in nics if not networks or nic.network_id in networks for ip in _ips(nic))

    def _vip(self, vip: Vip) -> VipBox:
        eips = sorted(self._topology.by(Eip, "vip_id", vip.id), key=lambda eip: eip.ip)
        return VipBox(id=vip.id, ips=_ips(vip), vrid=vip.vrid, eips=tuple(self._eip(eip) for eip in eips))

    def _eip(self, eip: Eip) -> EipBox:
        vip = None if eip.vip_id is None else self._topology.at(Vip, eip.vip_id)
        return EipBox(
            id=eip.id,
            name=_title(eip),
            ip=format_ip4(eip.ip),
            limit="unlimited" if eip.bandwidth is None else f"{eip.bandwidth} Mbit/s",
            network=self._topology.at(Network, eip.network_id).name,
            vip=None if vip is None else format_ip4(vip.ip),
            group=None if vip is None else _title(self._topology.at(InstanceGroup, vip.group_id)),
        )


def _gathered(things: Iterable[_T], where: Callable[[_T], _K]) -> dict[_K, list[_T]]:
    found: dict[_K, list[_T]] = {}
    for thing in things:
        found.setdefault(where(thing), []).append(thing)
    return found


def _facts(network: Network) -> Iterable[str]:
    if network.server_type == "eip":
        yield "for EIPs"
    if network.bgp_type:
        yield f"line {network.bgp_type}"
    if network.gateway is not None:
        yield f"gateway {format_ip4(network.gateway)}"
    if network.vlan_id:
        yield f"vlan {network.vlan_id}"
    if network.zone != "default":
        yield f"zone {network.zone}"
    if network.shared:
        yield "shared"


def _title(thing: _Named) -> str:
    """The name, with the project where that is not the ordinary one: names are unique only within theirs."""
    return thing.name if thing.project == "default" else f"{thing.name} ({thing.project})"


def _ordered(things: Iterable[_N]) -> list[_N]:
    return sorted(things, key=lambda thing: (thing.name, thing.project, thing.id))


def _ips(owner: Nic | Vip) -> tuple[str, ...]:
    return (format_ip4(owner.ip),) if owner.ip6 is None else (format_ip4(owner.ip), format_ip6(owner.ip6))
