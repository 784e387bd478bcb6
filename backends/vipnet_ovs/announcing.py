"""What the outside is to be told when something is programmed: messages to the switch, which sends them by its own flows."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

from vipnet_ovs import fields, frames
from vipnet_ovs.asking import flows as dumped
from vipnet_ovs.blanks import number_in
from vipnet_ovs.entries import Entry
from vipnet_ovs.flows import Flow, goto, load
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.wire import actions, messages, oxm
from vipnet_ovs.wire.connection import Connection

__all__ = ["announcements", "is_announced"]

_ARP: Final = NUMBERS["uplink_arp"]
_NEXT_HOP: Final = NUMBERS["next_hop"]
_GATEWAY: Final = b"\0\x19\0\x10" + fields.NEXT_HOP.part.header.to_bytes(4)
"""How the action begins that says which gateway packets go to."""


def is_announced(entry: Entry) -> bool:
    """Whether the outside is to be told of an entry."""
    return isinstance(entry, Flow) and entry.table in (_ARP, _NEXT_HOP)


def announcements(connection: Connection, created: Iterable[Entry]) -> list[tuple[bytes, bool]]:
    """Messages for what is created: of EIPs, to be repeated (true); and questions for the gateways of uplinks."""
    flows = [entry for entry in created if isinstance(entry, Flow)]
    ports = dict(_ports(connection))
    return [*_gratuitous(flows, ports), *_questions(flows, ports)]


def _ports(connection: Connection) -> Iterator[tuple[int, int]]:
    """The OpenFlow ports of uplinks, by index + 1."""
    for row in dumped(connection, table="uplink_out"):
        uplink = _uplink(row.match)
        if uplink and (number := number_in(row.table, row.instructions)):
            yield uplink, number


def _uplink(match: bytes) -> int:
    value, _ = oxm.fields_of(match).get(fields.UPLINK.field.header, (0, None))
    return (value & fields.UPLINK.mask) >> fields.UPLINK.shift


def _gratuitous(flows: Iterable[Flow], ports: dict[int, int]) -> Iterator[tuple[bytes, bool]]:
    """A question whose answer goes to everybody, put to the table that answers: so it says what is answered at that moment."""
    for flow in flows:
        uplink = _uplink(flow.match)
        asked = oxm.fields_of(flow.match).get(oxm.ARP_TPA.header)
        if flow.table == _ARP and asked is not None and uplink in ports:
            put = load(fields.UPLINK, uplink).wire + goto("uplink_arp").wire
            yield messages.packet_out(frames.gratuitous_question(asked[0]), put, in_port=ports[uplink]), True


def _questions(flows: Iterable[Flow], ports: dict[int, int]) -> Iterator[tuple[bytes, bool]]:
    for flow in flows:
        at = flow.instructions.find(_GATEWAY) if flow.table == _NEXT_HOP else -1
        uplink = _uplink(flow.match)
        if at >= 0 and uplink in ports:
            gateway, mac = int.from_bytes(flow.instructions[at + 8 : at + 12]), b"\x02" + secrets.token_bytes(5)
            yield messages.packet_out(frames.arp_probe(mac, gateway), actions.output(ports[uplink])), False
