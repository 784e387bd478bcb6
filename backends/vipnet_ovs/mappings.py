"""What follows from a VIP and from an EIP that is mapped to one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping, VipBinding
from vipnet.model import DEFAULT_VPC
from vipnet_kernel.names import check_device
from vipnet_ovs import fields
from vipnet_ovs.entries import Entry
from vipnet_ovs.fields import Match
from vipnet_ovs.flows import Act, Blank, call, controller, dec_ttl, do, flow, goto, load, move, nat
from vipnet_ovs.names import cookie, digest, mac_number
from vipnet_ovs.ports import claims
from vipnet_ovs.punts import Punt, Reason
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ALL_NODES, ARP, IP, IP6, NEIGHBOUR_ADVERTISEMENT

__all__ = ["eip_mapping", "vip_binding"]


def vip_binding(intent: VipBinding) -> Iterator[Entry]:
    """The entries of a VIP: its announcements are told, and without a holder known each member gets a copy."""
    made = partial(flow, cookie=cookie(intent.vip_id))
    segment = digest(intent.network_id)
    told = (controller(Punt(Reason.CLAIM).encode()), call("l2"), goto("forward"))
    yield made("ingress", 100, {fields.SEGMENT: segment, **ARP, oxm.ARP_SPA: intent.ip, oxm.ARP_TPA: intent.ip}, *told)
    copies = [act for member in intent.members for act in _copy(check_device(member.device, of=intent.id), member.mac)]
    yield made("neighbour", 100, {fields.SEGMENT: segment, **IP, oxm.IPV4_DST: intent.ip}, *copies)
    if intent.ip6 is not None:
        claim: Match = {fields.SEGMENT: segment, **NEIGHBOUR_ADVERTISEMENT, oxm.IPV6_DST: ALL_NODES, oxm.ND_TARGET: intent.ip6}
        yield made("ingress", 100, claim, *told)
        yield made("neighbour", 100, {fields.SEGMENT: segment, **IP6, oxm.IPV6_DST: intent.ip6}, *copies)
    if intent.vpc_id == DEFAULT_VPC:
        yield from claims(intent.network_id, intent.ip, intent.ip6, made)


def _copy(device: str, mac: str) -> tuple[Act, ...]:
    return (load(fields.TO, digest(device)), load(oxm.ETH_DST, mac_number(mac)), call("output"))


def eip_mapping(intent: EipMapping) -> Iterator[Entry]:
    """The entries of an EIP: who answers for it, the way in, out and around, and a counter each way."""
    if intent.uplink is None:
        raise DataplaneError(
            f"{intent.id} needs an uplink, and network {intent.network_id} of {format_ip4(intent.eip)} has none; "
            f"add [uplinks.{intent.network_id}] with its device to the configuration"
        )
    made = partial(flow, cookie=cookie(intent.eip_id))
    vpc, eip, vip, number = digest(intent.vpc_id), intent.eip, intent.vip, intent.uplink.index + 1
    limit = None if intent.bandwidth is None else Blank("meter", intent.bandwidth)
    metered = () if limit is None else (do("meter", actions.meter(0)),)
    to_vip, to_eip = actions.Nat("dst", vip), actions.Nat("src", eip)
    asked: Match = {fields.UPLINK: number, **ARP, oxm.ARP_OP: 1, oxm.ARP_TPA: eip}
    yield made("uplink_arp", 100, asked, load(fields.VPC, vpc), call("vpc"), goto("uplink_answer"))
    known = (load(fields.FLAGS, 0), load(fields.VPC, vpc), load(fields.NEXT_HOP, eip), call("vpc"), call("subnet"))
    into = (*known, dec_ttl(), nat("arrived", zone=fields.ZONE, to=to_vip))
    yield made("public", 100, {**IP, oxm.IPV4_DST: eip}, *metered, *into, blank=limit)
    here: Match = {fields.VPC: vpc, fields.TRANSLATES: 1, **IP}
    yield made("hairpin", 100, {**here, oxm.IPV4_DST: eip}, nat("hairpin_source", zone=fields.ZONE, to=to_vip))
    out = (load(fields.UPLINK, number), nat("count_out", zone=fields.ZONE, to=to_eip))
    yield made("leave", 100, {**here, oxm.IPV4_SRC: vip}, *metered, *out, blank=limit)
    counted_out = (load(fields.INSIDE, 1), move(fields.ROUTER_MAC, oxm.ETH_SRC), goto("public"))
    yield made("count_out", 100, {fields.VPC: vpc, **IP, oxm.IPV4_SRC: eip}, *counted_out)
    yield made("arrived", 100, {**here, fields.FROM_SUBNET: 0, fields.NEXT_HOP: eip}, goto("route"))
