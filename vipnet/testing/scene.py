"""A small cloud as data, for packet tests: changed by returning another one, compiled by any backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from vipnet.addresses import parse_ip4, parse_ip6
from vipnet.intents import (
    EipMapping,
    Intent,
    Member,
    PortSecurity,
    Released,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet.model import AccessMode, mac_of

__all__ = ["Group", "Scene", "SceneEip", "Segment", "Server", "Vpc", "released", "standard_scene"]


def _id(kind: str, name: str) -> str:
    # Native names follow from ids: with the process in them, two runs on one machine do not meet.
    return str(uuid5(NAMESPACE_URL, f"vipnet:{os.getpid()}:{kind}:{name}"))


def _ip(text: str) -> int:
    return parse_ip4(text, what="an address of the scene")


def _ip6(text: str | None) -> int | None:
    return None if text is None else parse_ip6(text, what="an IPv6 address of the scene")


def _some(*ips: int | None) -> tuple[int, ...]:
    return tuple(sorted({ip for ip in ips if ip is not None}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A private address space."""

    name: str
    tag: int
    mode: AccessMode

    @property
    def id(self) -> str:
        return _id("vpc", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A subnet of a VPC; `gateway` comes with the prefix length ("192.168.4.1/22"), and so does `gateway6`, if any."""

    name: str
    vpc: str
    gateway: str
    gateway6: str | None = None

    @property
    def id(self) -> str:
        return _id("network", self.name)

    @property
    def gateway_ip(self) -> str:
        return self.gateway.partition("/")[0]

    @property
    def length(self) -> int:
        return int(self.gateway.partition("/")[2])

    @property
    def mac(self) -> str:
        """The router's in this subnet."""
        return mac_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server with one port; with an IPv6 address too where its segment has a `gateway6`."""

    name: str
    segment: str
    ip: str
    ip6: str | None = None

    @property
    def nic_id(self) -> str:
        return _id("nic", self.name)

    @property
    def device(self) -> str:
        return f"tap-{self.name}"

    @property
    def mac(self) -> str:
        return mac_of(self.nic_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Servers of one segment that share a VIP, or a pair of IPv4 and IPv6 that is one."""

    name: str
    segment: str
    vip: str
    members: tuple[str, ...]
    vip6: str | None = None

    @property
    def vip_id(self) -> str:
        return _id("vip", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEip:
    """A public address that is mapped to the VIP of `group`."""

    ip: str
    group: str
    bandwidth: int | None = None

    @property
    def id(self) -> str:
        return _id("eip", self.ip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The whole cloud. `outside` is a machine beyond the uplink; all names are unique."""

    vpcs: tuple[Vpc, ...]
    segments: tuple[Segment, ...]
    servers: tuple[Server, ...]
    groups: tuple[Group, ...]
    eips: tuple[SceneEip, ...]
    uplink_device: str = "uplink0"
    uplink_address: str = "203.0.113.2/24"
    outside: str = "203.0.113.1"

    def vpc(self, name: str) -> Vpc:
        return next(vpc for vpc in self.vpcs if vpc.name == name)

    def segment(self, name: str) -> Segment:
        return next(segment for segment in self.segments if segment.name == name)

    def server(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    def group(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)

    def with_members(self, group: str, *members: str) -> Scene:
        """The same, but for who is in a group."""
        changed = (replace(one, members=members) if one.name == group else one for one in self.groups)
        return replace(self, groups=tuple(changed))

    def without_eip(self, ip: str) -> Scene:
        """The same, but that EIP is mapped to nothing."""
        return replace(self, eips=tuple(eip for eip in self.eips if eip.ip != ip))

    def with_eip(self, ip: str, group: str) -> Scene:
        """The same, but that EIP is mapped to the VIP of that group."""
        return replace(self, eips=(*self.without_eip(ip).eips, SceneEip(ip=ip, group=group)))

    def ipv4_only(self) -> Scene:
        """The same without IPv6."""
        return replace(
            self,
            segments=tuple(replace(segment, gateway6=None) for segment in self.segments),
            servers=tuple(replace(server, ip6=None) for server in self.servers),
            groups=tuple(replace(group, vip6=None) for group in self.groups),
        )

    def without_ipv6(self) -> Scene:
        """The same in IPv4 alone."""
        return replace(
            self,
            segments=tuple(replace(segment, gateway6=None) for segment in self.segments),
            servers=tuple(replace(server, ip6=None) for server in self.servers),
            groups=tuple(replace(group, vip6=None) for group in self.groups),
        )

    def intents(self) -> list[Intent]:
        """What the network must do."""
        return [
            UplinkSwitching(uplink=self._uplink(), masquerade=True),
            *(self._router(vpc) for vpc in self.vpcs),
            *(intent for segment in self.segments for intent in self._segment(segment)),
            *(self._port(server) for server in self.servers),
            *(self._vip(group) for group in self.groups),
            *(self._eip(eip) for eip in self.eips),
        ]

    def _uplink(self) -> Uplink:
        ip, _, length = self.uplink_address.partition("/")
        return Uplink(name="pub", index=0, device=self.uplink_device, address=(_ip(ip), int(length)), gateway=_ip(self.outside))

    def _router(self, vpc: Vpc) -> VpcRouting:
        uplinks = () if vpc.mode == "none" else (self._uplink(),)
        return VpcRouting(vpc_id=vpc.id, tag=vpc.tag, mode=vpc.mode, mac=mac_of(vpc.id), uplinks=uplinks)

    def _segment(self, segment: Segment) -> Iterator[Intent]:
        vpc_id = self.vpc(segment.vpc).id
        gateway6, _, length6 = (segment.gateway6 or "").partition("/")
        yield SubnetSwitching(network_id=segment.id, vpc_id=vpc_id, leg=None, vlan_id=0)
        yield SubnetRouting(
            network_id=segment.id,
            vpc_id=vpc_id,
            gateway=_ip(segment.gateway_ip),
            length=segment.length,
            gateway6=_ip6(gateway6 or None),
            length6=int(length6) if length6 else None,
            mac=segment.mac,
        )

    def _port(self, server: Server) -> PortSecurity:
        segment, groups = self.segment(server.segment), [group for group in self.groups if server.name in group.members]
        peers = {name for group in groups for name in group.members} - {server.name}
        return PortSecurity(
            nic_id=server.nic_id,
            network_id=segment.id,
            vpc_id=self.vpc(segment.vpc).id,
            device=server.device,
            mac=server.mac,
            ip=_ip(server.ip),
            ips=_some(_ip(server.ip), *(_ip(group.vip) for group in groups)),
            ip6=_ip6(server.ip6),
            ip6s=_some(_ip6(server.ip6), *(_ip6(group.vip6) for group in groups)),
            vrrp_peers=tuple(sorted(self.server(name).device for name in peers)),
        )

    def _vip(self, group: Group) -> VipBinding:
        segment, members = self.segment(group.segment), [self.server(name) for name in group.members]
        return VipBinding(
            vip_id=group.vip_id,
            group_id=_id("group", group.name),
            network_id=segment.id,
            vpc_id=self.vpc(segment.vpc).id,
            ip=_ip(group.vip),
            ip6=_ip6(group.vip6),
            members=tuple(Member(nic_id=one.nic_id, device=one.device, mac=one.mac) for one in members),
        )

    def _eip(self, eip: SceneEip) -> EipMapping:
        group = self.group(eip.group)
        return EipMapping(
            eip_id=eip.id,
            vpc_id=self.vpc(self.segment(group.segment).vpc).id,
            network_id=_id("network", "public"),
            eip=_ip(eip.ip),
            vip=_ip(group.vip),
            bandwidth=eip.bandwidth,
            uplink=self._uplink(),
        )


def released(before: Scene, after: Scene) -> list[Released]:
    """What of `before` lives no more: mappings that went or lead elsewhere, VIPs that a port may use no more."""
    maps = {one.id: one for one in after.intents() if isinstance(one, EipMapping)}
    ports = {one.id: one for one in after.intents() if isinstance(one, PortSecurity)}
    out: list[Released] = []
    for old in before.intents():
        if isinstance(old, EipMapping) and ((new := maps.get(old.id)) is None or (new.vpc_id, new.vip) != (old.vpc_id, old.vip)):
            out.append(Released(vpc_id=old.vpc_id, network_id=old.network_id, ip=old.vip, eip=old.eip))
        elif isinstance(old, PortSecurity):
            out += _left(old, ports.get(old.id))
    return out


def _left(old: PortSecurity, new: PortSecurity | None) -> Iterator[Released]:
    left = {*((4, ip) for ip in old.ips), *((6, ip) for ip in old.ip6s)}
    if new is not None:
        left -= {*((4, ip) for ip in new.ips), *((6, ip) for ip in new.ip6s)}
    for version, ip in sorted(left):
        of: Literal[4, 6] = 6 if version == 6 else 4
        yield Released(vpc_id=old.vpc_id, network_id=old.network_id, ip=ip, eip=None, version=of, mac=old.mac)


def standard_scene(*, ipv6: bool = True) -> Scene:
    """The scene of the promises.

    VPC red: `a` and `b` share a VIP with an EIP; `e` has one without; `c` is nobody's member; `d` is in another subnet.
    Blue has the same CIDR and the same VIP. Green, grey and black have the other access modes. Red, blue and green are
    dual-stack, with an IPv6 address beside each IPv4 one and the same last number, unless the backend cannot do `ipv6`.
    """
    scene = Scene(
        vpcs=(
            Vpc(name="red", tag=1, mode="eip-distgw"),
            Vpc(name="blue", tag=2, mode="eip-distgw"),
            Vpc(name="green", tag=3, mode="eip"),
            Vpc(name="grey", tag=4, mode="distgw"),
            Vpc(name="black", tag=5, mode="none"),
        ),
        segments=(
            Segment(name="red-web", vpc="red", gateway="192.168.4.1/22", gateway6="fd00:4::1/64"),
            Segment(name="red-db", vpc="red", gateway="192.168.8.1/24", gateway6="fd00:8::1/64"),
            Segment(name="blue-web", vpc="blue", gateway="192.168.4.1/22", gateway6="fd00:4::1/64"),
            Segment(name="green-web", vpc="green", gateway="192.168.4.1/22", gateway6="fd00:4::1/64"),
            *(Segment(name=f"{vpc}-web", vpc=vpc, gateway="192.168.4.1/22") for vpc in ("grey", "black")),
        ),
        servers=(
            Server(name="a", segment="red-web", ip="192.168.7.247", ip6="fd00:4::247"),
            Server(name="b", segment="red-web", ip="192.168.7.248", ip6="fd00:4::248"),
            Server(name="c", segment="red-web", ip="192.168.7.10", ip6="fd00:4::10"),
            Server(name="d", segment="red-db", ip="192.168.8.10", ip6="fd00:8::10"),
            Server(name="e", segment="red-web", ip="192.168.7.20", ip6="fd00:4::20"),
            Server(name="x", segment="blue-web", ip="192.168.7.247", ip6="fd00:4::247"),
            Server(name="p", segment="green-web", ip="192.168.7.31", ip6="fd00:4::31"),
            Server(name="q", segment="grey-web", ip="192.168.7.32"),
            Server(name="r", segment="black-web", ip="192.168.7.33"),
        ),
        groups=(
            Group(name="red", segment="red-web", vip="192.168.7.246", members=("a", "b"), vip6="fd00:4::246"),
            Group(name="spare", segment="red-web", vip="192.168.7.240", members=("e",), vip6="fd00:4::240"),
            Group(name="blue", segment="blue-web", vip="192.168.7.246", members=("x",), vip6="fd00:4::246"),
            Group(name="green", segment="green-web", vip="192.168.7.246", members=("p",)),
        ),
        eips=(
            SceneEip(ip="203.0.113.100", group="red"),
            SceneEip(ip="203.0.113.101", group="blue"),
            SceneEip(ip="203.0.113.102", group="green"),
        ),
    )
    return scene if ipv6 else scene.ipv4_only()
