"""Messages to the switch: OpenFlow 1.5.1 (section 7), and what Open vSwitch adds (nicira-ext.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

__all__ = [
    "BUNDLE_CONTROL",
    "BUNDLE_FLAGS",
    "NOWHERE",
    "NO_BUFFER",
    "RESET_COUNTS",
    "TUPLE_DST",
    "TUPLE_SRC",
    "VERSION",
    "FlowCommand",
    "GroupCommand",
    "Kind",
    "MeterCommand",
    "Multipart",
    "barrier",
    "bucket",
    "bundle_control",
    "ct_flush",
    "echo_reply",
    "flow_mod",
    "flows_request",
    "group_mod",
    "groups_request",
    "hello",
    "message",
    "meter_mod",
    "meters_request",
    "monitor_request",
    "multipart",
    "packet_in_format",
    "packet_out",
    "set_async",
    "set_controller_id",
    "tables_request",
]

VERSION: Final = 6
_NICIRA: Final = 0x2320
NOWHERE: Final = 0xFFFFFFFF
"""No port and no group (OFPP_ANY, OFPG_ANY)."""
_ALL_TABLES: Final = 0xFF
NO_BUFFER: Final = 0xFFFFFFFF
_CONTROLLER_PORT: Final = 0xFFFFFFFD


class Kind(IntEnum):
    """Types of messages."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    SET_ASYNC = 28
    METER_MOD = 29
    BUNDLE_CONTROL = 33
    BUNDLE_ADD = 34


class FlowCommand(IntEnum):
    """What a flow mod does."""

    ADD = 0
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class GroupCommand(IntEnum):
    """What a group mod does."""

    ADD = 0
    DELETE = 2
    INSERT_BUCKET = 3
    REMOVE_BUCKET = 5


class MeterCommand(IntEnum):
    """What a meter mod does."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


class Multipart(IntEnum):
    """Types of multipart messages."""

    FLOW_DESC = 1
    TABLE = 3
    GROUP_DESC = 7
    METER_DESC = 10
    METER_STATS = 9
    FLOW_MONITOR = 16
    FLOW_STATS = 17


_HEADER = struct.Struct("!BBHI")
_FLOW = struct.Struct("!QQBBHHHIIIHH")
_MATCH = struct.Struct("!HH")
_GROUP = struct.Struct("!HBxIH2xI")
_BUCKET = struct.Struct("!HHI")
_BUNDLE_CONTROL = struct.Struct("!IHH")
_METER = struct.Struct("!HHI")
_BAND = struct.Struct("!HHII4x")
_FLOWS = struct.Struct("!B3xII4xQQ")
_PACKET_OUT = struct.Struct("!IH2x")

RESET_COUNTS: Final = 4
"""A flow that takes another one's place counts from 0 (OFPFF_RESET_COUNTS)."""
_NO_BUCKET: Final = 0xFFFFFFFF
_BUCKET_ALL: Final = 0xFFFFFFFF
_BUCKET_LAST: Final = 0xFFFFFFFE
_KBPS, _BURST, _STATS, _DROP = 1, 4, 8, 1

BUNDLE_CONTROL: Final = {"open": 0, "close": 2, "commit": 4, "discard": 6}
BUNDLE_FLAGS: Final = 3
"""Atomic and ordered; every message of a bundle repeats them."""


def message(kind: int, body: bytes = b"", *, xid: int = 0) -> bytes:
    """Any message."""
    return _HEADER.pack(VERSION, kind, 8 + len(body), xid) + body


def hello() -> bytes:
    """The first message: versions 1.5 alone."""
    return message(Kind.HELLO, struct.pack("!HHI", 1, 8, 1 << VERSION))


def echo_reply(request: bytes) -> bytes:
    """The answer to a whole echo request."""
    return request[:1] + bytes([Kind.ECHO_REPLY]) + request[2:]


def barrier(*, xid: int) -> bytes:
    """Be answered when all before is done."""
    return message(Kind.BARRIER_REQUEST, xid=xid)


def match_of(match: bytes) -> bytes:
    """A match with its header, padded (7.2.3)."""
    length = 4 + len(match)
    return _MATCH.pack(1, length) + match + bytes(-length % 8)


def flow_mod(
    command: FlowCommand,
    *,
    table: int,
    priority: int = 0,
    match: bytes = b"",
    instructions: bytes = b"",
    cookie: int = 0,
    cookie_mask: int = 0,
    hard: int = 0,
    reset: bool = False,
    xid: int = 0,
) -> bytes:
    """Add, modify or delete flows; `hard` is a time-out in seconds, `reset` lets what takes a flow's place count from 0."""
    flags = RESET_COUNTS * reset
    fixed = _FLOW.pack(cookie, cookie_mask, table, command, 0, hard, priority, NO_BUFFER, NOWHERE, NOWHERE, flags, 0)
    return message(Kind.FLOW_MOD, fixed + match_of(match) + instructions, xid=xid)


def bucket(id: int, actions: bytes) -> bytes:
    """A bucket of a group (7.3.4.3)."""
    return _BUCKET.pack(8 + len(actions), len(actions), id) + actions


