"""What follows from a segment and from the router's leg in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from vipnet.intents import SubnetRouting, SubnetSwitching
from vipnet_kernel.names import check_device
from vipnet_ovs import fields
from vipnet_ovs.entries import Bucket, Entry, Plug
from vipnet_ovs.fields import GATEWAY_KEY, Match
from vipnet_ovs.flows import Act, Blank, Flow, call, controller, do, flow, goto, load, move, nat
from vipnet_ovs.names import cookie, digest, mac_number
from vipnet_ovs.punts import Punt, Reason
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ARP, ECHO_REQUEST, ECHO_REQUEST6, IP, IP6, MULTICAST, NEIGHBOUR_SOLICITATION, prefix4, prefix6

__all__ = ["subnet_routing", "subnet_switching"]

_NO_TAG: Final = 0
_TAGGED: Final = 0x1000
"""Bit of vlan_vid by which a tag is there, whatever VLAN it says (OpenFlow 1.5.1, 7.2.3.7)."""

_ROUTER_ADVERTISES: Final = 0xE0000000
"""The flags router, solicited and override of a neighbour advertisement (RFC 4861 4.4)."""

Maker = partial[Flow]


def subnet_switching(intent: SubnetSwitching) -> Iterator[Entry]:
    """The entries of a segment; `Blank("group", …)` is the group of its copies."""
    segment = digest(intent.network_id)
    made = partial(flow, cookie=cookie(intent.network_id))
    yield made("flood", 100, {fields.SEGMENT: segment}, do("group", actions.group(0)), blank=Blank("group", segment))
    if intent.leg is None:
        return
    leg = check_device(intent.leg, of=intent.id)
    yield Plug(leg, intent.network_id)
    yield Bucket(segment, leg, intent.vlan_id)
    out = digest(f"{intent.network_id} {leg}")
    untag = (do("pop_vlan", actions.pop_vlan()),) if intent.vlan_id else ()
    yield made(
        "classify",
        100,
        {oxm.IN_PORT: 0, oxm.VLAN_VID: _TAGGED | intent.vlan_id if intent.vlan_id else _NO_TAG},
        *untag,
        load(fields.SEGMENT, segment),
        load(fields.VPC, digest(intent.vpc_id)),
        load(fields.FROM_LEG, 1),
        goto("leg_security"),
        blank=Blank("port", leg),
    )
    yield made("forward", 80, {fields.SEGMENT: segment, fields.TO: 0, fields.FROM_LEG: 0}, load(fields.TO, out), goto("output"))
    tag: tuple[Act, ...] = ()
    if intent.vlan_id:
        tag = (do("push_vlan", actions.push_vlan()), load(oxm.VLAN_VID, _TAGGED | intent.vlan_id))
    yield made("output", 100, {fields.TO: out}, *tag, do("output", actions.output(0)), blank=Blank("port", leg))


def subnet_routing(intent: SubnetRouting) -> Iterator[Entry]:
    """The entries of the router's leg in a subnet."""
    made = partial(flow, cookie=cookie(intent.network_id))
    segment, mac = digest(intent.network_id), mac_number(intent.mac)
    yield made("l2", 100, {fields.SEGMENT: segment, oxm.ETH_DST: mac}, load(fields.TO, GATEWAY_KEY))
    yield from _leg4(intent, made)
    if intent.gateway6 is not None and intent.length6 is not None:
        yield from _leg6(intent, intent.gateway6, intent.length6, made)


