"""The pipeline as data: tables in the order of their numbers, what their flows may match and do, and where they may go on.

`next` are tables to which a flow hands the packet on, `calls` those that it asks on the way: they set fields, and it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vipnet_ovs import fields
from vipnet_ovs.fields import Slot
from vipnet_ovs.wire import oxm
from vipnet_ovs.wire.oxm import Field

__all__ = ["NUMBERS", "TABLES", "Table", "by_number"]

Matched = Slot | Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table. `does` lists further actions by name; setting a field of `sets` needs no mention there."""

    name: str
    says: str
    matches: frozenset[str]
    sets: frozenset[str] = frozenset()
    does: frozenset[str] = frozenset()
    next: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


def _names(*things: Matched | str) -> frozenset[str]:
    return frozenset(thing if isinstance(thing, str) else thing.name for thing in things)


_IP: Final = (oxm.ETH_TYPE, oxm.IPV4_SRC, oxm.IPV4_DST)
_IP_ENDS: Final = (oxm.IPV4_SRC, oxm.IPV4_DST, oxm.IPV6_SRC, oxm.IPV6_DST)
_IP_DST: Final = (oxm.ETH_TYPE, oxm.IPV4_DST, oxm.IPV6_DST)
_KIND: Final = (oxm.ETH_TYPE, oxm.IP_PROTO)
_ARP: Final = (oxm.ARP_OP, oxm.ARP_SPA, oxm.ARP_TPA, oxm.ARP_SHA)
_ARP_ANSWER: Final = (oxm.ETH_SRC, oxm.ETH_DST, oxm.ARP_OP, oxm.ARP_SPA, oxm.ARP_TPA, oxm.ARP_SHA, oxm.ARP_THA)
_ND: Final = (oxm.ICMPV6_TYPE, oxm.ICMPV6_CODE, oxm.ND_TARGET, oxm.ND_SLL, oxm.ND_TLL)

