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
from vipnet_kernel import names
from vipnet_kernel.compiling import links_of
from vipnet_kernel.discovery import LINK_LAYER_OPTIONS
from vipnet_kernel.names import check_device
from vipnet_kernel.route_entries import Route, Rule
from vipnet_nftables.entries import COUNTERS, Count, Element, Guard, Nat, NativeEntry, Skeleton
from vipnet_nftables.metering import rate_of
from vipnet_nftables.ruleset import CAME_IN, GATEWAY, ROUTED, router_kind

__all__ = ["compile_intents"]

_LOCAL_PREF = 90
_LOCAL_TABLE = "90"


_Other = SubnetSwitching | SubnetRouting | VpcRouting | UplinkSwitching | PortSecurity | VipBinding
"""Intents but for mappings."""


def compile_intents(intents: Iterable[Intent], owner: str) -> dict[str, NativeEntry]:
    """Translate intents for the vipnet that `owner` marks. Raises DataplaneError for one that cannot be kept."""
    found: dict[str, NativeEntry] = {}
    for intent in intents:
        if isinstance(intent, EipMapping):  # of these there may be a million, so their keys are made together
            found.update(_eip_mapping(intent))
        else:
            found.update((entry.key, entry) for entry in chain(links_of(intent, owner), _rules(intent, owner)))
    return found


def _rules(intent: _Other, owner: str) -> Iterator[NativeEntry]:
    match intent:
        case SubnetSwitching():
            return _subnet_switching(intent)
        case SubnetRouting():
            return iter(())
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
        yield Element("", "bridge", "vn_legs", f'"{trunk}"', str(names.mark_of_network(intent.network_id)))
        yield Element("", "bridge", "vn_outer", f'"{trunk}"')


def _vpc_routing(intent: VpcRouting) -> Iterator[NativeEntry]:
    router = names.router_namespace(intent.vpc_id)
    yield Skeleton(router, router_kind(intent.mode))
    if intent.mode in ("eip", "eip-distgw"):
        yield Route(router, _LOCAL_TABLE, "default", "lo", kind="local", scope="host")
        for uplink in intent.uplinks:
            leg = names.uplink_leg(uplink.index)
            yield Rule(router, _LOCAL_PREF, _LOCAL_TABLE, incoming=leg, mask=ROUTED)
            yield Element(router, "ip", "vn_came_by", f'"{leg}"', str(CAME_IN | uplink.index + 1))


def _uplink_switching(intent: UplinkSwitching, owner: str) -> Iterator[NativeEntry]:
    yield Guard(names.uplink_bridge(intent.uplink.index))
    yield Element("", "bridge", "vn_outer", f'"{intent.uplink.device}"')
    if intent.masquerade:
        yield Skeleton(names.gateway_namespace(owner), GATEWAY)


def _port_security(intent: PortSecurity) -> Iterator[NativeEntry]:
    device = check_device(intent.device, of=intent.id)
    port, mac = f'"{device}"', intent.mac
    yield Element("", "bridge", "vn_ports", port)
    for ip in map(format_ip4, intent.ips):
        yield Element("", "bridge", "vn_arp", f"{port} . {mac} . {mac} . {ip}")
        yield Element("", "bridge", "vn_ip", f"{port} . {mac} . {ip}")
    if intent.ip6s:
        yield from _ip6_security(port, mac, intent.ip6s)
    for peer in intent.vrrp_peers:
        yield Element("", "bridge", "vn_vrrp", f'{port} . "{check_device(peer, of=intent.id)}"')
    if intent.vpc_id == DEFAULT_VPC:
        yield from _claims(intent.network_id, intent.ip, intent.ip6)


def _ip6_security(port: str, mac: str, ip6s: tuple[int, ...]) -> Iterator[NativeEntry]:
    for ip6 in (link_local(mac), *ip6s):
        yield Element("", "bridge", "vn_ip6", f"{port} . {mac} . {format_ip6(ip6)}")
        yield Element("", "bridge", "vn_targets", f"{port} . {mac} . {ip6:#x}")
    for kind in LINK_LAYER_OPTIONS:
        yield Element("", "bridge", "vn_options", f"{port} . {kind << 48 | int(mac.replace(':', ''), 16):#x}")


def _vip_binding(intent: VipBinding) -> Iterator[NativeEntry]:
    if intent.vpc_id == DEFAULT_VPC:
        yield from _claims(intent.network_id, intent.ip, intent.ip6)


def _claims(network_id: str, ip: int, ip6: int | None) -> Iterator[NativeEntry]:
    mark = names.mark_of_network(network_id)
    yield Element("", "bridge", "vn_claims", f"{mark} . {format_ip4(ip)}")
    if ip6 is not None:
        yield Element("", "bridge", "vn_claims6", f"{mark} . {format_ip6(ip6)}")
        yield Element("", "bridge", "vn_claimed", f"{mark} . {ip6:#x}")


def _eip_mapping(intent: EipMapping) -> tuple[tuple[str, NativeEntry], ...]:
    if intent.uplink is None:
        raise DataplaneError(
            f"{intent.id} needs an uplink, and network {intent.network_id} of {format_ip4(intent.eip)} has none; "
            f"add [uplinks.{intent.network_id}] with its device to the configuration"
        )
    router, eip, ip, owner = names.router_namespace(intent.vpc_id), intent.eip, format_ip4(intent.eip), short_id(intent.eip_id)
    rx, tx = COUNTERS
    return (
        (f"{router} eip {ip}", Nat(router, eip, intent.vip, intent.uplink.index, rate_of(intent))),
        (f"{router} ip {rx} {ip}", Count(router, rx, eip, owner)),
        (f"{router} ip {tx} {ip}", Count(router, tx, eip, owner)),
    )