def _leg4(intent: SubnetRouting, made: Maker) -> Iterator[Flow]:
    vpc, segment, mac, gateway = digest(intent.vpc_id), digest(intent.network_id), mac_number(intent.mac), intent.gateway
    asked: Match = {fields.SEGMENT: segment, **ARP, oxm.ARP_OP: 1, oxm.ARP_TPA: gateway}
    yield made("ingress", 110, asked, *_arp_answer(gateway, mac))
    yield made("ingress", 111, {**asked, **MULTICAST}, call("flood"), *_arp_answer(gateway, mac))
    mine: Match = {fields.VPC: vpc, **IP, oxm.IPV4_DST: gateway}
    subnet = prefix4(gateway, intent.length)
    echo = (load(oxm.ICMPV4_TYPE, 0), move(oxm.IPV4_SRC, oxm.IPV4_DST), load(oxm.IPV4_SRC, gateway))
    yield made("router", 110, {fields.VPC: vpc, **ECHO_REQUEST, oxm.IPV4_DST: gateway}, *echo, *_back(mac))
    yield made("router", 100, mine, call("vpc"), nat("unhairpin", zone=fields.SOURCE_ZONE))
    yield made("unhairpin", 110, mine)
    expired = Punt(Reason.EXPIRED, gateway.to_bytes(4)).encode()
    yield made("ttl", 100, {fields.SEGMENT: segment, **IP, oxm.NW_TTL: 1}, controller(expired))
    into: Match = {fields.VPC: vpc, **IP, oxm.IPV4_DST: subnet}
    yield made("route", 100 + intent.length, into, *_onto(segment, mac))
    to_gateway = actions.Nat("src", gateway)
    yield made("hairpin_source", 100, into, nat("route", zone=fields.SOURCE_ZONE, to=to_gateway))
    yield made("subnet", 100, {fields.VPC: vpc, **IP, oxm.IPV4_SRC: subnet}, load(fields.FROM_SUBNET, 1))


def _leg6(intent: SubnetRouting, gateway6: int, length6: int, made: Maker) -> Iterator[Flow]:
    vpc, segment, mac = digest(intent.vpc_id), digest(intent.network_id), mac_number(intent.mac)
    asked: Match = {fields.SEGMENT: segment, **NEIGHBOUR_SOLICITATION, oxm.ND_TARGET: gateway6}
    yield made("ingress", 110, asked, *_nd_answer(gateway6, mac))
    yield made("ingress", 111, {**asked, **MULTICAST}, call("flood"), *_nd_answer(gateway6, mac))
    echo = (load(oxm.ICMPV6_TYPE, 129), move(oxm.IPV6_SRC, oxm.IPV6_DST), load(oxm.IPV6_SRC, gateway6))
    yield made("router", 110, {fields.VPC: vpc, **ECHO_REQUEST6, oxm.IPV6_DST: gateway6}, *echo, *_back(mac))
    yield made("router", 100, {fields.VPC: vpc, **IP6, oxm.IPV6_DST: gateway6})
    expired = Punt(Reason.EXPIRED, gateway6.to_bytes(16)).encode()
    yield made("ttl", 100, {fields.SEGMENT: segment, **IP6, oxm.NW_TTL: 1}, controller(expired))
    into: Match = {fields.VPC: vpc, **IP6, oxm.IPV6_DST: prefix6(gateway6, length6)}
    yield made("route", 100 + length6, into, *_onto(segment, mac))


def _onto(segment: int, mac: int) -> tuple[Act, ...]:
    """Onto a segment, where it may go back to the very port that it came from: that is forgotten."""
    return (load(fields.SEGMENT, segment), load(oxm.ETH_SRC, mac), load(oxm.IN_PORT_16, 0), call("watched"), goto("neighbour"))


def _back(mac: int) -> tuple[Act, ...]:
    """To the sender, from the router."""
    there = (move(oxm.ETH_SRC, oxm.ETH_DST), load(oxm.ETH_SRC, mac))
    return (load(oxm.NW_TTL, 64), *there, do("in_port", actions.output(actions.IN_PORT)))


def _arp_answer(ip: int, mac: int) -> tuple[Act, ...]:
    return (
        move(oxm.ETH_SRC, oxm.ETH_DST),
        load(oxm.ETH_SRC, mac),
        load(oxm.ARP_OP, 2),
        move(oxm.ARP_SHA, oxm.ARP_THA),
        move(oxm.ARP_SPA, oxm.ARP_TPA),
        load(oxm.ARP_SHA, mac),
        load(oxm.ARP_SPA, ip),
        do("in_port", actions.output(actions.IN_PORT)),
    )


def _nd_answer(ip6: int, mac: int) -> tuple[Act, ...]:
    """The solicitation itself becomes the advertisement: the room of the source's option is the target's."""
    return (
        move(oxm.ETH_SRC, oxm.ETH_DST),
        load(oxm.ETH_SRC, mac),
        move(oxm.IPV6_SRC, oxm.IPV6_DST),
        load(oxm.IPV6_SRC, ip6),
        load(oxm.NW_TTL, 255),
        load(oxm.ICMPV6_TYPE, 136),
        load(oxm.ND_OPTIONS_TYPE, 2),
        load(oxm.ND_RESERVED, _ROUTER_ADVERTISES),
        goto("nd_answer"),
    )
