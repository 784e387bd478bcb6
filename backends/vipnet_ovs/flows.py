"""Flows, made by name and checked against the declaration of their table; what only the switch can number is left open."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from vipnet_ovs import fields
from vipnet_ovs.fields import Match, Slot, Value
from vipnet_ovs.pipeline import NUMBERS, TABLES
from vipnet_ovs.wire import actions, oxm
from vipnet_ovs.wire.oxm import Field

__all__ = [
    "Act",
    "Blank",
    "Flow",
    "call",
    "controller",
    "dec_ttl",
    "do",
    "flow",
    "goto",
    "key_of",
    "load",
    "move",
    "nat",
    "size_over",
]

class Blank(NamedTuple):
    """What only the switch can number: the OpenFlow port of a device, the meter of a limit in Mbit/s, the group of a segment."""

    kind: Literal["port", "meter", "group"]
    of: str | int


class Act(NamedTuple):
    """One action: its bytes, what it is called, and what it sets or where it leads."""

    wire: bytes
    name: str
    sets: str = ""
    leads: tuple[str, ...] = ()


class Flow(NamedTuple):
    """One flow. `blank` is what its bytes leave open: in them there is a 0.

    `intact` is False of what is found whose table's fixed flows are not as declared.
    """

    table: int
    priority: int
    match: bytes
    instructions: bytes
    cookie: int
    blank: Blank | None = None
    intact: bool = True

    @property
    def target(self) -> str:
        return "flows"

    @property
    def key(self) -> str:
        return flow_key(self)

    @property
    def text(self) -> str:
        from vipnet_ovs.wording import flow_text

        return flow_text(self)


def flow_key(one: Flow) -> str:
    """Identity: table, priority and match, with the device that a blank port stands for."""
    place = key_of(one.table, one.priority, one.match)
    return f"{place} {one.blank.of}" if one.blank is not None and one.blank.kind == "port" and one.table == 0 else place


def key_of(table: int, priority: int, match: bytes) -> str:
    """Table, priority and match."""
    return f"flow {table} {priority} {match.hex()}"


def flow(
    table: str, priority: int, match: Match, *acts: Act, cookie: int, blank: Blank | None = None
) -> Flow:
    """Make a flow. Raises ValueError for what its table's declaration does not allow: a mistake in this package."""
    _check(table, match, acts)
    return Flow(NUMBERS[table], priority, _match(match), actions.apply(*(act.wire for act in acts)), cookie, blank)


def _check(table: str, match: Match, acts: tuple[Act, ...]) -> None:
    declared = TABLES[table]
    wrong = {field.name for field in match} - declared.matches
    for act in acts:
        if act.sets and act.sets not in declared.sets:
            wrong.add(f"set {act.sets}")
        if act.name == "call":
            wrong.update(f"call {name}" for name in {*act.leads} - declared.calls)
        else:
            wrong.update(f"go to {name}" for name in {*act.leads} - declared.next)
        if act.name not in _FREE and act.name not in declared.does:
            wrong.add(act.name)
    if wrong:
        raise ValueError(f"table {table} does not declare {', '.join(sorted(wrong))}")


_FREE: Final = frozenset({"load", "goto", "call"})


def _match(match: Match) -> bytes:
    """Slots that share a field become one match of it."""
    wanted: dict[Field, Value] = {}
    shared: dict[Field, tuple[int, int]] = {}
    for where, value in match.items():
        if isinstance(where, Slot) and where.width < where.field.width:
            before, mask = shared.get(where.field, (0, 0))
            assert isinstance(value, int)
            shared[where.field] = before | value << where.shift, mask | where.mask
        else:
            wanted[where.field if isinstance(where, Slot) else where] = value
    return oxm.match({**wanted, **shared})


def load(where: Slot | Field, value: int) -> Act:
    """Set a field or some bits of one."""
    if isinstance(where, Field):
        return Act(actions.set_field(where, value), "load", where.name)
    mask = None if where.width == where.part.width else where.part_mask
    return Act(actions.set_field(where.part, value << where.at, mask), "load", where.name)


def move(source: Slot | Field, into: Slot | Field) -> Act:
    """Copy a field into another one, as many bits as the narrower has."""
    (src, src_at, src_bits), (dst, dst_at, dst_bits) = _bits(source), _bits(into)
    wire = actions.move(src, dst, bits=min(src_bits, dst_bits), src_at=src_at, dst_at=dst_at)
    return Act(wire, "move", into.name)


def _bits(where: Slot | Field) -> tuple[Field, int, int]:
    return (where.part, where.at, where.width) if isinstance(where, Slot) else (where, 0, where.width)


def goto(table: str) -> Act:
    """Hand the packet on to a table."""
    return Act(actions.resubmit(NUMBERS[table]), "goto", leads=(table,))


def call(table: str) -> Act:
    """Ask a table, whose flow sets fields, and go on."""
    return Act(actions.resubmit(NUMBERS[table]), "call", leads=(table,))


def do(name: str, wire: bytes) -> Act:
    """An action that sets nothing and leads nowhere."""
    return Act(wire, name)


def nat(table: str, *, zone: Slot | int, to: actions.Nat | None = None) -> Act:
    """Translate as a connection of a zone is translated, a new one by `to`, and hand the packet on."""
    where, at = (zone, 0) if isinstance(zone, int) else (zone.part, zone.at)
    wire = actions.ct(zone=where, zone_at=at, table=NUMBERS[table], to=to)
    return Act(wire, "ct", leads=(table,))


def dec_ttl() -> Act:
    """Count a hop; what has none left goes to vipnet."""
    return Act(actions.dec_ttl((CONTROLLER,)), "dec_ttl")


def controller(userdata: bytes) -> Act:
    """Hand a copy to vipnet."""
    return Act(actions.controller(id=CONTROLLER, userdata=userdata), "controller")


def size_over(octets: int) -> Act:
    """Set OVERSIZED for a frame of more octets."""
    return Act(actions.check_pkt_larger(octets, fields.OVERSIZED.part, fields.OVERSIZED.at), "check_pkt_larger")


CONTROLLER: Final = 0x7669
"""The controller id by which packets find vipnet."""
