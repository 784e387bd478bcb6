"""What follows from a VIP."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vipnet.intents import VipBinding
from vipnet.model import DEFAULT_VPC
from vipnet_kernel.names import check_device
from vipnet_ovs import fields
from vipnet_ovs.entries import Entry
from vipnet_ovs.fields import Match
from vipnet_ovs.flows import Act, call, controller, flow, goto, load
from vipnet_ovs.names import cookie, digest, mac_number
from vipnet_ovs.ports import claims
from vipnet_ovs.punts import Punt, Reason
from vipnet_ovs.wire import oxm
from vipnet_ovs.words import ALL_NODES, ARP, IP, IP6, NEIGHBOUR_ADVERTISEMENT

__all__ = ["vip_binding"]


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
