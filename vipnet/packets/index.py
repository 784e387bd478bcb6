"""What a packet asks of the intents that are in force."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
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

__all__ = ["Index", "IntentIndex", "Place", "contains"]

Place: TypeAlias = tuple[str, int, int]
"""An address of a segment: network, IP version, address."""


class Index(ABC):
    """Intents, found by what a packet shows."""

    @abstractmethod
    def port(self, nic_id: str) -> PortSecurity | None:
        """The port of a NIC."""

    @abstractmethod
    def ports_of(self, network_id: str) -> Sequence[PortSecurity]:
        """The ports of a segment."""

    @abstractmethod
    def ports_at(self, place: Place) -> Sequence[PortSecurity]:
        """The ports that may use an address."""

    @abstractmethod
    def vip(self, place: Place) -> VipBinding | None:
        """The VIP of an address."""

    @abstractmethod
    def segment(self, network_id: str) -> SubnetSwitching | None:
        """The segment of a network."""

    @abstractmethod
    def gateway(self, network_id: str) -> SubnetRouting | None:
        """The router's leg in a network."""

    @abstractmethod
    def gateways_of(self, vpc_id: str) -> Sequence[SubnetRouting]:
        """The legs of a VPC's router."""

    @abstractmethod
    def vpc_around(self, version: int, ip: int) -> str | None:
        """Some VPC that has a subnet with this address."""

    @abstractmethod
    def router(self, vpc_id: str) -> VpcRouting | None:
        """The router of a VPC."""

    @abstractmethod
    def uplinks(self) -> Sequence[UplinkSwitching]:
        """The uplinks in use."""

    @abstractmethod
    def eip(self, ip: int) -> EipMapping | None:
        """The mapping of a public address."""

    @abstractmethod
    def mapped(self, vpc_id: str, vip: int) -> EipMapping | None:
        """The mapping of a VIP of a VPC."""

    def subnet(self, vpc_id: str, version: int, ip: int) -> SubnetRouting | None:
        """The subnet of a VPC that contains an address."""
        return next((gateway for gateway in self.gateways_of(vpc_id) if contains(gateway, version, ip)), None)

    def answers_outside(self, ip: int) -> EipMapping | None:
        """The mapping by which the world outside finds an address: of a VPC whose access mode allows EIPs."""
        mapping = self.eip(ip)
        router = None if mapping is None else self.router(mapping.vpc_id)
        return mapping if router is not None and router.mode in ("eip", "eip-distgw") else None

    def masquerade(self) -> UplinkSwitching | None:
        """The uplink by which servers go out, if it has an address to go out with."""
        return next((uplink for uplink in self.uplinks() if uplink.masquerade and uplink.uplink.address is not None), None)

    def uplink_of(self, mapping: EipMapping) -> UplinkSwitching | None:
        """The uplink by which a mapping is reached."""
        return next((uplink for uplink in self.uplinks() if uplink.uplink == mapping.uplink), None)


class IntentIndex(Index):
    """An index of intents that are all there."""

    def __init__(self, intents: Iterable[Intent]) -> None:
        self._ports: dict[str, PortSecurity] = {}
        self._segments: dict[str, SubnetSwitching] = {}
        self._ports_of: dict[str, list[PortSecurity]] = defaultdict(list)
        self._ports_at: dict[Place, list[PortSecurity]] = defaultdict(list)
        self._vips: dict[Place, VipBinding] = {}
        self._gateways: dict[str, SubnetRouting] = {}
        self._gateways_of: dict[str, list[SubnetRouting]] = defaultdict(list)
        self._routers: dict[str, VpcRouting] = {}
        self._uplinks: list[UplinkSwitching] = []
        self._eips: dict[int, EipMapping] = {}
        self._mapped: dict[tuple[str, int], EipMapping] = {}
        for intent in intents:
            self._add(intent)

    def vips(self) -> Iterable[tuple[Place, VipBinding]]:
        """Every VIP with its place."""
        return self._vips.items()

    def port(self, nic_id: str) -> PortSecurity | None:
        return self._ports.get(nic_id)

    def ports_of(self, network_id: str) -> Sequence[PortSecurity]:
        return self._ports_of.get(network_id, ())

    def ports_at(self, place: Place) -> Sequence[PortSecurity]:
        return self._ports_at.get(place, ())

    def vip(self, place: Place) -> VipBinding | None:
        return self._vips.get(place)

    def segment(self, network_id: str) -> SubnetSwitching | None:
        return self._segments.get(network_id)

    def gateway(self, network_id: str) -> SubnetRouting | None:
        return self._gateways.get(network_id)

    def gateways_of(self, vpc_id: str) -> Sequence[SubnetRouting]:
        return self._gateways_of.get(vpc_id, ())

    def vpc_around(self, version: int, ip: int) -> str | None:
        every = self._gateways.values()
        return next((gateway.vpc_id for gateway in every if contains(gateway, version, ip)), None)

    def router(self, vpc_id: str) -> VpcRouting | None:
        return self._routers.get(vpc_id)

    def uplinks(self) -> Sequence[UplinkSwitching]:
        return self._uplinks

    def eip(self, ip: int) -> EipMapping | None:
        return self._eips.get(ip)

    def mapped(self, vpc_id: str, vip: int) -> EipMapping | None:
        return self._mapped.get((vpc_id, vip))

    def _add(self, intent: Intent) -> None:
        match intent:
            case SubnetSwitching():
                self._segments[intent.network_id] = intent
            case SubnetRouting():
                self._gateways[intent.network_id] = intent
                self._gateways_of[intent.vpc_id].append(intent)
            case VpcRouting():
                self._routers[intent.vpc_id] = intent
            case UplinkSwitching():
                self._uplinks.append(intent)
            case PortSecurity():
                self._add_port(intent)
            case VipBinding():
                self._vips[intent.network_id, 4, intent.ip] = intent
                if intent.ip6 is not None:
                    self._vips[intent.network_id, 6, intent.ip6] = intent
            case EipMapping():
                self._eips[intent.eip] = intent
                self._mapped[intent.vpc_id, intent.vip] = intent
            case _:
                assert_never(intent)

    def _add_port(self, port: PortSecurity) -> None:
        self._ports[port.nic_id] = port
        self._ports_of[port.network_id].append(port)
        for version, ips in ((4, port.ips), (6, port.ip6s)):
            for ip in ips:
                self._ports_at[port.network_id, version, ip].append(port)


def contains(gateway: SubnetRouting, version: int, ip: int) -> bool:
    """Whether an address is in the gateway's subnet."""
    if version == 4:
        return (ip ^ gateway.gateway) >> (32 - gateway.length) == 0
    if gateway.gateway6 is None or gateway.length6 is None:
        return False
    return (ip ^ gateway.gateway6) >> (128 - gateway.length6) == 0
