"""Messages from the switch, cut into what we ask about. Flows are cut, not read: a dump has a million of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vipnet_ovs.wire.oxm import fields_of

__all__ = [
    "FlowRow",
    "GroupRow",
    "MeterRow",
    "PacketIn",
    "error_text",
    "flow_rows",
    "group_rows",
    "meter_rows",
    "modified_flows",
    "packet_in",
    "table_counts",
]

_ERROR = struct.Struct("!HH")
_FLOW = struct.Struct("!H2xBxHHHHHQ")
_MODIFIED: Final = 3
_STAT = struct.Struct("!HH")
_PACKET_COUNT, _BYTE_COUNT = 0x80020808, 0x80020A08
"""OXS fields of 8 bytes: packets, bytes (7.2.4.3)."""


class FlowRow(NamedTuple):
    """A flow as the switch has it."""

    table: int
    priority: int
    cookie: int
    match: bytes
    instructions: bytes
    packets: int
    octets: int
    hard: int


class GroupRow(NamedTuple):
    """A group with its buckets, each an id and its actions."""

    id: int
    buckets: tuple[tuple[int, bytes], ...]


class MeterRow(NamedTuple):
    """A meter: its rate in 1000 bit/s, or how many packets and bytes it dropped."""

    id: int
    kbps: int
    burst: int


class PacketIn(NamedTuple):
    """A packet that the switch handed over, with what its flow said of it and the fields of the pipeline, by OXM header."""

    data: bytes
    reason: int
    table: int
    userdata: bytes
    fields: dict[int, tuple[int, int | None]]


def flow_rows(part: bytes) -> Iterator[FlowRow]:
    """Cut a part of a flow dump, the multipart header included (7.3.5.2)."""
    at, end = 16, len(part)
    while at < end:
        length, table, priority, _, hard, _, _, cookie = _FLOW.unpack_from(part, at)
        start = at + 24
        matched = int.from_bytes(part[start + 2 : start + 4])
        stats = start + (matched + 7 & ~7)
        counted = int.from_bytes(part[stats + 2 : stats + 4])
        packets, octets = _counts(part[stats + 4 : stats + counted])
        rest = stats + (counted + 7 & ~7)
        yield FlowRow(table, priority, cookie, part[start + 4 : start + matched], part[rest : at + length], packets, octets, hard)
        at += length


def _counts(stats: bytes) -> tuple[int, int]:
    packets = octets = 0
    at = 0
    while at < len(stats):
        header = int.from_bytes(stats[at : at + 4])
        length = header & 0xFF
        if header == _PACKET_COUNT:
            packets = int.from_bytes(stats[at + 4 : at + 12])
        elif header == _BYTE_COUNT:
            octets = int.from_bytes(stats[at + 4 : at + 12])
        at += 4 + length
    return packets, octets


def group_rows(part: bytes) -> Iterator[GroupRow]:
    """Cut a part of a list of groups (7.3.5.10)."""
    at = 16
    while at < len(part):
        length, _, id, size = struct.unpack_from("!HBxIH", part, at)
        yield GroupRow(id, tuple(_buckets(part[at + 16 : at + 16 + size])))
        at += length


def _buckets(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(octets):
        length, actions, id = struct.unpack_from("!HHI", octets, at)
        yield id, octets[at + 8 : at + 8 + actions]
        at += length


def meter_rows(part: bytes) -> Iterator[MeterRow]:
    """Cut a part of a list of meters (7.3.5.14)."""
    at = 16
    while at < len(part):
        length, _, id = struct.unpack_from("!HHI", part, at)
        kbps, burst = struct.unpack_from("!II", part, at + 12) if length > 8 else (0, 0)
        yield MeterRow(id, kbps, burst)
        at += length


def table_counts(part: bytes, tables: int) -> dict[int, int]:
    """The number of flows of each of the first so many tables that has any (7.3.5.4); the switch lists all 254 in order."""
    rows = struct.iter_unpack("!B3xIQQ", part[16 : 16 + 24 * tables])
    return {table: active for table, active, _, _ in rows if active}


def modified_flows(part: bytes) -> list[tuple[int, int]]:
    """Tables and priorities of the flows that a message of a monitor says were modified (7.3.5.18)."""
    found: list[tuple[int, int]] = []
    at = 16
    while at + 4 <= len(part):
        length, event = struct.unpack_from("!HH", part, at)
        if event == _MODIFIED:
            table, priority = struct.unpack_from("!BxHHH", part, at + 4)[::3]
            found.append((table, priority))
        at += max(length, 4)
    return found


def packet_in(message: bytes) -> PacketIn | None:
    """Read an NXT_PACKET_IN2; None: it is something else."""
    if message[8:16] != b"\0\0\x23\x20\0\0\0\x1e":
        return None
    known: dict[int, bytes] = {}
    at = 16
    while at + 4 <= len(message):
        kind, length = struct.unpack_from("!HH", message, at)
        if length < 4:
            break
        known[kind] = message[at + 4 : at + length]
        at += length + 7 & ~7
    reason, table = known.get(_REASON, b"\1"), known.get(_TABLE, b"\0")
    return PacketIn(known.get(_PACKET, b""), reason[0], table[0], known.get(_USERDATA, b""), fields_of(known.get(_METADATA, b"")))


_PACKET, _TABLE, _REASON, _METADATA, _USERDATA = 0, 3, 5, 6, 7
"""Types of properties of NXT_PACKET_IN2 (nicira-ext.h)."""


def error_text(message: bytes) -> str:
    """Name what the switch refused."""
    kind, code = _ERROR.unpack_from(message, 8)
    return _ERRORS.get((kind, code), f"error {kind}, code {code}")


_ERRORS: Final = {
    (1, 0): "bad version",
    (1, 5): "not allowed",
    (1, 6): "bad length",
    (2, 4): "the port does not exist",
    (2, 9): "the group does not exist",
    (2, 5): "bad argument of an action",
    (4, 5): "the mask has bits that the value has not",
    (4, 6): "bad type of a match field",
    (4, 7): "a match field lacks what it needs",
    (5, 1): "the table is full",
    (5, 2): "bad table",
    (5, 5): "bad command",
    (6, 0): "the group exists",
    (6, 3): "out of groups",
    (6, 8): "the group does not exist",
    (12, 1): "the meter exists",
    (12, 3): "the meter does not exist",
    (12, 9): "out of meters",
}
"""Types and codes by OpenFlow 1.5.1 (7.5.4)."""
