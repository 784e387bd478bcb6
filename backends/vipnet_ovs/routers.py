"""What follows from a VPC's router and from an uplink."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.intents import Uplink, UplinkSwitching, VpcRouting
from vipnet_kernel.names import check_device
from vipnet_ovs import fields
from vipnet_ovs.entries import Entry, Plug
from vipnet_ovs.fields import Match
from vipnet_ovs.flows import Blank, Flow, call, do, flow, goto, load, move, nat
from vipnet_ovs.names import cookie, cookie_of_uplink, digest, mac_number, uplink_id
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ARP, IP, prefix4

__all__ = ["MASQUERADE_ZONE", "TRANSIT", "transit", "uplink_mac", "uplink_switching", "vpc_routing", "zones"]

MASQUERADE_ZONE: Final = 1
"""The conntrack zone in which all VPCs share an uplink's address."""

_MOST_TAGS: Final = 0x7FFF
TRANSIT: Final = (0x64400000, 0xFFC00000)
"""100.64.0.0/10, which RFC 6598 keeps for carriers: in nobody's VPC."""

Maker = partial[Flow]


def zones(tag: int) -> tuple[int, int]:
    """The two conntrack zones of a VPC."""
    return 2 * tag, 2 * tag + 1


def transit(tag: int) -> int:
    """The address that stands for all servers of a VPC before they share an uplink's."""
    return TRANSIT[0] + tag


def vpc_routing(intent: VpcRouting) -> Iterator[Entry]:
    """The entries of a VPC's router. Raises DataplaneError for a tag beyond the switch's conntrack zones."""
    if not 0 < intent.tag <= _MOST_TAGS:
        raise DataplaneError(f"{intent.id} has the tag {intent.tag}; the switch has conntrack zones for tags 1 to {_MOST_TAGS}")
    made = partial(flow, cookie=cookie(intent.vpc_id))
    vpc, (zone, source_zone) = digest(intent.vpc_id), zones(intent.tag)
    masquerades = intent.mode in ("distgw", "eip-distgw") and bool(intent.uplinks)
    if masquerades and all(uplink.address is None for uplink in intent.uplinks):
        raise DataplaneError(
            f"{intent.id} has access mode {intent.mode}, but no uplink has an address to masquerade with; "
            f"add address = \"IP/LENGTH\" to [uplinks.{intent.uplinks[0].name}]"
        )
    yield made(
        "vpc",
        100,
        {fields.VPC: vpc},
        load(fields.ZONE, zone),
        load(fields.SOURCE_ZONE, source_zone),
        load(fields.TRANSLATES, int(intent.mode in ("eip", "eip-distgw"))),
        load(fields.MASQUERADES, int(masquerades)),
        load(fields.ROUTER_MAC, mac_number(intent.mac)),
    )
    if masquerades:
        ours = actions.Nat("src", transit(intent.tag))
        yield made("masquerade", 100, {fields.VPC: vpc, **IP}, nat("masqueraded", zone=fields.SOURCE_ZONE, to=ours))
        back = (load(fields.VPC, vpc), call("vpc"), nat("unmasqueraded", zone=fields.SOURCE_ZONE))
        yield made("unmasquerade", 100, {**IP, oxm.IPV4_DST: transit(intent.tag)}, *back)


def uplink_switching(intent: UplinkSwitching) -> Iterator[Entry]:
    """The entries of an uplink."""
    uplink, number = intent.uplink, intent.uplink.index + 1
    device = check_device(uplink.device, of=intent.id)
    made = partial(flow, cookie=cookie_of_uplink(uplink.index))
    yield Plug(device, uplink_id(uplink.index))
    yield made(
        "classify",
        90,
        {oxm.IN_PORT: 0, oxm.VLAN_VID: 0},
        load(fields.UPLINK, number),
        goto("uplink_in"),
        blank=Blank("port", device),
    )
    yield made("uplink_out", 100, {fields.UPLINK: number}, do("output", actions.output(0)), blank=Blank("port", device))
    yield from _next_hops(uplink, made)
    if intent.masquerade:
        yield from _masquerade(uplink, made)


def _next_hops(uplink: Uplink, made: Maker) -> Iterator[Flow]:
    here: Match = {fields.UPLINK: uplink.index + 1, **IP}
    resolved = (load(oxm.ETH_DST, 0), call("uplink_neighbour"), goto("uplink_out"))
    itself = (move(oxm.IPV4_DST, fields.NEXT_HOP), *resolved)
    if uplink.address is not None:
        yield made("next_hop", 100 + uplink.address[1], {**here, oxm.IPV4_DST: prefix4(*uplink.address)}, *itself)
    if uplink.gateway is not None:
        yield made("next_hop", 100, here, load(fields.NEXT_HOP, uplink.gateway), *resolved)
    elif uplink.address is None:
        yield made("next_hop", 100, here, *itself)


def _masquerade(uplink: Uplink, made: Maker) -> Iterator[Flow]:
    if uplink.address is None:
        raise DataplaneError(f"uplink {uplink.name} is to masquerade but has no address; add address to [uplinks.{uplink.name}]")
    number, ip, mac = uplink.index + 1, uplink.address[0], mac_number(uplink_mac(uplink.address[0]))
    shared = nat("masqueraded", zone=MASQUERADE_ZONE, to=actions.Nat("src", ip))
    yield made("masqueraded", 100, {**IP, oxm.IPV4_SRC: TRANSIT}, shared)
    out = (load(fields.INSIDE, 1), load(fields.UPLINK, number), load(oxm.ETH_SRC, mac), goto("public"))
    yield made("masqueraded", 100, {**IP, oxm.IPV4_SRC: ip}, *out)
    answer = (load(fields.TRANSLATES, 1), load(fields.ROUTER_MAC, mac), goto("uplink_answer"))
    yield made("uplink_arp", 100, {fields.UPLINK: number, **ARP, oxm.ARP_OP: 1, oxm.ARP_TPA: ip}, *answer)
    back = (do("dec_ttl", actions.dec_ttl(())), nat("unmasquerade", zone=MASQUERADE_ZONE))
    yield made("public", 100, {**IP, oxm.IPV4_DST: ip}, *back)


def uplink_mac(ip: int) -> str:
    """The MAC of an uplink's own address: the same after a rebuild, so that the upstream's ARP entry stays right."""
    return f"02:76:{ip.to_bytes(4).hex(':')}"
