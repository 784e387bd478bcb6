"""Packets that carry a mark: made, and found again.

Sources: RFC 791, 768, 9293, 792, 826, 9568; for IPv6 RFC 8200, 4443, 4861.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Literal, assert_never

from vipnet.testing import frames
from vipnet.testing.differential.case import Question
from vipnet.testing.frames import ALL_NODES

__all__ = ["Heard", "Kind", "answer", "ask", "build", "mark_of", "parse"]

_MAGIC = b"\xd1\xffvn"
_IPV4, _ARP, _IPV6, _VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
_ADVERTISE_ROUTER = 134
_ICMP, _TCP, _UDP, _ICMP6, _VRRP = 1, 6, 17, 58, 112
_ECHO, _ECHO6, _ECHO_REPLIES = 8, 128, {0, 129}
_VRRP_MAC = bytes.fromhex("01005e000012")
_SYN = 2
_FIRST_PORT, _PORTS = 1024, 60000

Kind = Literal["packet", "echo-reply", "asks", "tells"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame said: of ARP and ND, `src` asks for `dst`, or tells `dst` that it is at `mac`. `mark` b"": not ours."""

    kind: Kind
    src: str
    dst: str
    mac: bytes
    mark: bytes


def mark_of(number: int) -> bytes:
    """Eight bytes that no other packet carries."""
    return _MAGIC + number.to_bytes(4, "big")


def ask(source: bytes, sender: str, asked: str, mark: bytes = b"", target: bytes | None = None) -> bytes:
    """Make the question who has an address."""
    if ":" in asked:
        return frames.neighbour_solicitation(source, sender, asked, target=target, mark=mark)
    return frames.arp(1, source, sender, asked, target=target or frames.BROADCAST, mark=mark)


def answer(source: bytes, ip: str, asker: str, target: bytes) -> bytes:
    """Make the answer to somebody that an address is at the MAC `source`."""
    if ":" not in ip:
        return frames.arp(2, source, ip, asker, target=target)
    message = frames.advertisement(ip, asker, ip, frames.link_layer_option("target", source))
    return frames.ethernet(target, source, _IPV6, frames.ip6(_ICMP6, ip, asker, message, hop_limit=255))


def build(question: Question, *, source: bytes, target: bytes | None, number: int) -> bytes:
    """Make the frame of a question, of a flow of its own; `target` None: to all, VRRP and ND to their groups."""
    mark, port = mark_of(number), _FIRST_PORT + number % _PORTS
    match question.proto:
        case "arp-request" | "ns":
            return ask(source, question.src, question.dst, mark, target)
        case "arp-reply":
            return frames.arp(2, source, question.src, question.dst, target=target or frames.BROADCAST, mark=mark)
        case "na":
            return frames.neighbour_advertisement(source, question.src, question.dst, target=target, mark=mark)
        case "ra":
            options = frames.link_layer_option("source", source)
            message = frames.icmp6(question.src, ALL_NODES, _ADVERTISE_ROUTER, bytes(12) + options)
            packet = frames.ip6(_ICMP6, question.src, ALL_NODES, message, hop_limit=255)
            return frames.ethernet(frames.multicast_mac(ALL_NODES), source, _IPV6, packet) + mark
        case "tagged":
            plain = _frame(None, source, question, _UDP, frames.udp(question.src, question.dst, mark, sport=port))
            return plain[:12] + struct.pack("!HH", _VLAN, 5) + plain[12:]
        case "vrrp":
            group = frames.multicast_mac(question.dst) if question.version == 6 else _VRRP_MAC
            return _frame(target or group, source, question, _VRRP, frames.vrrp(question.src, question.dst, mark), ttl=255)
        case "icmp":
            return _echo_request(target, source, question, port, mark)
        case "udp":
            return _frame(target, source, question, _UDP, frames.udp(question.src, question.dst, mark, sport=port))
        case "tcp":
            return _frame(target, source, question, _TCP, _syn(question, port, mark))
        case _:
            assert_never(question.proto)


