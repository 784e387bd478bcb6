"""The flows that belong to no object: they come with the first entry and go with the last."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from vipnet_ovs import fields
from vipnet_ovs.fields import GATEWAY_KEY, Match
from vipnet_ovs.flows import Act, Flow, call, controller, dec_ttl, do, flow, goto, load, move, nat, size_over
from vipnet_ovs.names import OURS
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.punts import Punt, Reason
from vipnet_ovs.routers import TRANSIT
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ARP, ICMP6, IP, IP6, MULTICAST, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION

__all__ = ["fixed_flows"]

_VRRP: Final = 112
_FIRST_FRAGMENT, _ANY_FRAGMENT, _LATER = (1, 3), (1, 1), (3, 3)
"""ip_frag by ovs-fields(7): bit 0, a fragment; bit 1, not the first one."""

_HARMLESS: Final = (1, 2, 3, 4, 128, 129, 131, 132, 143)
"""Types of ICMPv6: errors, echo, reports of listeners to multicast (RFC 4443, RFC 2710, RFC 3810)."""

_DHCP6_SERVER: Final = 547
_ROUTER_SOLICITATION: Final = 14 + 40 + 8
_NEIGHBOURS: Final = 4096
_REPLY, _TRACKED = 0x08, 0x20
"""Bits of ct_state: in the direction of answers, seen by conntrack."""

_KNOWN_REPLY: Final = (_TRACKED | _REPLY, _TRACKED | _REPLY)
_KNOWN_ERROR: Final = (0x20 | 0x04, 0x20 | 0x04)

made = partial(flow, cookie=OURS)


def fixed_flows() -> list[Flow]:
    """All of them; whatever no flow matches is dropped."""
    return [*_ip6(), *_switching(), *_routing(), *_uplinks()]


def _ip6() -> Iterator[Flow]:
    first: Match = {**ICMP6, oxm.IP_FRAG: _FIRST_FRAGMENT}
    for kind in _HARMLESS:
        yield made("ip6_security", 110, {**ICMP6, oxm.ICMPV6_TYPE: kind}, goto("ingress"))
    yield made("ip6_security", 105, first)
    yield made("ip6_security", 100, {**ICMP6, oxm.ICMPV6_TYPE: 133}, size_over(_ROUTER_SOLICITATION), goto("nd_size"))
    for match in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        yield made("ip6_security", 100, match, goto("nd_security"))
    yield made("ip6_security", 90, ICMP6)
    yield made("ip6_security", 90, {**IP6, oxm.IP_PROTO: 17, oxm.UDP_SRC: _DHCP6_SERVER})
    yield made("ip6_security", 10, IP6, goto("ingress"))
    yield made("nd_size", 90, {fields.OVERSIZED: 0}, goto("ingress"))


def _switching() -> Iterator[Flow]:
    for version in (IP, IP6):
        vrrp: Match = {**version, oxm.IP_PROTO: _VRRP}
        yield made("ingress", 91, {**vrrp, **MULTICAST}, goto("vrrp_peers"))
        yield made("ingress", 90, vrrp, call("l2"), goto("vrrp"))
        yield made("leg_security", 110, vrrp)
    yield made("ingress", 10, {}, call("l2"), goto("forward"))
    for match in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        yield made("leg_security", 110, {**match, oxm.IP_FRAG: _ANY_FRAGMENT})
    for kind in (ARP, IP, IP6):
        yield made("leg_security", 10, {**kind, oxm.VLAN_VID: 0}, call("l2"), goto("forward"))
    named = (move(oxm.ETH_SRC, oxm.ND_TLL), do("in_port", actions.output(actions.IN_PORT)))
    yield made("nd_answer", 100, NEIGHBOUR_ADVERTISEMENT, *named)
    yield made("forward", 100, {fields.TO: GATEWAY_KEY}, goto("router"))
    yield made("forward", 90, MULTICAST, goto("flood"))
    yield made("forward", 70, {fields.TO: 0})
    yield made("forward", 10, {}, goto("egress"))


def _routing() -> Iterator[Flow]:
    yield made("router", 10, IP, call("vpc"), goto("ttl"))
    yield made("router", 10, IP6, goto("ttl"))
    for version in (IP, IP6):
        yield made("ttl", 10, version, dec_ttl(), goto("route"))
    for known in (_KNOWN_REPLY, _KNOWN_ERROR):
        yield made("unhairpin", 100, {**IP, oxm.CT_STATE: known}, nat("route", zone=fields.ZONE))
    link_local = (0xFE80 << 112, 0xFFC0 << 112)
    yield made("route", 400, {**IP6, oxm.IPV6_SRC: link_local})
    yield made("route", 10, IP, goto("hairpin"))
    yield made("hairpin", 10, IP, goto("leave"))
    yield made("leave", 10, {fields.MASQUERADES: 1, **IP}, goto("masquerade"))


def _uplinks() -> Iterator[Flow]:
    yield made("uplink_in", 110, {**ARP, oxm.ARP_SPA: 0}, goto("uplink_arp"))
    yield made("uplink_in", 100, ARP, _learned(), goto("uplink_arp"))
    yield made("uplink_in", 110, {**IP, oxm.IP_PROTO: _VRRP})
    yield made("uplink_in", 100, IP, goto("public"))
    yield made("uplink_answer", 100, {fields.TRANSLATES: 1, **ARP}, *_answer())
    yield made("public", 10, {fields.INSIDE: 1, **IP}, goto("next_hop"))
    yield made("unmasqueraded", 110, {**IP, oxm.IPV4_DST: TRANSIT})
    for known in (_KNOWN_REPLY, _KNOWN_ERROR):
        yield made("unmasqueraded", 100, {fields.MASQUERADES: 1, **IP, oxm.CT_STATE: known}, goto("route"))
    yield made("uplink_neighbour", 10, {}, controller(Punt(Reason.NEIGHBOUR).encode()))
    yield made("uplink_out", 110, {oxm.ETH_DST: 0})


def _answer() -> tuple[Act, ...]:
    """To whoever asks, from the MAC of a router; the asked address waits in `NEXT_HOP`."""
    return (
        move(oxm.ARP_TPA, fields.NEXT_HOP),
        move(oxm.ETH_SRC, oxm.ETH_DST),
        move(fields.ROUTER_MAC, oxm.ETH_SRC),
        load(oxm.ARP_OP, 2),
        move(oxm.ARP_SHA, oxm.ARP_THA),
        move(oxm.ARP_SPA, oxm.ARP_TPA),
        move(fields.ROUTER_MAC, oxm.ARP_SHA),
        move(fields.NEXT_HOP, oxm.ARP_SPA),
        do("in_port", actions.output(actions.IN_PORT)),
    )


def _learned() -> Act:
    """Remember who has an address on an uplink, by whatever ARP says of its sender."""
    specs = (
        actions.match_field(fields.UPLINK.part, fields.UPLINK.part),
        actions.match_field(oxm.LEARN_ARP_SPA, fields.NEXT_HOP.part),
        actions.load_field(oxm.LEARN_ARP_SHA, oxm.LEARN_ETH_DST),
    )
    table = NUMBERS["uplink_neighbour"]
    return do("learn", actions.learn(table=table, priority=100, cookie=OURS, limit=_NEIGHBOURS, specs=specs))
