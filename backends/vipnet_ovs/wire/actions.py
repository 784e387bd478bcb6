"""Actions as the switch reports them in OpenFlow 1.5 (7.2.6 there; nicira-ext.h and ovs-actions(7) for those of Open vSwitch)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from vipnet_ovs.wire.oxm import Field

__all__ = [
    "IN_PORT",
    "Nat",
    "Spec",
    "apply",
    "check_pkt_larger",
    "controller",
    "ct",
    "dec_ttl",
    "group",
    "learn",
    "load_field",
    "match_field",
    "meter",
    "move",
    "output",
    "pop_vlan",
    "push_vlan",
    "resubmit",
    "set_field",
]

IN_PORT: Final = 0xFFFFFFF8
_IN_PORT_16: Final = 0xFFF8
_OUTPUT, _PUSH_VLAN, _POP_VLAN, _GROUP, _SET_FIELD, _COPY_FIELD, _METER, _EXPERIMENTER = 0, 17, 18, 22, 25, 28, 29, 0xFFFF
_NICIRA: Final = 0x2320
_RESUBMIT_TABLE, _DEC_TTL_IDS, _CT, _NAT, _CONTROLLER2, _LEARN2, _CHECK_PKT_LARGER = 14, 21, 35, 36, 37, 45, 49
_APPLY_ACTIONS: Final = 4

_OUTPUT_FORM = struct.Struct("!HHIH6x")
_NUMBER_FORM = struct.Struct("!HHI")
_INSTRUCTION = struct.Struct("!HH4x")
_RESUBMIT = struct.Struct("!HHIHHB3x")
_COPY = struct.Struct("!HHHHH2xII4x")


def _padded(action: bytes) -> bytes:
    return action + bytes(-len(action) % 8)


def _nicira(kind: int, body: bytes) -> bytes:
    whole = _padded(struct.pack("!HHIH", _EXPERIMENTER, 0, _NICIRA, kind) + body)
    return whole[:2] + len(whole).to_bytes(2) + whole[4:]


def apply(*actions: bytes) -> bytes:
    """The instructions that carry out actions; none drop the packet."""
    body = b"".join(actions)
    return _INSTRUCTION.pack(_APPLY_ACTIONS, 8 + len(body)) + body if body else b""


def output(port: int) -> bytes:
    """Send out by a port."""
    return _OUTPUT_FORM.pack(_OUTPUT, 16, port, 0)


def group(id: int) -> bytes:
    """Carry out a group."""
    return _NUMBER_FORM.pack(_GROUP, 8, id)


def meter(id: int) -> bytes:
    """Let a meter drop what is too much; must come first."""
    return _NUMBER_FORM.pack(_METER, 8, id)


def push_vlan() -> bytes:
    """Add an 802.1Q tag."""
    return struct.pack("!HHHH", _PUSH_VLAN, 8, 0x8100, 0)


def pop_vlan() -> bytes:
    """Take the outer tag off."""
    return _NUMBER_FORM.pack(_POP_VLAN, 8, 0)


def set_field(field: Field, value: int, mask: int | None = None) -> bytes:
    """Set a field, or the bits of a mask in it."""
    if mask is None:
        oxm = field.header.to_bytes(4) + value.to_bytes(field.octets)
    else:
        oxm = field.masked.to_bytes(4) + value.to_bytes(field.octets) + mask.to_bytes(field.octets)
    body = _padded(struct.pack("!HH", _SET_FIELD, 0) + oxm)
    return body[:2] + len(body).to_bytes(2) + body[4:]


def move(src: Field, dst: Field, *, bits: int, src_at: int = 0, dst_at: int = 0) -> bytes:
    """Copy bits of one field into another."""
    return _COPY.pack(_COPY_FIELD, 24, bits, src_at, dst_at, src.header, dst.header)


def resubmit(table: int) -> bytes:
    """Look the packet up in a table, and come back."""
    return _RESUBMIT.pack(_EXPERIMENTER, 16, _NICIRA, _RESUBMIT_TABLE, _IN_PORT_16, table)


def dec_ttl(controllers: Sequence[int]) -> bytes:
    """Count a hop; a packet that has none left goes to these controllers, or to nobody, and ends here."""
    ids = controllers or (0xFFFF,)  # an id that nobody has
    return _nicira(_DEC_TTL_IDS, struct.pack(f"!H4x{len(ids)}H", len(ids), *ids))


def controller(*, id: int, userdata: bytes) -> bytes:
    """Send a copy, whole, to the controllers of an id, with bytes that say why."""
    chosen = struct.pack("!HHH2x", 1, 8, id)
    return _nicira(_CONTROLLER2, bytes(6) + chosen + _property(3, userdata))


def _property(kind: int, value: bytes) -> bytes:
    return _padded(struct.pack("!HH", kind, 4 + len(value)) + value)


class Nat(NamedTuple):
    """A translation of new connections: of the source or the destination, to one address."""

    kind: Literal["src", "dst"]
    ip: int


def ct(*, zone: Field | int, table: int, zone_at: int = 0, to: Nat | None = None) -> bytes:
    """Pass conntrack in a zone (a number, or 16 bits of a field), translated, a new connection by `to`; go on in a table."""
    source, number = (0, zone) if isinstance(zone, int) else (zone.header, zone_at << 6 | 15)
    head = struct.pack("!HIHB3xH", int(to is not None), source, number, table, 0)
    return _nicira(_CT, head + _nat(to))


def _nat(to: Nat | None) -> bytes:
    if to is None:
        return _nicira(_NAT, struct.pack("!2xHH", 0, 0))
    return _nicira(_NAT, struct.pack("!2xHHI", 1 if to.kind == "src" else 2, 1, to.ip))


def check_pkt_larger(octets: int, field: Field, bit: int) -> bytes:
    """Set a bit to whether the frame has more octets."""
    return _nicira(_CHECK_PKT_LARGER, struct.pack("!HHI", octets, bit, field.header))


class Spec(NamedTuple):
    """A part of a flow that is learned: from which field, to which field's match (0) or load (1)."""

    source: Field
    into: Field
    kind: Literal[0, 1]


def match_field(source: Field, into: Field) -> Spec:
    """Let the learned flow match a field as this packet has it in another."""
    return Spec(source, into, 0)


def load_field(source: Field, into: Field) -> Spec:
    """Let the learned flow set a field to what this packet has in another."""
    return Spec(source, into, 1)


def learn(*, table: int, priority: int, cookie: int, limit: int, specs: Sequence[Spec]) -> bytes:
    """Add or renew a flow; of this table and cookie there are no more than `limit`."""
    head = struct.pack("!HHHQHBxHHIHH", 0, 0, priority, cookie, 0, table, 0, 0, limit, 0, 0)
    return _nicira(_LEARN2, head + b"".join(map(_spec, specs)))


def _spec(spec: Spec) -> bytes:
    return struct.pack("!HIHIH", spec.kind << 11 | spec.source.width, spec.source.header, 0, spec.into.header, 0)
