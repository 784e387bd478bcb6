"""Intents to entries: pure. Each entry follows from one intent alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from vipnet.model import DEFAULT_VPC, short_id
from vipnet_kernel.names import check_device
from vipnet_nftables import names
from vipnet_nftables.entries import COUNTERS, Count, Element, Guard, Nat, NativeEntry, Skeleton
from vipnet_nftables.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_nftables.metering import rate_of
from vipnet_nftables.port_entries import Attachment, Up
from vipnet_nftables.route_entries import Route, Rule
from vipnet_nftables.ruleset import CAME_IN, GATEWAY, ROUTED, router_kind

__all__ = ["ROUTER_SYSCTLS", "compile_intents", "leg_sysctls"]

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

_LOCAL_PREF, _INSIDE_PREF, _OUT_PREF = 90, 91, 100
_LOCAL_TABLE = "90"
_TRANSIT_FIRST = 0x64400000  # 100.64.0.0/10, which RFC 6598 keeps for carriers: in nobody's VPC
_LINK_LAYER_OPTIONS = 0x0101, 0x0201  # the source's, the target's; each of one unit of 8 bytes (RFC 4861)
_MOST_TAGS = 1 << 21
_MOST_UPLINKS = 254  # the uplink is one byte of the packet's mark


_Other = SubnetSwitching | SubnetRouting | VpcRouting | UplinkSwitching | PortSecurity | VipBinding
"""Intents but for mappings."""


def leg_sysctls(leg: str) -> dict[str, str]:
    """What a router's leg in a subnet is set to.

    `locktime`: a new holder's gratuitous ARP counts at once. `arp_ignore`: nobody is answered for another subnet's gateway.
    """
    return {f"ipv4/neigh/{leg}/locktime": "0", f"ipv4/conf/{leg}/arp_ignore": "1"}


def compile_intents(intents: Iterable[Intent], owner: str) -> dict[str, NativeEntry]:
    """Translate intents for the vipnet that `owner` marks. Raises DataplaneError for one that cannot be kept."""
    found: dict[str, NativeEntry] = {}
    for intent in intents:
        if isinstance(intent, EipMapping):  # of these there may be a million, so their keys are made together
            found.update(_eip_mapping(intent))
        else:
            found.update((entry.key, entry) for entry in _entries(intent, owner))
    return found


def _entries(intent: _Other, owner: str) -> Iterator[NativeEntry]:
    match intent:
        case SubnetSwitching():
            return _subnet_switching(intent)
        case SubnetRouting():
            return _subnet_routing(intent)
        case VpcRouting():
            return _vpc_routing(intent, owner)
        case UplinkSwitching():
            return _uplink_switching(intent, owner)
        case PortSecurity():
            return _port_security(intent)
        case VipBinding():
            return _vip_binding(intent)
        case _:
            assert_never(intent)


def _subnet_switching(intent: SubnetSwitching) -> Iterator[NativeEntry]:
    bridge = names.bridge(intent.network_id)
    yield from _segment(bridge)
    if intent.leg is None:
        return
    leg = trunk = check_device(intent.leg, of=intent.id)
    if intent.vlan_id:
        trunk = names.trunk(intent.network_id)
        yield Vlan(trunk, leg, intent.vlan_id)
    yield Element("", "bridge", "vn_legs", f'"{trunk}"', str(names.mark_of_network(intent.network_id)))
    yield Element("", "bridge", "vn_outer", f'"{trunk}"')
    yield Attachment(trunk, bridge, needs=leg)


def _segment(bridge: str) -> Iterator[NativeEntry]:
    yield Bridge(bridge)
    yield Guard(bridge)
    yield Up("", bridge)


def _subnet_routing(intent: SubnetRouting) -> Iterator[NativeEntry]:
    router = names.router_namespace(intent.vpc_id)
    leg = names.subnet_leg(intent.network_id)
    yield from _leg(router, leg, intent.mac, names.bridge(intent.network_id))
    for name, value in leg_sysctls(leg).items():
        yield Sysctl(router, name, value, leg)
    yield Address(router, leg, f"{format_ip4(intent.gateway)}/{intent.length}", routes=False)
    # a route of its own: the kernel's would be gone for a moment when another gateway takes the place of this one
    yield Route(router, "main", str(IPv4Network((intent.gateway, intent.length), strict=False)), leg, scope="link")
    yield Sysctl(router, f"ipv6/conf/{leg}/disable_ipv6", "1" if intent.gateway6 is None else "0", leg)
    if intent.gateway6 is not None:
        yield Address(router, leg, f"{format_ip6(link_local(intent.mac))}/64")  # from which it asks for neighbours
        yield Address(router, leg, f"{format_ip6(intent.gateway6)}/{intent.length6}")


def _leg(namespace: str, leg: str, mac: str, bridge: str, *, single: bool = True) -> Iterator[NativeEntry]:
    far = names.far_end(namespace, leg)
    yield Veth(leg, namespace, mac, far, "", bridge, single=single)
    yield Up("", far)


def _vpc_routing(intent: VpcRouting, owner: str) -> Iterator[NativeEntry]:
    router = names.router_namespace(intent.vpc_id)
    yield Namespace(router, owner)
    yield from _settings(router)
    yield Skeleton(router, router_kind(intent.mode))
    if intent.mode in ("eip", "eip-distgw"):
        yield Rule(router, _INSIDE_PREF, "main", suppress=0)
        yield Route(router, _LOCAL_TABLE, "default", "lo", kind="local", scope="host")
        for uplink in intent.uplinks:
            yield from _uplink_leg(router, intent.mac, uplink)
    if intent.mode in ("distgw", "eip-distgw") and intent.uplinks:
        yield from _transit(intent, owner)


def _settings(namespace: str) -> Iterator[NativeEntry]:
    for name, value in ROUTER_SYSCTLS.items():
        yield Sysctl(namespace, name, value)


def _uplink_leg(router: str, mac: str, uplink: Uplink) -> Iterator[NativeEntry]:
    if uplink.index > _MOST_UPLINKS:
        raise DataplaneError(f"uplink {uplink.name} is number {uplink.index + 1}; the nftables backend takes {_MOST_UPLINKS + 1}")
    leg = names.uplink_leg(uplink.index)
    table = str(_OUT_PREF + uplink.index)
    yield from _leg(router, leg, mac, names.uplink_bridge(uplink.index))
    yield Rule(router, _LOCAL_PREF, _LOCAL_TABLE, incoming=leg, mask=ROUTED)
    yield Rule(router, _OUT_PREF + uplink.index, table, mark=uplink.index + 1, mask=0xFF)
    yield Element(router, "ip", "vn_came_by", f'"{leg}"', str(CAME_IN | uplink.index + 1))
    if uplink.address is not None:
        yield Route(router, table, str(IPv4Network(uplink.address, strict=False)), leg, scope="link")
    if uplink.gateway is not None:
        yield _default_route(router, table, uplink.gateway, leg)
    elif uplink.address is None:
        yield Route(router, table, "default", leg, scope="link")


def _default_route(namespace: str, table: str, gateway: int, leg: str) -> Route:
    return Route(namespace, table, "default", leg, format_ip4(gateway), onlink=True)


def _transit(intent: VpcRouting, owner: str) -> Iterator[NativeEntry]:
    if all(uplink.address is None for uplink in intent.uplinks):
        raise DataplaneError(
            f"{intent.id} has access mode {intent.mode}, but no uplink has an address to masquerade with; "
            f"add address = \"IP/LENGTH\" to [uplinks.{intent.uplinks[0].name}]"
        )
    if not 0 < intent.tag < _MOST_TAGS:
        raise DataplaneError(f"{intent.id} has the tag {intent.tag}; transit links are numbered 1 to {_MOST_TAGS - 1}")
    router, gateway = names.router_namespace(intent.vpc_id), names.gateway_namespace(owner)
    far = names.transit_end(router)
    there, here = (format_ip4(_TRANSIT_FIRST + 2 * intent.tag + side) for side in (0, 1))
    yield Veth(names.TRANSIT, router, "", far, gateway, "")
    yield Address(router, names.TRANSIT, f"{here}/31")
    yield Address(gateway, far, f"{there}/31")
    yield Route(router, "main", "default", names.TRANSIT, there)
    yield Up(gateway, far)


def _uplink_switching(intent: UplinkSwitching, owner: str) -> Iterator[NativeEntry]:
    uplink = intent.uplink
    bridge = names.uplink_bridge(uplink.index)
    device = check_device(uplink.device, of=intent.id)
    yield from _segment(bridge)
    yield Element("", "bridge", "vn_outer", f'"{device}"')
    yield Attachment(device, bridge, needs=device)
    if intent.masquerade:
        yield from _gateway(uplink, bridge, owner)


def _gateway(uplink: Uplink, bridge: str, owner: str) -> Iterator[NativeEntry]:
    if uplink.address is None:
        raise DataplaneError(f"uplink {uplink.name} is to masquerade but has no address; add address to [uplinks.{uplink.name}]")
    gateway, leg = names.gateway_namespace(owner), names.uplink_leg(0)
    yield Namespace(gateway, owner)
    yield from _settings(gateway)
    yield Skeleton(gateway, GATEWAY)
    yield from _leg(gateway, leg, names.gateway_mac(owner), bridge, single=False)  # nothing is counted there
    yield Address(gateway, leg, f"{format_ip4(uplink.address[0])}/{uplink.address[1]}")
    if uplink.gateway is not None:
        yield _default_route(gateway, "main", uplink.gateway, leg)


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
    yield Attachment(device, names.bridge(intent.network_id), needs=device)


def _ip6_security(port: str, mac: str, ip6s: tuple[int, ...]) -> Iterator[NativeEntry]:
    for ip6 in (link_local(mac), *ip6s):
        yield Element("", "bridge", "vn_ip6", f"{port} . {mac} . {format_ip6(ip6)}")
        yield Element("", "bridge", "vn_targets", f"{port} . {mac} . {ip6:#x}")
    for kind in _LINK_LAYER_OPTIONS:
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
