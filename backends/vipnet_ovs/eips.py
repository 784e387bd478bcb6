"""What follows from an EIP that is mapped to a VIP. Of these there may be a million, so their flows are made from templates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet_ovs import fields
from vipnet_ovs.fields import Match
from vipnet_ovs.flows import Blank, Flow, call, dec_ttl, do, flow, goto, key_of, load, move, nat
from vipnet_ovs.names import cookie, digest
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.words import ARP, IP

__all__ = ["Templates"]


class _Form(NamedTuple):
    """A flow with holes for the EIP and the VIP, as bytes are formatted (`%(e)b`, `%(v)b`)."""

    place: str
    table: int
    priority: int
    match: bytes
    instructions: bytes
    blank: Blank | None


class Templates:
    """The flows of mappings; those of one VPC, uplink and limit differ in addresses and cookies alone."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, int, int | None], list[_Form]] = {}

    def flows(self, intent: EipMapping) -> list[tuple[str, Flow]]:
        """The flows of an EIP by key: who answers for it, the way in, around and out, and a counter each way.

        Raises DataplaneError.
        """
        if intent.uplink is None:
            raise DataplaneError(
                f"{intent.id} needs an uplink, and network {intent.network_id} of {format_ip4(intent.eip)} has none; "
                f"add [uplinks.{intent.network_id}] with its device to the configuration"
            )
        kind = intent.vpc_id, intent.uplink.index + 1, intent.bandwidth
        forms = self._forms.get(kind)
        if forms is None:
            forms = self._forms[kind] = _forms(*kind)
        known, mark = {b"e": intent.eip.to_bytes(4), b"v": intent.vip.to_bytes(4)}, cookie(intent.eip_id)
        made: list[tuple[str, Flow]] = []
        for place, table, priority, form, instructions, blank in forms:
            match = form % known
            made.append((place + match.hex(), Flow(table, priority, match, instructions % known, mark, blank)))
        return made


_SAMPLES: Final = ((0xE1F0A5C3, 0xD2B49687), (0x9A3C5E71, 0x8B6D4F20))
"""EIPs and VIPs from which holes are found: what both samples have in the same places."""


def _forms(vpc_id: str, uplink: int, bandwidth: int | None) -> list[_Form]:
    one, other = ([_form(made, *sample) for made in _sample(vpc_id, uplink, bandwidth, *sample)] for sample in _SAMPLES)
    if one != other:
        raise ValueError(f"a flow of an EIP in VPC {vpc_id} is no template")
    return one


def _form(made: Flow, eip: int, vip: int) -> _Form:
    match, instructions = (_holes(octets, eip.to_bytes(4), vip.to_bytes(4)) for octets in (made.match, made.instructions))
    return _Form(key_of(made.table, made.priority, b""), made.table, made.priority, match, instructions, made.blank)


def _holes(octets: bytes, eip: bytes, vip: bytes) -> bytes:
    return octets.replace(b"%", b"%%").replace(eip, b"%(e)b").replace(vip, b"%(v)b")


def _sample(vpc_id: str, number: int, bandwidth: int | None, eip: int, vip: int) -> Iterator[Flow]:
    made, vpc = partial(flow, cookie=0), digest(vpc_id)
    limit = None if bandwidth is None else Blank("meter", bandwidth)
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
