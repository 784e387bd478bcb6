"""Flows in the words of ovs-ofctl(8), for people."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vipnet.addresses import format_ip4, format_ip6
from vipnet_ovs.flows import Flow
from vipnet_ovs.pipeline import by_number
from vipnet_ovs.wire import oxm

__all__ = ["flow_text"]

_IP4: Final = frozenset({oxm.IPV4_SRC.header, oxm.IPV4_DST.header, oxm.ARP_SPA.header, oxm.ARP_TPA.header})
_IP6: Final = frozenset({oxm.IPV6_SRC.header, oxm.IPV6_DST.header, oxm.ND_TARGET.header})
_MAC_OCTETS: Final = 6


def flow_text(flow: Flow) -> str:
    """A flow as a line of ovs-ofctl, tables by name."""
    blank = f" ({flow.blank.kind} of {flow.blank.of})" if flow.blank is not None else ""
    changed = "" if flow.intact else " (the pipeline's fixed flows were changed)"
    head = ",".join([f"table={_table(flow.table)},priority={flow.priority}", *_matches(flow.match)])
    return f"{head} actions={_actions(flow.instructions)}{blank}{changed}"


def _table(number: int) -> str:
    return by_number(number) or str(number)


def _matches(match: bytes) -> Iterator[str]:
    for header, (value, mask) in oxm.fields_of(match).items():
        field = oxm.BY_HEADER.get(header)
        name, octets = (field.name, field.octets) if field else (f"oxm {header:#x}", header & 0xFF)
        yield f"{name}={_value(header, octets, value)}" + ("" if mask is None else f"/{_value(header, octets, mask)}")


def _value(header: int, octets: int, value: int) -> str:
    if header in _IP4:
        return format_ip4(value)
    if header in _IP6:
        return format_ip6(value)
    return value.to_bytes(octets).hex(":") if octets == _MAC_OCTETS else hex(value)


def _actions(instructions: bytes) -> str:
    return ",".join(_each(instructions[8:])) or "drop"


def _each(octets: bytes) -> Iterator[str]:
    at = 0
    while at + 4 <= len(octets):
        kind, length = struct.unpack_from("!HH", octets, at)
        action = octets[at : at + max(length, 8)]
        yield _nicira(action) if kind == _EXPERIMENTER else _plain(kind, action)
        at += max(length, 8)


_EXPERIMENTER: Final = 0xFFFF


def _plain(kind: int, action: bytes) -> str:
    match kind:
        case 0:
            number = int.from_bytes(action[4:8])
            return "in_port" if number == 0xFFFFFFF8 else f"output:{number or 'port'}"
        case 17:
            return "push_vlan:0x8100"
        case 18:
            return "pop_vlan"
        case 22:
            return "group"
        case 25:
            return f"set_field:{'->'.join(_set(action[4:]))}"
        case 28:
            bits, src_at, dst_at, src, dst = struct.unpack_from("!HHH2xII", action, 4)
            return f"move:{_name(src)}[{src_at}..{src_at + bits - 1}]->{_name(dst)}[{dst_at}..{dst_at + bits - 1}]"
        case 29:
            return "meter"
        case _:
            return action.hex()


def _set(octets: bytes) -> Iterator[str]:
    header = int.from_bytes(octets[:4])
    length, masked = header & 0xFF, bool(header & 0x100)
    size = length // 2 if masked else length
    plain = header & ~0x1FF | size
    value = _value(plain, size, int.from_bytes(octets[4 : 4 + size]))
    yield value + (f"/{_value(plain, size, int.from_bytes(octets[4 + size : 4 + length]))}" if masked else "")
    yield _name(plain)


def _name(header: int) -> str:
    field = oxm.BY_HEADER.get(header)
    return field.name if field else f"{header:#x}"


def _nicira(action: bytes) -> str:
    match int.from_bytes(action[8:10]):
        case 14:
            return f"resubmit(,{_table(action[12])})"
        case 21:
            return "dec_ttl"
        case 35:
            return _ct(action)
        case 37:
            return "controller"
        case 45:
            return f"learn(table={_table(action[26])},...)"
        case 49:
            return f"check_pkt_larger({int.from_bytes(action[10:12])})"
        case _:
            return action.hex()


def _ct(action: bytes) -> str:
    flags, source, number, table = struct.unpack_from("!HIHB", action, 10)
    zone = f"{_name(source)}[{number >> 6}..{(number >> 6) + (number & 63)}]" if source else str(number)
    kinds = int.from_bytes(action[36:38]) if len(action) > 40 else 0
    to = f"({'src' if kinds & 1 else 'dst'}={format_ip4(int.from_bytes(action[40:44]))})" if kinds else ""
    return f"ct({'commit,' if flags & 1 else ''}zone={zone},nat{to},table={_table(table)})"
