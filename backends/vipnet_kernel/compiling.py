"""Intents to links, legs, routes and settings: pure. Rules are the backends' own. Each entry follows from one intent alone."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import assert_never

from vipnet.addresses import format_ip4, format_ip6, link_local
from vipnet.errors import DataplaneError
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet_kernel import names
from vipnet_kernel.entries import LinkEntry
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.names import check_device
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.route_entries import Route, Rule

__all__ = ["ROUTER_SYSCTLS", "leg_sysctls", "links_of", "transit_addresses"]

ROUTER_SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/src_valid_mark": "1",
    "ipv4/conf/all/promote_secondaries": "1",
    "ipv4/fwmark_reflect": "1",
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv6/conf/default/addr_gen_mode": "1",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/forwarding": "1",
}
"""What a router's or gateway's namespace is set to before it has links.

`src_valid_mark`: the kernel checks a packet's source by routing its answer, as if that came in by the uplink; without the
packet's mark that ends in the table in which all is local, and the packet is taken for a martian.
`promote_secondaries`: another gateway comes before the old one goes, which would else take it along.
`fwmark_reflect`: the kernel's own ICMP errors about a packet from an uplink leave by that uplink.
IPv6 is off but on the legs that `_subnet_routing` switches on, which give themselves no address, use at once those that they
are given (no duplicate address detection), and heed no router advertisements, being a router's.
"""

_INSIDE_PREF, _OUT_PREF = 91, 100
_TRANSIT_FIRST = 0x64400000  # 100.64.0.0/10, which RFC 6598 keeps for carriers: in nobody's VPC
_MOST_TAGS = 1 << 21
_MOST_UPLINKS = 254  # the uplink is one byte of the packet's mark


def leg_sysctls(leg: str) -> dict[str, str]:
    """What a router's leg in a subnet is set to.

    `locktime`: a new holder's gratuitous ARP counts at once. `arp_ignore`: nobody is answered for another subnet's gateway.
    """
    return {f"ipv4/neigh/{leg}/locktime": "0", f"ipv4/conf/{leg}/arp_ignore": "1"}


def links_of(intent: Intent, owner: str, *, inner: bool = False) -> Iterator[LinkEntry]:
    """What an intent needs of links, for the vipnet that `owner` marks. Raises DataplaneError for what cannot be kept.

    `inner`: the routers' private addresses are of scope link, so that the kernel asks upstream by ARP with none of them.
    """
    match intent:
        case SubnetSwitching():
            return _subnet_switching(intent)
        case SubnetRouting():
            return _subnet_routing(intent, inner=inner)
        case VpcRouting():
            return _vpc_routing(intent, owner, inner=inner)
        case UplinkSwitching():
            return _uplink_switching(intent, owner)
        case PortSecurity():
            return _port_security(intent)
        case VipBinding() | EipMapping():
            return iter(())
        case _:
            assert_never(intent)


def _subnet_switching(intent: SubnetSwitching) -> Iterator[LinkEntry]:
    bridge = names.bridge(intent.network_id)
    yield from _segment(bridge)
    if intent.leg is None:
        return
    leg = trunk = check_device(intent.leg, of=intent.id)
    if intent.vlan_id:
        trunk = names.trunk(intent.network_id)
        yield Vlan(trunk, leg, intent.vlan_id)
    yield Attachment(trunk, bridge, needs=leg)


def _segment(bridge: str) -> Iterator[LinkEntry]:
    yield Bridge(bridge)
    yield Up("", bridge)


def _subnet_routing(intent: SubnetRouting, *, inner: bool) -> Iterator[LinkEntry]:
    router = names.router_namespace(intent.vpc_id)
    leg = names.subnet_leg(intent.network_id)
    yield from _leg(router, leg, intent.mac, names.bridge(intent.network_id))
    for name, value in leg_sysctls(leg).items():
        yield Sysctl(router, name, value, leg)
    yield Address(router, leg, f"{format_ip4(intent.gateway)}/{intent.length}", routes=False, inner=inner)
    # a route of its own: the kernel's would be gone for a moment when another gateway takes the place of this one
    yield Route(router, "main", str(IPv4Network((intent.gateway, intent.length), strict=False)), leg, scope="link")
    yield Sysctl(router, f"ipv6/conf/{leg}/disable_ipv6", "1" if intent.gateway6 is None else "0", leg)
    if intent.gateway6 is not None:
        yield Address(router, leg, f"{format_ip6(link_local(intent.mac))}/64")  # from which it asks for neighbours
        yield Address(router, leg, f"{format_ip6(intent.gateway6)}/{intent.length6}")


def _leg(namespace: str, leg: str, mac: str, bridge: str, *, single: bool = True) -> Iterator[LinkEntry]:
    far = names.far_end(namespace, leg)
    yield Veth(leg, namespace, mac, far, "", bridge, single=single)
    yield Up("", far)


def _vpc_routing(intent: VpcRouting, owner: str, *, inner: bool) -> Iterator[LinkEntry]:
    router = names.router_namespace(intent.vpc_id)
    yield Namespace(router, owner)
    yield from _settings(router)
    if intent.mode in ("eip", "eip-distgw"):
        yield Rule(router, _INSIDE_PREF, "main", suppress=0)
        for uplink in intent.uplinks:
            yield from _uplink_leg(router, intent.mac, uplink)
    if intent.mode in ("distgw", "eip-distgw") and intent.uplinks:
        yield from _transit(intent, owner, inner=inner)


def _settings(namespace: str) -> Iterator[LinkEntry]:
    for name, value in ROUTER_SYSCTLS.items():
        yield Sysctl(namespace, name, value)


def _uplink_leg(router: str, mac: str, uplink: Uplink) -> Iterator[LinkEntry]:
    if uplink.index > _MOST_UPLINKS:
        raise DataplaneError(f"uplink {uplink.name} is number {uplink.index + 1}; a mark tells apart {_MOST_UPLINKS + 1}")
    leg = names.uplink_leg(uplink.index)
    table = str(_OUT_PREF + uplink.index)
    yield from _leg(router, leg, mac, names.uplink_bridge(uplink.index))
    yield Rule(router, _OUT_PREF + uplink.index, table, mark=uplink.index + 1, mask=0xFF)
    if uplink.address is not None:
        yield Route(router, table, str(IPv4Network(uplink.address, strict=False)), leg, scope="link")
    if uplink.gateway is not None:
        yield _default_route(router, table, uplink.gateway, leg)
    elif uplink.address is None:
        yield Route(router, table, "default", leg, scope="link")


def _default_route(namespace: str, table: str, gateway: int, leg: str) -> Route:
    return Route(namespace, table, "default", leg, format_ip4(gateway), onlink=True)


def _transit(intent: VpcRouting, owner: str, *, inner: bool) -> Iterator[LinkEntry]:
    if all(uplink.address is None for uplink in intent.uplinks):
        raise DataplaneError(
            f"{intent.id} has access mode {intent.mode}, but no uplink has an address to masquerade with; "
            f"add address = \"IP/LENGTH\" to [uplinks.{intent.uplinks[0].name}]"
        )
    if not 0 < intent.tag < _MOST_TAGS:
        raise DataplaneError(f"{intent.id} has the tag {intent.tag}; transit links are numbered 1 to {_MOST_TAGS - 1}")
    router, gateway = names.router_namespace(intent.vpc_id), names.gateway_namespace(owner)
    far = names.transit_end(router)
    there, here = transit_addresses(intent.tag)
    yield Veth(names.TRANSIT, router, "", far, gateway, "")
    yield Address(router, names.TRANSIT, f"{here}/31", inner=inner)
    yield Address(gateway, far, f"{there}/31")
    yield Route(router, "main", "default", names.TRANSIT, there)
    yield Up(gateway, far)


def transit_addresses(tag: int) -> tuple[str, str]:
    """The gateway's and the router's end of the transit link of the VPC with this tag."""
    there, here = (format_ip4(_TRANSIT_FIRST + 2 * tag + side) for side in (0, 1))
    return there, here


def _uplink_switching(intent: UplinkSwitching, owner: str) -> Iterator[LinkEntry]:
    uplink = intent.uplink
    bridge = names.uplink_bridge(uplink.index)
    device = check_device(uplink.device, of=intent.id)
    yield from _segment(bridge)
    yield Attachment(device, bridge, needs=device)
    if intent.masquerade:
        yield from _gateway(uplink, bridge, owner)


def _gateway(uplink: Uplink, bridge: str, owner: str) -> Iterator[LinkEntry]:
    if uplink.address is None:
        raise DataplaneError(f"uplink {uplink.name} is to masquerade but has no address; add address to [uplinks.{uplink.name}]")
    gateway, leg = names.gateway_namespace(owner), names.uplink_leg(0)
    yield Namespace(gateway, owner)
    yield from _settings(gateway)
    yield from _leg(gateway, leg, names.gateway_mac(owner), bridge, single=False)  # nothing is counted there
    yield Address(gateway, leg, f"{format_ip4(uplink.address[0])}/{uplink.address[1]}")
    if uplink.gateway is not None:
        yield _default_route(gateway, "main", uplink.gateway, leg)


def _port_security(intent: PortSecurity) -> Iterator[LinkEntry]:
    device = check_device(intent.device, of=intent.id)
    yield Attachment(device, names.bridge(intent.network_id), needs=device)
