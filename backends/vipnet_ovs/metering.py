"""Limits and counters of EIPs: a meter each way, and a flow each way that counts what has passed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from vipnet.intents import EipMapping, Released
from vipnet.plan import TargetPlan
from vipnet.views import Counters
from vipnet_ovs import fields
from vipnet_ovs.entries import Entry
from vipnet_ovs.fields import Value
from vipnet_ovs.flows import Flow
from vipnet_ovs.names import LOST, cookie, digest
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.wire import oxm
from vipnet_ovs.wire.oxm import Field
from vipnet_ovs.wire.replies import FlowRow

__all__ = ["COUNTING", "Mapped", "burst_of", "count", "is_counter", "kbps_of", "mapped", "rate_of", "told_of_loss", "unmapped"]

_BURST: Final = 0.2
"""Seconds of the rate that may pass at once: with much less a connection does not reach its rate, with much more it passes it."""

_ETHERNET: Final = 14
"""Octets of a frame that are none of its packet."""

COUNTING: Final = frozenset({NUMBERS["arrived"], NUMBERS["count_out"]})
"""Tables whose flows count."""


class Mapped(NamedTuple):
    """Whose counters are asked for: an EIP in a VPC."""

    eip_id: str
    vpc_id: str
    eip: int


def mapped(mappings: Iterable[EipMapping]) -> list[Mapped]:
    """Those of mappings."""
    return [Mapped(one.eip_id, one.vpc_id, one.eip) for one in mappings]


def unmapped(ended: Iterable[Released]) -> list[Mapped]:
    """Those of mappings that have ended."""
    return [Mapped(one.eip_id, one.vpc_id, one.eip) for one in ended if one.eip_id is not None and one.eip is not None]


def kbps_of(rate: int) -> int:
    """A meter's rate, in 1000 bit/s, for Mbit/s of IP."""
    return rate * 1000


def burst_of(rate: int) -> int:
    """A meter's burst, in 1000 bits."""
    return max(1, round(kbps_of(rate) * _BURST))


def rate_of(kbps: int, burst: int) -> int:
    """The Mbit/s for which a meter was made; -1: for none."""
    rate = kbps // 1000
    return rate if (kbps_of(rate), burst_of(rate)) == (kbps, burst) else -1


def is_counter(entry: Entry) -> bool:
    """Whether an entry keeps what an EIP's mapping has counted."""
    return isinstance(entry, Flow) and entry.table in COUNTING and entry.priority == 100


def told_of_loss(step: TargetPlan[Entry]) -> TargetPlan[Entry]:
    """The step, of which those counters that were there before say that what they had counted is lost.

    They say so where they are, in the cookie: so it is known for as long as they live, by every process.
    """
    if step.fresh is None:
        return step
    fresh = step.fresh
    replaced = tuple((old, _told(new, fresh)) for old, new in step.replace)
    return replace(step, create=tuple(_told(entry, fresh) for entry in step.create), replace=replaced)


def _told(entry: Entry, fresh: frozenset[str]) -> Entry:
    if isinstance(entry, Flow) and is_counter(entry) and entry.key not in fresh:
        return entry._replace(cookie=entry.cookie | LOST)
    return entry


def questions(one: Mapped) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    """Tables and matches of the flows that count for an EIP: rx, tx."""
    vpc: dict[Field, Value] = {fields.VPC.field: digest(one.vpc_id)}
    outside: dict[Field, Value] = {oxm.ETH_TYPE: 0x0800, oxm.IPV4_SRC: one.eip}
    here = fields.NEXT_HOP.mask
    rx = oxm.match({**vpc, fields.NEXT_HOP.field: (one.eip, here)})
    return ("arrived", rx), ("count_out", oxm.match({**vpc, **outside}))


def count(one: Mapped, rows: Mapping[str, Iterable[FlowRow]]) -> Counters:
    """What the flows of an EIP, by table, have counted."""
    rx, tx = (_amounts(rows.get(table, ()), cookie(one.eip_id)) for table, _ in questions(one))
    return Counters(rx_packets=rx[0], rx_bytes=rx[1], tx_packets=tx[0], tx_bytes=tx[1], lost=rx[2] or tx[2])


def _amounts(rows: Iterable[FlowRow], owner: int) -> tuple[int, int, bool]:
    """Packets, octets of IP, and whether something of them is lost: a counter that is not there, or not the owner's, lost all."""
    for row in rows:
        if row.cookie & ~LOST == owner:
            return row.packets, row.octets - _ETHERNET * row.packets, bool(row.cookie & LOST)
    return 0, 0, True