def parse(frame: bytes) -> Heard | None:
    """What a frame says, None if it is nothing that a test sends or waits for. What an ICMP error quotes is not said."""
    if frame[12:14] == _VLAN.to_bytes(2, "big"):
        frame = frame[:12] + frame[16:]
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _ARP and len(frame) >= 42:
        return _arp_heard(frame)
    if kind == _IPV4 and len(frame) >= 34:
        head, length = (frame[14] & 15) * 4, int.from_bytes(frame[16:18], "big")
        return _ip_heard(frame, frame[23], frame[26:30], frame[30:34], frame[14 + head : 14 + length])
    if kind == _IPV6 and len(frame) >= 54:
        end = 54 + int.from_bytes(frame[18:20], "big")
        if frame[20] == _ICMP6 and frame[54] in (frames.SOLICITATION, frames.ADVERTISEMENT):
            return _nd_heard(frame, frame[54:end], frame[end:])
        if frame[20] == _ICMP6 and frame[54] == _ADVERTISE_ROUTER:
            return Heard("packet", _text(frame[22:38]), ALL_NODES, frame[6:12], _marked(frame[end:]))
        return _ip_heard(frame, frame[20], frame[22:38], frame[38:54], frame[54:end])
    return None


def _frame(target: bytes | None, source: bytes, question: Question, protocol: int, payload: bytes, *, ttl: int = 64) -> bytes:
    if question.version == 6:
        packet = frames.ip6(protocol, question.src, question.dst, payload, hop_limit=ttl)
        return frames.ethernet(target or frames.BROADCAST, source, _IPV6, packet)
    packet = frames.ip4(protocol, question.src, question.dst, payload, ttl=ttl)
    return frames.ethernet(target or frames.BROADCAST, source, _IPV4, packet)


def _echo_request(target: bytes | None, source: bytes, question: Question, identity: int, mark: bytes) -> bytes:
    body = struct.pack("!HH", identity, 1) + mark
    if question.version == 6:
        message = frames.icmp6(question.src, question.dst, _ECHO6, body)
        return _frame(target, source, question, _ICMP6, message)
    total = frames.checksum(bytes([_ECHO, 0, 0, 0]) + body)
    return _frame(target, source, question, _ICMP, struct.pack("!BBH", _ECHO, 0, total) + body)


def _syn(question: Question, port: int, mark: bytes) -> bytes:
    segment = struct.pack("!HHIIBBHHH", port, 9, port, 0, 5 << 4, _SYN, 65535, 0, 0) + mark
    ends = frames.address_bytes(question.src) + frames.address_bytes(question.dst)
    # the pseudo-headers of both families have the same sum for lengths below 2^16
    pseudo = ends + struct.pack("!BBH", 0, _TCP, len(segment))
    return segment[:16] + struct.pack("!H", frames.checksum(pseudo + segment)) + segment[18:]


def _arp_heard(frame: bytes) -> Heard | None:
    operation = int.from_bytes(frame[20:22], "big")
    if operation not in (1, 2):
        return None
    kind: Kind = "asks" if operation == 1 else "tells"
    return Heard(kind, _text(frame[28:32]), _text(frame[38:42]), frame[22:28], _marked(frame[42:]))


def _nd_heard(frame: bytes, message: bytes, rest: bytes) -> Heard:
    target, mark = _text(message[8:24]), _marked(rest)
    if message[0] == frames.SOLICITATION:
        return Heard("asks", _text(frame[22:38]), target, frame[6:12], mark)
    return Heard("tells", target, _text(frame[38:54]), message[26:32] or frame[6:12], mark)


def _ip_heard(frame: bytes, protocol: int, src: bytes, dst: bytes, payload: bytes) -> Heard | None:
    is_icmp = protocol in (_ICMP, _ICMP6)
    if is_icmp and payload[:1] not in (b"\0", b"\x08", b"\x80", b"\x81"):
        return None
    kind: Kind = "echo-reply" if is_icmp and payload[0] in _ECHO_REPLIES else "packet"
    return Heard(kind, _text(src), _text(dst), frame[6:12], _marked(payload[20 if protocol == _TCP else 8 :]))


def _text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(ip) == 4 else socket.AF_INET6, ip)


def _marked(rest: bytes) -> bytes:
    return rest[:8] if rest.startswith(_MAGIC) else b""
