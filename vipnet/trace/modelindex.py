"""The intents of a model, each derived when a packet asks for it: what a trace costs follows from the way of the packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from vipnet.config import Config
from vipnet.derive import Scope, derive
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
from vipnet.model import Address, Eip, Network, Nic, Vip
from vipnet.packets.index import Index, Place, contains
from vipnet.topology import Topology

__all__ = ["ModelIndex"]

I = TypeVar("I", bound=Intent)  # noqa: E741 -- an intent


class ModelIndex(Index):
    """An index of a topology. Whether an address is some VPC's is asked of every network, all else by key."""

    def __init__(self, topology: Topology, config: Config) -> None:
        self._topology = topology
        self._config = config
        self._derived: dict[Scope, tuple[Intent, ...]] = {}

    def port(self, nic_id: str) -> PortSecurity | None:
        return self._one(PortSecurity, Scope("port", nic_id))

    def ports_of(self, network_id: str) -> Sequence[PortSecurity]:
        rows = self._topology.by(Address, "network_id", network_id)
        ports = self._ports(nic for row in rows if row.version == 4 for nic in self._owners(row, network_id))
        return sorted(ports, key=lambda port: port.ip)

    def ports_at(self, place: Place) -> Sequence[PortSecurity]:
        network_id, _, _ = place
        vip, row = self.vip(place), self._topology.address(*place)
        if vip is not None:
            return [port for member in vip.members if (port := self.port(member.nic_id)) is not None]
        return [] if row is None else self._ports(self._owners(row, network_id))

    def vip(self, place: Place) -> VipBinding | None:
        network_id, version, ip = place
        row = self._topology.address(network_id, version, ip)
        if row is None or row.owner_type != "instancegroups" or row.state != "used":
            return None
        vips = self._topology.by(Vip, "group_id", row.owner_id)
        found = (vip for vip in vips if vip.network_id == network_id and ip == (vip.ip if version == 4 else vip.ip6))
        return next((self._one(VipBinding, Scope("vip", vip.id)) for vip in found), None)

    def segment(self, network_id: str) -> SubnetSwitching | None:
        return self._one(SubnetSwitching, Scope("network", network_id))

    def gateway(self, network_id: str) -> SubnetRouting | None:
        return self._one(SubnetRouting, Scope("network", network_id))

    def gateways_of(self, vpc_id: str) -> Sequence[SubnetRouting]:
        networks = self._topology.by(Network, "vpc_id", vpc_id)
        return [gateway for network in networks if (gateway := self.gateway(network.id)) is not None]

    def vpc_around(self, version: int, ip: int) -> str | None:
        # The networks of the classic VPC, public ones among them, are routed by nobody here.
        gateways = (self.gateway(network.id) for network in self._topology.all(Network))
        return next((one.vpc_id for one in gateways if one is not None and contains(one, version, ip)), None)

    def router(self, vpc_id: str) -> VpcRouting | None:
        return self._one(VpcRouting, Scope("vpc", vpc_id))

    def uplinks(self) -> Sequence[UplinkSwitching]:
        return list(self._all(UplinkSwitching, Scope("uplinks", "")))

    def eip(self, ip: int) -> EipMapping | None:
        rows = self._topology.by(Address, "address", (4, ip))
        owners = (row.owner_id for row in rows if row.owner_type == "elasticips" and row.state == "used")
        mappings = (self._one(EipMapping, Scope("eip", id)) for id in owners)
        return next((mapping for mapping in mappings if mapping is not None), None)

    def mapped(self, vpc_id: str, vip: int) -> EipMapping | None:
        for network in self._topology.by(Network, "vpc_id", vpc_id):
            binding = self.vip((network.id, 4, vip))
            eips = () if binding is None else self._topology.by(Eip, "vip_id", binding.vip_id)
            if eips:
                return self._one(EipMapping, Scope("eip", eips[0].id))
        return None

    def _owners(self, row: Address, network_id: str) -> Iterator[Nic]:
        if row.owner_type == "servers" and row.state == "used":
            nics = self._topology.by(Nic, "server_id", row.owner_id)
            yield from (nic for nic in nics if nic.network_id == network_id)

    def _ports(self, nics: Iterator[Nic]) -> list[PortSecurity]:
        return [port for nic in nics if (port := self.port(nic.id)) is not None]

    def _one(self, kind: type[I], scope: Scope) -> I | None:
        return next(self._all(kind, scope), None)

    def _all(self, kind: type[I], scope: Scope) -> Iterator[I]:
        if scope not in self._derived:
            self._derived[scope] = tuple(derive(self._topology, self._config, [scope]).values())
        return (intent for intent in self._derived[scope] if isinstance(intent, kind))
