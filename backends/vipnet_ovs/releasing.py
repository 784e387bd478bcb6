"""Connections of addresses that have another life now, or none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vipnet.intents import Released
from vipnet_ovs import fields
from vipnet_ovs.names import digest
from vipnet_ovs.switch import Switch
from vipnet_ovs.wire import messages, oxm
from vipnet_ovs.wire.messages import TUPLE_DST, TUPLE_SRC

__all__ = ["flush_connections", "zone_of"]

_ZONE: Final = b"\0\x19\0\x10" + fields.ZONE.part.masked.to_bytes(4)
"""How the action begins that sets a VPC's zone."""


def flush_connections(switch: Switch, released: Iterable[Released]) -> None:
    """Cut what was opened to an EIP and led to its VIP, or left from that as the EIP; nobody else's."""
    sent: list[bytes] = []
    for item in released:
        zone = zone_of(switch, item.vpc_id) if item.eip is not None else None
        if zone is not None and item.eip is not None:
            sent.append(messages.ct_flush(zone, original=[(TUPLE_DST, item.eip)], reply=[(TUPLE_SRC, item.ip)]))
            sent.append(messages.ct_flush(zone, original=[(TUPLE_SRC, item.ip)], reply=[(TUPLE_DST, item.eip)]))
    if sent:
        switch.connection().transact(sent)


def zone_of(switch: Switch, vpc_id: str) -> int | None:
    """The zone of a VPC, as its flow has it; None: the VPC is not there."""
    match = oxm.match({fields.VPC.field: digest(vpc_id)})
    for row in switch.rows(table="vpc", match=match):
        at = row.instructions.find(_ZONE)
        if at >= 0:
            return int.from_bytes(row.instructions[at + 8 : at + 12])
    return None
