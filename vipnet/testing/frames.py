"""Raw frames, byte by byte: what no well-behaved stack would send. Sources: RFC 826, RFC 791, RFC 768, RFC 9568."""

from __future__ import annotations

import socket
import struct
from typing import assert_never

from vipnet.testing.probe import Frame

__all__ = ["BROADCAST", "arp", "build", "checksum", "echo_request", "mac_bytes"]

BROADCAST = b"\xff" * 6
_VRRP_MAC = bytes.fromhex("01005e000012")
_IPV4, _ARP = 0x0800, 0x0806
_REQUEST, _REPLY = 1, 2


def mac_bytes(mac: str) -> bytes:
    """A MAC address on the wire."""
    return bytes.fromhex(mac.replace(":", ""))


def build(frame: Frame, *, source: bytes, target: bytes | None, mark: bytes) -> bytes:
    """Make the frame that carries `mark` somewhere inside; `target` is the MAC to send it to, None: everybody."""
    match frame.proto:
        case "arp-request":
            return arp(_REQUEST, source, frame.src, frame.dst, target=target or BROADCAST, mark=mark)
        case "arp-reply":
            return arp(_REPLY, source, frame.src, frame.dst, target=target or BROADCAST, mark=mark)
        case "udp":
            datagram = struct.pack("!HHHH", 40009, 9, 8 + len(mark), 0) + mark
            return _ethernet(target or BROADCAST, source, _IPV4) + _ip(17, frame, datagram, ttl=64)
        case "vrrp":
            return _ethernet(target or _VRRP_MAC, source, _IPV4) + _ip(112, frame, _advertisement(mark), ttl=255)
        case _:
            assert_never(frame.proto)


def arp(operation: int, source: bytes, sender: str, asked: str, *, target: bytes = BROADCAST, mark: bytes = b"") -> bytes:
    """Make an ARP frame from and about the MAC `source`; `mark` hides in the padding."""
    body = struct.pack("!HHBBH", 1, _IPV4, 6, 4, operation)
    known = bytes(6) if operation == _REQUEST else target
    content = body + source + socket.inet_aton(sender) + known + socket.inet_aton(asked) + mark
    return _ethernet(target, source, _ARP) + content.ljust(46, b"\0")


def echo_request(identity: int, mark: bytes) -> bytes:
    """Make an ICMP echo request."""
    head = struct.pack("!BBHHH", 8, 0, 0, identity, 1)
    return head[:2] + struct.pack("!H", checksum(head + mark)) + head[4:] + mark


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2]) for i in range(0, len(padded), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _ethernet(target: bytes, source: bytes, kind: int) -> bytes:
    return target + source + struct.pack("!H", kind)


def _ip(protocol: int, frame: Frame, payload: bytes, *, ttl: int) -> bytes:
    ends = socket.inet_aton(frame.src) + socket.inet_aton(frame.dst)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, ttl, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def _advertisement(mark: bytes) -> bytes:
    return struct.pack("!BBBBHH", 0x31, 51, 100, 0, 100, 0) + mark