def group_mod(command: GroupCommand, id: int, *, buckets: bytes = b"", bucket_id: int | None = None, xid: int = 0) -> bytes:
    """Change a group of type ALL; `bucket_id` is which one to remove, a new one comes last."""
    where = {GroupCommand.INSERT_BUCKET: _BUCKET_LAST, GroupCommand.DELETE: _BUCKET_ALL}.get(command, _NO_BUCKET)
    chosen = where if bucket_id is None else bucket_id
    return message(Kind.GROUP_MOD, _GROUP.pack(command, 0, id, len(buckets), chosen) + buckets, xid=xid)


def meter_mod(command: MeterCommand, id: int, *, kbps: int = 0, burst: int = 0, xid: int = 0) -> bytes:
    """Change a meter that drops what is over a rate in 1000 bit/s, with a burst of so many 1000 bits."""
    band = b"" if command == MeterCommand.DELETE else _BAND.pack(_DROP, 16, kbps, burst)
    flags = 0 if command == MeterCommand.DELETE else _KBPS | _BURST | _STATS
    return message(Kind.METER_MOD, _METER.pack(command, flags, id) + band, xid=xid)


def bundle_control(what: str, bundle: int, *, xid: int) -> bytes:
    """Open, commit or discard a bundle: all or nothing, in order."""
    return message(Kind.BUNDLE_CONTROL, _BUNDLE_CONTROL.pack(bundle, BUNDLE_CONTROL[what], BUNDLE_FLAGS), xid=xid)


def packet_out(data: bytes, actions: bytes, *, in_port: int = _CONTROLLER_PORT) -> bytes:
    """Send a frame by actions, as if it had come in by a port."""
    match = match_of(struct.pack("!II", 0x80000004, in_port))
    return message(Kind.PACKET_OUT, _PACKET_OUT.pack(NO_BUFFER, len(actions)) + match + actions + data)


def multipart(kind: Multipart, body: bytes = b"", *, xid: int) -> bytes:
    """Ask for what comes in parts."""
    return message(Kind.MULTIPART_REQUEST, struct.pack("!HH4x", kind, 0) + body, xid=xid)


def flows_request(*, xid: int, table: int = _ALL_TABLES, cookie: int = 0, cookie_mask: int = 0, match: bytes = b"") -> bytes:
    """Ask for flows of a table, with cookies, that match no less."""
    return multipart(Multipart.FLOW_DESC, _FLOWS.pack(table, NOWHERE, NOWHERE, cookie, cookie_mask) + match_of(match), xid=xid)


def tables_request(*, xid: int) -> bytes:
    """Ask for the number of flows of each table."""
    return multipart(Multipart.TABLE, xid=xid)


def groups_request(*, xid: int, id: int = 0xFFFFFFFC) -> bytes:
    """Ask for groups and their buckets; default: all."""
    return multipart(Multipart.GROUP_DESC, struct.pack("!I4x", id), xid=xid)


def meters_request(kind: Multipart, *, xid: int, id: int = 0xFFFFFFFF) -> bytes:
    """Ask for meters or what they counted; default: of all."""
    return multipart(kind, struct.pack("!I4x", id), xid=xid)


def monitor_request(*, xid: int) -> bytes:
    """Be told from now on when flows of any table are modified by other connections (7.3.5.18)."""
    body = struct.pack("!IIIHBB", 1, NOWHERE, NOWHERE, _MODIFIED, _ALL_TABLES, 0)
    return multipart(Multipart.FLOW_MONITOR, body + match_of(b""), xid=xid)


_MODIFIED: Final = 1 << 3


def _nicira(kind: int, body: bytes, *, xid: int = 0) -> bytes:
    return message(Kind.EXPERIMENTER, struct.pack("!II", _NICIRA, kind) + body, xid=xid)


def packet_in_format() -> bytes:
    """Have packets come with their metadata (NXT_SET_PACKET_IN_FORMAT, NXT_PACKET_IN2)."""
    return _nicira(16, struct.pack("!I", 2))


def set_controller_id(id: int) -> bytes:
    """Be the controller of an id (NXT_SET_CONTROLLER_ID)."""
    return _nicira(20, struct.pack("!6xH", id))


def set_async(reasons: int) -> bytes:
    """Get packets for these reasons, a bit each, as master and as slave (7.3.10)."""
    properties = b"".join(struct.pack("!HHI", kind, 8, reasons) for kind in (0, 1))
    return message(Kind.SET_ASYNC, properties)


def ct_flush(
    zone: int, *, original: Sequence[tuple[int, int]] = (), reply: Sequence[tuple[int, int]] = (), xid: int = 0
) -> bytes:
    """Forget connections of a zone (NXT_CT_FLUSH); pairs of TUPLE_SRC or TUPLE_DST and an IPv4 address say which, none: all."""
    body = b"".join(_nested(kind, pairs) for kind, pairs in ((0, original), (1, reply)) if pairs)
    return _nicira(_CT_FLUSH, bytes(8) + body + _tlv(2, zone.to_bytes(2)), xid=xid)


TUPLE_SRC: Final = 0
TUPLE_DST: Final = 1
_CT_FLUSH: Final = 32


def _nested(kind: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    inner = b"".join(_tlv(which, (0xFFFF << 32 | ip).to_bytes(16)) for which, ip in pairs)
    return struct.pack("!HH4x", kind, 8 + len(inner)) + inner


def _tlv(kind: int, value: bytes) -> bytes:
    whole = struct.pack("!HH", kind, 4 + len(value)) + value
    return whole[:2] + (len(whole) + 2 if len(value) == 2 else len(whole)).to_bytes(2) + whole[4:] + bytes(-len(whole) % 8)