_DECLARED: Final = (
    Table(
        name="classify",
        says="Which port, uplink or leg a frame came in by. A server's frame has its MAC and no tag.",
        matches=_names(oxm.IN_PORT, oxm.ETH_SRC, oxm.VLAN_VID),
        sets=_names(fields.PORT, fields.SEGMENT, fields.VPC, fields.UPLINK, fields.FROM_LEG),
        does=_names("pop_vlan"),
        next=_names("port_security", "leg_security", "uplink_in"),
    ),
    Table(
        name="port_security",
        says="A server's port uses its own addresses: those of the NIC and the VIPs of its groups.",
        matches=_names(fields.PORT, *_IP, oxm.IPV6_SRC, oxm.IP_PROTO, *_ARP, *_ND),
        does=_names("check_pkt_larger"),
        next=_names("ingress", "ip6_security", "nd_size"),
    ),
    Table(
        name="ip6_security",
        says="What of IPv6 a server has business to say; neighbour discovery is looked at closer.",
        matches=_names(*_KIND, *_ND, oxm.IP_FRAG, oxm.UDP_SRC),
        does=_names("check_pkt_larger"),
        next=_names("ingress", "nd_security", "nd_size"),
    ),
    Table(
        name="nd_security",
        says="A server advertises its own addresses, and names its own MAC.",
        matches=_names(fields.PORT, *_KIND, *_ND),
        does=_names("check_pkt_larger"),
        next=_names("nd_size"),
    ),
    Table(
        name="nd_size",
        says="Neighbour discovery without extension headers has a known size (RFC 6980); larger ones are dropped.",
        matches=_names(fields.OVERSIZED),
        next=_names("ingress"),
    ),
    Table(
        name="leg_security",
        says="From the physical leg of a classic network comes nothing that claims an address of ours, and no VRRP.",
        matches=_names(fields.SEGMENT, *_IP, oxm.IPV6_SRC, oxm.IP_PROTO, *_ARP, *_ND, oxm.IP_FRAG, oxm.VLAN_VID),
        next=_names("forward"),
        calls=_names("l2"),
    ),
    Table(
        name="ingress",
        says="What a member claims is told; VRRP goes its own way; the router answers; the rest is switched.",
        matches=_names(fields.SEGMENT, oxm.ETH_DST, *_KIND, *_ARP, *_ND, oxm.IPV6_DST),
        sets=_names(*_ARP_ANSWER, *_IP_ENDS, oxm.ICMPV6_TYPE, oxm.ND_RESERVED, oxm.ND_OPTIONS_TYPE, oxm.NW_TTL),
        does=_names("move", "in_port", "controller"),
        next=_names("forward", "vrrp", "vrrp_peers", "nd_answer"),
        calls=_names("l2", "flood"),
    ),
    Table(
        name="nd_answer",
        says="The router's advertisement, which a solicitation was made into, names its MAC.",
        matches=_names(*_KIND, *_ND),
        sets=_names(oxm.ND_TLL),
        does=_names("move", "in_port"),
    ),
    Table(
        name="l2",
        says="Which port, or the router, has a MAC of a segment.",
        matches=_names(fields.SEGMENT, oxm.ETH_DST),
        sets=_names(fields.TO),
    ),
    Table(
        name="forward",
        says="To everybody, to the router, to a port, or to the leg.",
        matches=_names(fields.TO, fields.SEGMENT, fields.FROM_LEG, oxm.ETH_DST),
        sets=_names(fields.TO),
        next=_names("flood", "router", "egress", "output"),
    ),
    Table(
        name="vrrp_peers",
        says="VRRP to everybody goes to the other members of the sender's groups.",
        matches=_names(fields.PORT),
        sets=_names(fields.TO),
        calls=_names("output"),
    ),
    Table(
        name="vrrp",
        says="VRRP to one port goes to a member of the sender's groups.",
        matches=_names(fields.PORT, fields.TO),
        next=_names("egress"),
    ),
    Table(
        name="flood",
        says="A copy for every other port of a segment.",
        matches=_names(fields.SEGMENT),
        does=_names("group"),
    ),
    Table(
        name="router",
        says="The router's own addresses: it answers to echo requests, and takes back what it made of a hairpin.",
        matches=_names(fields.VPC, *_KIND, *_IP_DST, oxm.ICMPV4_TYPE, oxm.ICMPV4_CODE, oxm.ICMPV6_TYPE, oxm.ICMPV6_CODE),
        sets=_names(oxm.ETH_SRC, oxm.ETH_DST, *_IP_ENDS, oxm.ICMPV4_TYPE, oxm.ICMPV6_TYPE, oxm.NW_TTL),
        does=_names("move", "in_port", "ct"),
        next=_names("ttl", "unhairpin"),
        calls=_names("vpc"),
    ),
    Table(
        name="vpc",
        says="A VPC's zones, what its access mode allows, and its router's MAC.",
        matches=_names(fields.VPC),
        sets=_names(fields.ZONE, fields.SOURCE_ZONE, fields.FLAGS, fields.TRANSLATES, fields.MASQUERADES, fields.ROUTER_MAC),
    ),
    Table(
        name="ttl",
        says="The router is a hop: it counts, and vipnet tells senders of what has gone too far.",
        matches=_names(fields.SEGMENT, *_KIND, oxm.NW_TTL),
        does=_names("dec_ttl", "controller"),
        next=_names("route"),
    ),
    Table(
        name="unhairpin",
        says="An answer to a hairpin: to its sender again, from the EIP.",
        matches=_names(fields.VPC, *_IP_DST, oxm.CT_STATE),
        does=_names("ct"),
        next=_names("route"),
    ),
    Table(
        name="route",
        says="To a subnet of the VPC, or out of it.",
        matches=_names(fields.VPC, *_IP_DST, oxm.IPV6_SRC),
        sets=_names(fields.SEGMENT, oxm.ETH_SRC, oxm.IN_PORT_16),
        next=_names("neighbour", "hairpin"),
        calls=_names("watched"),
    ),
    Table(
        name="watched",
        says="Whether an agent is there: it renews the only flow, which ends by itself.",
        matches=_names(),
        sets=_names(fields.WATCHED),
    ),
    Table(
        name="neighbour",
        says="The MAC and port of an address. Without a holder known, a VIP's packet is copied to each member, with its MAC.",
        matches=_names(fields.SEGMENT, fields.WATCHED, *_IP_DST),
        sets=_names(fields.TO, oxm.ETH_DST),
        next=_names("output"),
        calls=_names("output"),
    ),
    Table(
        name="egress",
        says="To a port goes what is addressed to it.",
        matches=_names(fields.TO, *_IP_DST),
        next=_names("output"),
    ),
    Table(
        name="output",
        says="Out by a server's port or a leg.",
        matches=_names(fields.TO),
        sets=_names(oxm.VLAN_VID),
        does=_names("output", "push_vlan"),
    ),
    Table(
        name="hairpin",
        says="From a server to an EIP of its own VPC: the destination becomes the VIP.",
        matches=_names(fields.VPC, fields.TRANSLATES, *_IP_DST),
        does=_names("ct"),
        next=_names("hairpin_source", "leave"),
    ),
    Table(
        name="hairpin_source",
        says="And the source becomes the gateway, for the answer must come back this way.",
        matches=_names(fields.VPC, *_IP_DST),
        does=_names("ct"),
        next=_names("route"),
    ),
    Table(
        name="leave",
        says="A VIP with an EIP leaves as that, within its limit; servers masqueraded, where the access mode says so.",
        matches=_names(fields.VPC, fields.TRANSLATES, fields.MASQUERADES, *_IP),
        sets=_names(fields.UPLINK),
        does=_names("meter", "ct"),
        next=_names("count_out", "masquerade"),
    ),
    Table(
        name="count_out",
        says="What has passed the limit is counted, and is outside.",
        matches=_names(fields.VPC, oxm.ETH_TYPE, oxm.IPV4_SRC),
        sets=_names(fields.INSIDE, oxm.ETH_SRC),
        does=_names("move"),
        next=_names("public"),
    ),
    Table(
        name="masquerade",
        says="First a source that is the VPC's alone.",
        matches=_names(fields.VPC, oxm.ETH_TYPE),
        does=_names("ct"),
        next=_names("masqueraded"),
    ),
    Table(
        name="masqueraded",
        says="Then the uplink's address.",
        matches=_names(oxm.ETH_TYPE, oxm.IPV4_SRC),
        sets=_names(fields.INSIDE, fields.UPLINK, oxm.ETH_SRC),
        does=_names("ct"),
        next=_names("masqueraded", "public"),
    ),
    Table(
        name="uplink_in",
        says="From an uplink: ARP, of which neighbours are learned, and IPv4.",
        matches=_names(fields.UPLINK, *_KIND, *_ARP, oxm.ARP_SPA),
        does=_names("learn"),
        next=_names("uplink_arp", "public"),
    ),
    Table(
        name="uplink_arp",
        says="Who answers for an EIP, and for the uplink's own address.",
        matches=_names(fields.UPLINK, oxm.ETH_TYPE, *_ARP),
        sets=_names(fields.VPC, fields.TRANSLATES, fields.ROUTER_MAC),
        next=_names("uplink_answer"),
        calls=_names("vpc"),
    ),
    Table(
        name="uplink_answer",
        says="The answer, with the MAC of the VPC's router.",
        matches=_names(fields.TRANSLATES, oxm.ETH_TYPE),
        sets=_names(*_ARP_ANSWER, fields.NEXT_HOP),
        does=_names("move", "in_port"),
    ),
    Table(
        name="public",
        says="An EIP leads into its VPC, within its limit; the uplink's own address to who was masqueraded; the rest goes out.",
        matches=_names(fields.INSIDE, *_IP),
        sets=_names(fields.VPC, fields.FLAGS, fields.NEXT_HOP),
        does=_names("meter", "dec_ttl", "ct"),
        next=_names("arrived", "unmasquerade", "next_hop"),
        calls=_names("vpc", "subnet"),
    ),
    Table(
        name="subnet",
        says="Whether a source is an address of the VPC.",
        matches=_names(fields.VPC, *_IP),
        sets=_names(fields.FROM_SUBNET),
    ),
    Table(
        name="arrived",
        says="What has passed the limit is counted by its EIP, which NEXT_HOP holds meanwhile, and is inside.",
        matches=_names(fields.VPC, fields.TRANSLATES, fields.FROM_SUBNET, fields.NEXT_HOP, oxm.ETH_TYPE),
        next=_names("route"),
    ),
    Table(
        name="unmasquerade",
        says="The VPC whose source it was.",
        matches=_names(oxm.ETH_TYPE, oxm.IPV4_DST, oxm.CT_STATE),
        sets=_names(fields.VPC),
        does=_names("ct"),
        next=_names("unmasqueraded"),
        calls=_names("vpc"),
    ),
    Table(
        name="unmasqueraded",
        says="And the server.",
        matches=_names(fields.MASQUERADES, *_IP_DST, oxm.CT_STATE),
        next=_names("route"),
    ),
    Table(
        name="next_hop",
        says="The neighbour on the uplink that a packet goes to: itself, or the gateway.",
        matches=_names(fields.UPLINK, *_IP_DST),
        sets=_names(fields.NEXT_HOP, oxm.ETH_DST),
        does=_names("move"),
        next=_names("uplink_out"),
        calls=_names("uplink_neighbour"),
    ),
    Table(
        name="uplink_neighbour",
        says="The MAC of a neighbour on an uplink, as learned.",
        matches=_names(fields.UPLINK, fields.NEXT_HOP),
        sets=_names(oxm.ETH_DST),
        does=_names("controller"),
    ),
    Table(
        name="uplink_out",
        says="Out by an uplink.",
        matches=_names(fields.UPLINK, oxm.ETH_DST),
        does=_names("output"),
    ),
    Table(
        name="marker",
        says="One flow that no packet meets: who programmed last.",
        matches=_names(oxm.METADATA),
    ),
)

TABLES: Final[Mapping[str, Table]] = MappingProxyType({table.name: table for table in _DECLARED})
NUMBERS: Final[Mapping[str, int]] = MappingProxyType({table.name: number for number, table in enumerate(_DECLARED)})


def by_number(number: int) -> str | None:
    """The name of a table; None: none of ours has that number."""
    return _DECLARED[number].name if number < len(_DECLARED) else None
