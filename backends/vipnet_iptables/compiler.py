"""Intents to entries: pure. Each entry follows from one intent alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import assert_never

from vipnet.addresses import format_ip4, format_ip6, link_local
from vipnet.errors import DataplaneError
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
from vipnet.model import DEFAULT_VPC, short_id
from vipnet_iptables.entries import (
    Claim,
    Count,
    Guard,
    Inside,
    Leg,
    Nat,
    NativeEntry,
    Outer,
    Port,
    Skeleton,
    Transit,
    Way,
)
from vipnet_iptables.metering import rate_of
from vipnet_kernel import names
from vipnet_kernel.compiling import links_of, transit_addresses
from vipnet_kernel.names import check_device

__all__ = ["compile_intents"]

_Other = SubnetSwitching | SubnetRouting | VpcRouting | UplinkSwitching | PortSecurity | VipBinding
"""Intents but for mappings."""


def compile_intents(intents: Iterable[Intent], owner: str) -> dict[str, NativeEntry]:
    """Translate intents for the vipnet that `owner` marks. Raises DataplaneError for one that cannot be kept."""
    found: dict[str, NativeEntry] = {}
    for intent in intents:
        if isinstance(intent, EipMapping):
            found.update((entry.key, entry) for entry in _eip_mapping(intent))
        else:
            found.update((entry.key, entry) for entry in chain(links_of(intent, owner, inner=True), _rules(intent, owner)))
    return found


def _rules(intent: _Other, owner: str) -> Iterator[NativeEntry]:
    match intent:
        case SubnetSwitching():
            return _subnet_switching(intent)
        case SubnetRouting():
            return _subnet_routing(intent)
        case VpcRouting():
            return _vpc_routing(intent)
        case UplinkSwitching():
            return _uplink_switching(intent, owner)
        case PortSecurity():
            return _port_security(intent)
        case VipBinding():
            return _vip_binding(intent)
        case _:
            assert_never(intent)


def _subnet_switching(intent: SubnetSwitching) -> Iterator[NativeEntry]:
    yield Guard(names.bridge(intent.network_id))
    if intent.leg is not None:
        trunk = names.trunk(intent.network_id) if intent.vlan_id else intent.leg
        yield Leg(trunk, short_id(intent.network_id))
        yield Outer(trunk)


def _subnet_routing(intent: SubnetRouting) -> Iterator[NativeEntry]:
    router, leg = names.router_namespace(intent.vpc_id), names.subnet_leg(intent.network_id)
    yield Inside(router, leg, format_ip4(intent.gateway))


def _vpc_routing(intent: VpcRouting) -> Iterator[NativeEntry]:
    router = names.router_namespace(intent.vpc_id)
    yield Skeleton(router, intent.mode)
    if intent.mode in ("eip", "eip-distgw"):
        for uplink in intent.uplinks:
            yield Way(router, uplink.index)
    if intent.mode in ("distgw", "eip-distgw") and intent.uplinks:
        yield Transit(router, transit_addresses(intent.tag)[1])


def _uplink_switching(intent: UplinkSwitching, owner: str) -> Iterator[NativeEntry]:
    yield Guard(names.uplink_bridge(intent.uplink.index))
    yield Outer(intent.uplink.device)
    if intent.masquerade:
        yield Skeleton(names.gateway_namespace(owner), "gateway")


def _port_security(intent: PortSecurity) -> Iterator[NativeEntry]:
    device = check_device(intent.device, of=intent.id)
    peers = tuple(sorted(check_device(peer, of=intent.id) for peer in intent.vrrp_peers))
    ip6s = sorted({link_local(intent.mac), *intent.ip6s}) if intent.ip6s else ()
    yield Port(device, intent.mac, tuple(map(format_ip4, sorted(intent.ips))), tuple(map(format_ip6, ip6s)), peers)
    if intent.vpc_id == DEFAULT_VPC:
        yield from _claims(intent.network_id, intent.ip, intent.ip6)


def _vip_binding(intent: VipBinding) -> Iterator[NativeEntry]:
    if intent.vpc_id == DEFAULT_VPC:
        yield from _claims(intent.network_id, intent.ip, intent.ip6)


def _claims(network_id: str, ip: int, ip6: int | None) -> Iterator[NativeEntry]:
    yield Claim(short_id(network_id), format_ip4(ip))
    if ip6 is not None:
        yield Claim(short_id(network_id), format_ip6(ip6))


def _eip_mapping(intent: EipMapping) -> tuple[NativeEntry, ...]:
    if intent.uplink is None:
        raise DataplaneError(
            f"{intent.id} needs an uplink, and network {intent.network_id} of {format_ip4(intent.eip)} has none; "
            f"add [uplinks.{intent.network_id}] with its device to the configuration"
        )
    router, eip, vip, uplink = names.router_namespace(intent.vpc_id), intent.eip, intent.vip, intent.uplink.index
    owner = short_id(intent.eip_id)
    return (
        Nat(router, eip, vip, uplink, rate_of(intent)),
        Count(router, "rx", eip, 0, uplink, owner),
        Count(router, "tx", eip, vip, uplink, owner),
    )
