"""Blanks of flows filled in with the switch's numbers, and taken out again of what is read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from vipnet_ovs.flows import Blank, Flow
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.wire import oxm
from vipnet_ovs.wire.replies import FlowRow

__all__ = ["NUMBERED", "Numbers", "blanked", "filled", "number_in"]

_CLASSIFY: Final = NUMBERS["classify"]
_OUTPUTS: Final = frozenset({NUMBERS["output"], NUMBERS["uplink_out"]})
_FLOOD: Final = NUMBERS["flood"]
_METERED: Final = frozenset({NUMBERS["public"], NUMBERS["leave"]})

NUMBERED: Final = _METERED | {_FLOOD}
"""Tables whose flows use groups and meters."""

_OUTPUT, _GROUP, _METER = b"\0\0\0\x10", b"\0\x16\0\x08", b"\0\x1d\0\x08"
"""How these actions begin: type and length."""

_FIRST: Final = 8
"""Where actions begin in instructions."""


class Numbers(NamedTuple):
    """What the switch's numbers stand for: ports are devices, groups are segments, meters are Mbit/s."""

    ports: Mapping[int, str]
    groups: Mapping[int, int]
    meters: Mapping[int, int]


def filled(flow: Flow, number: int) -> tuple[bytes, bytes]:
    """The match and instructions of a flow with its blank filled in."""
    octets = number.to_bytes(4)
    if flow.table == _CLASSIFY:
        return _patched(flow.match, 4, octets), flow.instructions  # in_port is the first field of a match
    at = _place(flow.table, flow.instructions)
    return flow.match, flow.instructions if at is None else _patched(flow.instructions, at, octets)


def blanked(row: FlowRow, numbers: Numbers) -> Flow:
    """A flow as it was before its blank was filled in."""
    match, instructions, blank = row.match, row.instructions, None
    if row.table == _CLASSIFY:
        if int.from_bytes(match[:4]) == oxm.IN_PORT.header:
            number = int.from_bytes(match[4:8])
            blank, match = Blank("port", numbers.ports.get(number, f"#{number}")), _patched(match, 4, bytes(4))
    elif (at := _place(row.table, instructions)) is not None:
        number = int.from_bytes(instructions[at : at + 4])
        blank, instructions = _blank(row, number, numbers), _patched(instructions, at, bytes(4))
    return Flow(row.table, row.priority, match, instructions, row.cookie, blank)


def number_in(table: int, instructions: bytes) -> int | None:
    """The number of the group or meter that a flow of a table uses."""
    at = _place(table, instructions)
    return None if at is None else int.from_bytes(instructions[at : at + 4])


def _blank(row: FlowRow, number: int, numbers: Numbers) -> Blank:
    if row.table in _OUTPUTS:
        return Blank("port", numbers.ports.get(number, f"#{number}"))
    if row.table == _FLOOD:
        return Blank("group", numbers.groups.get(number, -number))
    return Blank("meter", numbers.meters.get(number, -number))


def _place(table: int, instructions: bytes) -> int | None:
    """Where the number of a blank is in instructions."""
    if table in _METERED:
        return _FIRST + 4 if instructions[_FIRST : _FIRST + 4] == _METER else None
    begins = _OUTPUT if table in _OUTPUTS else _GROUP if table == _FLOOD else None
    if begins is None:
        return None
    at = instructions.rfind(begins)
    while at % 8 and at > 0:  # not where an action begins: port 16 is, in octets, what an output begins with
        at = instructions.rfind(begins, 0, at + len(begins) - 1)
    return None if at < 0 else at + 4


def _patched(octets: bytes, at: int, part: bytes) -> bytes:
    return octets[:at] + part + octets[at + len(part) :]
