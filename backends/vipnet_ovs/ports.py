"""What follows from a server's port: its security, and where its addresses are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from vipnet.addresses import link_local
from vipnet.intents import PortSecurity
from vipnet.model import DEFAULT_VPC
from vipnet_kernel.names import check_device
from vipnet_ovs import fields
from vipnet_ovs.entries import Bucket, Entry, Plug
from vipnet_ovs.fields import Match
from vipnet_ovs.flows import Blank, Flow, call, do, flow, goto, load, size_over
from vipnet_ovs.names import cookie, digest, mac_number
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ARP, DAD, IP, IP6, ND_BARE, ND_OPTION, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION

__all__ = ["claims", "port_security"]

_BOTH: Final = (True, False)


def port_security(intent: PortSecurity) -> Iterator[Entry]:
    """The entries of a port."""
    device = check_device(intent.device, of=intent.id)
    yield Plug(device, intent.nic_id)
    yield Bucket(digest(intent.network_id), device)
    made = partial(flow, cookie=cookie(intent.nic_id))
    yield from _classified(intent, made)
    yield from _own_ip4(intent, made)
    if intent.ip6s:
        yield from _own_ip6(intent, made)
    yield from _vrrp(intent, made)
    yield from _reached(intent, made)
    if intent.vpc_id == DEFAULT_VPC:
        yield from claims(intent.network_id, intent.ip, intent.ip6, made)


Maker = partial[Flow]


def _classified(intent: PortSecurity, made: Maker) -> Iterator[Flow]:
    yield made(
        "classify",
        100,
        {oxm.IN_PORT: 0, oxm.ETH_SRC: mac_number(intent.mac), oxm.VLAN_VID: 0},
        load(fields.PORT, digest(intent.device)),
        load(fields.SEGMENT, digest(intent.network_id)),
        load(fields.VPC, digest(intent.vpc_id)),
        goto("port_security"),
        blank=Blank("port", intent.device),
    )


def _own_ip4(intent: PortSecurity, made: Maker) -> Iterator[Flow]:
    port, mac = digest(intent.device), mac_number(intent.mac)
    for ip in intent.ips:
        yield made("port_security", 100, {fields.PORT: port, **ARP, oxm.ARP_SPA: ip, oxm.ARP_SHA: mac}, goto("ingress"))
        yield made("port_security", 100, {fields.PORT: port, **IP, oxm.IPV4_SRC: ip}, goto("ingress"))


def _own_ip6(intent: PortSecurity, made: Maker) -> Iterator[Flow]:
    port, mac = digest(intent.device), mac_number(intent.mac)
    for ip6 in (link_local(intent.mac), *intent.ip6s):
        yield made("port_security", 100, {fields.PORT: port, **IP6, oxm.IPV6_SRC: ip6}, goto("ip6_security"))
        yield made("port_security", 100, {fields.PORT: port, **DAD, oxm.ND_TARGET: ip6}, size_over(ND_OPTION), goto("nd_size"))
        for named in _BOTH:  # the target's own MAC, or none
            match: Match = {fields.PORT: port, **NEIGHBOUR_ADVERTISEMENT, oxm.ND_TARGET: ip6, oxm.ND_TLL: mac * named}
            yield made("nd_security", 100, match, size_over(ND_OPTION if named else ND_BARE), goto("nd_size"))
    for named in _BOTH:
        match = {fields.PORT: port, **NEIGHBOUR_SOLICITATION, oxm.ND_SLL: mac * named}
        yield made("nd_security", 100, match, size_over(ND_OPTION if named else ND_BARE), goto("nd_size"))


def _vrrp(intent: PortSecurity, made: Maker) -> Iterator[Flow]:
    port, peers = digest(intent.device), [digest(check_device(peer, of=intent.id)) for peer in intent.vrrp_peers]
    for peer in peers:
        yield made("vrrp", 100, {fields.PORT: port, fields.TO: peer}, goto("egress"))
    if peers:
        copies = (act for peer in peers for act in (load(fields.TO, peer), call("output")))
        yield made("vrrp_peers", 100, {fields.PORT: port}, *copies)


def _reached(intent: PortSecurity, made: Maker) -> Iterator[Flow]:
    """Where its addresses are: on the segment, from the router, and which it takes."""
    port, segment, mac = digest(intent.device), digest(intent.network_id), mac_number(intent.mac)
    yield made("l2", 100, {fields.SEGMENT: segment, oxm.ETH_DST: mac}, load(fields.TO, port))
    there = (load(fields.TO, port), load(oxm.ETH_DST, mac), goto("output"))
    yield made("neighbour", 100, {fields.SEGMENT: segment, **IP, oxm.IPV4_DST: intent.ip}, *there)
    if intent.ip6 is not None:
        yield made("neighbour", 100, {fields.SEGMENT: segment, **IP6, oxm.IPV6_DST: intent.ip6}, *there)
    for ip in intent.ips:
        yield made("egress", 100, {fields.TO: port, **IP, oxm.IPV4_DST: ip}, goto("output"))
    for ip6 in (link_local(intent.mac), *intent.ip6s) if intent.ip6s else ():
        yield made("egress", 100, {fields.TO: port, **IP6, oxm.IPV6_DST: ip6}, goto("output"))
    yield made("egress", 90, {fields.TO: port, **ARP}, goto("output"))
    yield made("output", 100, {fields.TO: port}, do("output", actions.output(0)), blank=Blank("port", intent.device))


def claims(network_id: str, ip: int, ip6: int | None, made: Maker) -> Iterator[Flow]:
    """What nobody beyond the leg of a classic network may say it has."""
    here: Match = {fields.SEGMENT: digest(network_id)}
    yield made("leg_security", 100, {**here, **ARP, oxm.ARP_SPA: ip})
    yield made("leg_security", 100, {**here, **IP, oxm.IPV4_SRC: ip})
    if ip6 is not None:
        yield made("leg_security", 100, {**here, **IP6, oxm.IPV6_SRC: ip6})
        yield made("leg_security", 100, {**here, **NEIGHBOUR_ADVERTISEMENT, oxm.ND_TARGET: ip6})
        yield made("leg_security", 100, {**here, **NEIGHBOUR_SOLICITATION, oxm.IPV6_SRC: 0, oxm.ND_TARGET: ip6})
