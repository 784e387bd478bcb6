"""Frames that vipnet sends itself."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["arp_probe", "asking", "gratuitous_question", "time_exceeded"]

_EVERYBODY: Final = b"\xff" * 6
_ARP: Final = b"\x08\x06" + struct.pack("!HHBB", 1, 0x0800, 6, 4)
_QUOTED: Final = 548
"""Octets of a packet that an error quotes, so that it stays within 576 (RFC 1812 4.3.2.3)."""
_QUOTED6: Final = 1232
"""The same for IPv6: within 1280 (RFC 4443 2.4)."""


def asking(mac: bytes, sender: int, target: int) -> bytes:
    """ARP: who has an address? (RFC 826)"""
    return _EVERYBODY + mac + _ARP + struct.pack("!H6sI6xI", 1, mac, sender, target)


def arp_probe(mac: bytes, target: int) -> bytes:
    """ARP: who has an address, of nobody that could be believed to have another (RFC 5227)."""
    return asking(mac, 0, target)


def gratuitous_question(ip: int) -> bytes:
    """ARP: a question of everybody's for an address, whose answer is to everybody."""
    return _EVERYBODY + _EVERYBODY + _ARP + struct.pack("!H6sI6sI", 1, _EVERYBODY, ip, bytes(6), ip)


def time_exceeded(frame: bytes, source: bytes) -> bytes | None:
    """The ICMP error about a frame whose packet had no hop left, from an address of its router; None: nobody may be told."""
    packet = frame[14:]
    build = _exceeded6 if len(source) == 16 else _exceeded4
    answer = build(packet, source)
    return None if answer is None else frame[6:12] + frame[:6] + frame[12:14] + answer


def _exceeded4(packet: bytes, source: bytes) -> bytes | None:
    header = (packet[0] & 15) * 4
    if len(packet) < header + 8:
        return None
    fragment, protocol = int.from_bytes(packet[6:8]) & 0x1FFF, packet[9]
    if fragment or packet[12] >= 224 or (protocol == 1 and packet[header] not in (0, 8)):  # RFC 1122 3.2.2
        return None
    length = int.from_bytes(packet[2:4])
    icmp = _summed(struct.pack("!BBHI", 11, 0, 0, 0) + packet[: min(length, _QUOTED)], 2)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, source, packet[12:16])
    return _summed(head, 10) + icmp


def _exceeded6(packet: bytes, source: bytes) -> bytes | None:
    if len(packet) < 48 or packet[24] == 0xFF or (packet[6] == 58 and packet[40] < 128):  # RFC 4443 2.4
        return None
    body = struct.pack("!BBHI", 3, 0, 0, 0) + packet[: 40 + min(int.from_bytes(packet[4:6]), _QUOTED6 - 40)]
    pseudo = source + packet[8:24] + struct.pack("!IHBB", len(body), 0, 0, 58)
    total = _sum(pseudo + body)
    icmp = body[:2] + total.to_bytes(2) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(icmp), 58, 64) + source + packet[8:24] + icmp


def _summed(octets: bytes, at: int) -> bytes:
    return octets[:at] + _sum(octets).to_bytes(2) + octets[at + 2 :]


def _sum(octets: bytes) -> int:
    """The Internet's checksum (RFC 1071)."""
    words = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
