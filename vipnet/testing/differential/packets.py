"""Packets that carry a mark: made, and found again. Sources: RFC 791, 768, 9293, 792, 826, 9568."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Literal, assert_never

from vipnet.testing import frames
from vipnet.testing.differential.case import Question

__all__ = ["Heard", "Kind", "build", "mark_of", "parse"]

_MAGIC = b"\xd1\xffvn"
_IPV4, _ARP = 0x0800, 0x0806
_ICMP, _TCP, _UDP, _VRRP = 1, 6, 17, 112
_VRRP_MAC = bytes.fromhex("01005e000012")
_SYN = 2
_FIRST_PORT, _PORTS = 1024, 60000

Kind = Literal["packet", "echo-reply", "arp-request", "arp-reply"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame said: `mac` is its source MAC, inside ARP the sender's. `mark` b"": nothing of ours."""

    kind: Kind
    src: str
    dst: str
    mac: bytes
    mark: bytes


def mark_of(number: int) -> bytes:
    """Eight bytes that no other packet carries."""
    return _MAGIC + number.to_bytes(4, "big")


def build(question: Question, *, source: bytes, target: bytes | None, number: int) -> bytes:
    """Make the frame of a question, of a flow of its own; `target` None: to all, VRRP to its group."""
    mark, port = mark_of(number), _FIRST_PORT + number % _PORTS
    match question.proto:
        case "arp-request":
            return frames.arp(1, source, question.src, question.dst, target=target or frames.BROADCAST, mark=mark)
        case "arp-reply":
            return frames.arp(2, source, question.src, question.dst, target=target or frames.BROADCAST, mark=mark)
        case "vrrp":
            return _frame(target or _VRRP_MAC, source, question, _VRRP, frames.vrrp(question.src, question.dst, mark), ttl=255)
        case "icmp":
            return _frame(target, source, question, _ICMP, _echo_request(port, mark))
        case "udp":
            return _frame(target, source, question, _UDP, frames.udp(question.src, question.dst, mark, sport=port))
        case "tcp":
            return _frame(target, source, question, _TCP, _syn(question, port, mark))
        case _:
            assert_never(question.proto)


def parse(frame: bytes) -> Heard | None:
    """What a frame says, None if it is nothing that a test sends or waits for. What an ICMP error quotes is not said."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _ARP and len(frame) >= 42:
        return _arp_heard(frame)
    if kind == _IPV4 and len(frame) >= 34:
        return _ip_heard(frame)
    return None


def _frame(target: bytes | None, source: bytes, question: Question, protocol: int, payload: bytes, *, ttl: int = 64) -> bytes:
    packet = frames.ip4(protocol, question.src, question.dst, payload, ttl=ttl)
    return frames.ethernet(target or frames.BROADCAST, source, _IPV4, packet)


def _echo_request(identity: int, mark: bytes) -> bytes:
    head = struct.pack("!BBHHH", 8, 0, 0, identity, 1)
    return head[:2] + struct.pack("!H", frames.checksum(head + mark)) + head[4:] + mark


def _syn(question: Question, port: int, mark: bytes) -> bytes:
    segment = struct.pack("!HHIIBBHHH", port, 9, port, 0, 5 << 4, _SYN, 65535, 0, 0) + mark
    ends = frames.address_bytes(question.src) + frames.address_bytes(question.dst)
    pseudo = ends + struct.pack("!BBH", 0, _TCP, len(segment))
    return segment[:16] + struct.pack("!H", frames.checksum(pseudo + segment)) + segment[18:]


def _arp_heard(frame: bytes) -> Heard | None:
    operation = int.from_bytes(frame[20:22], "big")
    if operation not in (1, 2):
        return None
    src, dst = socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])
    return Heard("arp-request" if operation == 1 else "arp-reply", src, dst, frame[22:28], _marked(frame[42:]))


def _ip_heard(frame: bytes) -> Heard | None:
    packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
    protocol, payload = packet[9], packet[(packet[0] & 15) * 4 :]
    if protocol == _ICMP and payload[:1] not in (b"\0", b"\x08"):
        return None
    mark = _marked(payload[20 if protocol == _TCP else 8 :])
    kind: Kind = "echo-reply" if protocol == _ICMP and payload[0] == 0 else "packet"
    return Heard(kind, socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), frame[6:12], mark)


def _marked(rest: bytes) -> bytes:
    return rest[:8] if rest.startswith(_MAGIC) else b""
