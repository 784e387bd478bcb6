"""Entries in force, arranged for questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet_simulator.entry import Installed, SimulatorEntry

__all__ = ["Index", "Place", "build_index", "contains"]

Place: TypeAlias = tuple[str, int, int]
"""An address of a segment: network, IP version, address."""


@dataclass(frozen=True, slots=True)
class Index:
    """What is in force, by what a packet shows."""

    ports: dict[str, PortSecurity] = field(default_factory=dict[str, PortSecurity])
    segments: dict[str, SubnetSwitching] = field(default_factory=dict[str, SubnetSwitching])
    ports_of: dict[str, list[PortSecurity]] = field(default_factory=lambda: defaultdict(list))
    ports_at: dict[Place, list[PortSecurity]] = field(default_factory=lambda: defaultdict(list))
    vips: dict[Place, VipBinding] = field(default_factory=dict[Place, VipBinding])
    gateways: dict[str, SubnetRouting] = field(default_factory=dict[str, SubnetRouting])
    gateways_of: dict[str, list[SubnetRouting]] = field(default_factory=lambda: defaultdict(list))
    routers: dict[str, VpcRouting] = field(default_factory=dict[str, VpcRouting])
    uplinks: list[UplinkSwitching] = field(default_factory=list[UplinkSwitching])
    eips: dict[int, EipMapping] = field(default_factory=dict[int, EipMapping])
    mapped: dict[tuple[str, int], EipMapping] = field(default_factory=dict[tuple[str, int], EipMapping])

    def subnet(self, vpc_id: str, version: int, ip: int) -> SubnetRouting | None:
        """The subnet of a VPC that contains an address."""
        return next((gateway for gateway in self.gateways_of.get(vpc_id, ()) if contains(gateway, version, ip)), None)

    def vpc_around(self, version: int, ip: int) -> str | None:
        """Some VPC that has a subnet with this address."""
        every = self.gateways.values()
        return next((gateway.vpc_id for gateway in every if contains(gateway, version, ip)), None)

    def answers_outside(self, ip: int) -> EipMapping | None:
        """The mapping by which the world outside finds an address: of a VPC whose access mode allows EIPs."""
        mapping = self.eips.get(ip)
        router = None if mapping is None else self.routers.get(mapping.vpc_id)
        return mapping if router is not None and router.mode in ("eip", "eip-distgw") else None

    def masquerade(self) -> UplinkSwitching | None:
        """The uplink by which servers go out, if it has an address to go out with."""
        return next((uplink for uplink in self.uplinks if uplink.masquerade and uplink.uplink.address is not None), None)


def contains(gateway: SubnetRouting, version: int, ip: int) -> bool:
    """Whether an address is in the gateway's subnet."""
    if version == 4:
        return (ip ^ gateway.gateway) >> (32 - gateway.length) == 0
    if gateway.gateway6 is None or gateway.length6 is None:
        return False
    return (ip ^ gateway.gateway6) >> (128 - gateway.length6) == 0


def build_index(entries: Iterable[SimulatorEntry]) -> Index:
    """Arrange entries; a DamagedLine is in force nowhere."""
    index = Index()
    for entry in entries:
        if isinstance(entry, Installed):
            _add(index, entry.intent)
    return index


def _add(index: Index, intent: Intent) -> None:
    match intent:
        case SubnetSwitching():
            index.segments[intent.network_id] = intent
        case SubnetRouting():
            index.gateways[intent.network_id] = intent
            index.gateways_of[intent.vpc_id].append(intent)
        case VpcRouting():
            index.routers[intent.vpc_id] = intent
        case UplinkSwitching():
            index.uplinks.append(intent)
        case PortSecurity():
            _add_port(index, intent)
        case VipBinding():
            _add_vip(index, intent)
        case EipMapping():
            index.eips[intent.eip] = intent
            index.mapped[intent.vpc_id, intent.vip] = intent
        case _:
            assert_never(intent)


def _add_port(index: Index, port: PortSecurity) -> None:
    index.ports[port.nic_id] = port
    index.ports_of[port.network_id].append(port)
    for ip in port.ips:
        index.ports_at[port.network_id, 4, ip].append(port)
    for ip6 in port.ip6s:
        index.ports_at[port.network_id, 6, ip6].append(port)


def _add_vip(index: Index, vip: VipBinding) -> None:
    index.vips[vip.network_id, 4, vip.ip] = vip
    if vip.ip6 is not None:
        index.vips[vip.network_id, 6, vip.ip6] = vip
