"""Raw frames, byte by byte: what no well-behaved stack would send.

Sources: RFC 826, RFC 791, RFC 768, RFC 9568; for IPv6 RFC 8200, RFC 4443, RFC 4861, RFC 2464.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, Literal, assert_never

from vipnet.testing.probe import Frame

__all__ = [
    "ADVERTISEMENT",
    "ALL_NODES",
    "BROADCAST",
    "SOLICITATION",
    "address_bytes",
    "advertisement",
    "arp",
    "authentication",
    "build",
    "checksum",
    "destination_options",
    "echo_request",
    "ethernet",
    "fragment",
    "hop_by_hop",
    "icmp6",
    "ip4",
    "ip6",
    "link_layer_option",
    "mac_bytes",
    "multicast_mac",
    "neighbour_advertisement",
    "neighbour_solicitation",
    "routing_header",
    "solicited_node",
    "udp",
    "vrrp",
]

ALL_NODES: Final = "ff02::1"
BROADCAST: Final = b"\xff" * 6
ADVERTISEMENT: Final = 136
SOLICITATION: Final = 135
_VRRP_MAC = bytes.fromhex("01005e000012")
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_REQUEST, _REPLY = 1, 2
_UDP, _ICMP6, _VRRP = 17, 58, 112
_OVERRIDE = 0x20000000
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")


def mac_bytes(mac: str) -> bytes:
    """A MAC address on the wire."""
    return bytes.fromhex(mac.replace(":", ""))


def address_bytes(ip: str) -> bytes:
    """An IPv4 or IPv6 address on the wire."""
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def build(frame: Frame, *, source: bytes, target: bytes | None, mark: bytes) -> bytes:
    """Make the frame that carries `mark` somewhere inside; `target` is the MAC to send it to, None: everybody."""
    match frame.proto:
        case "arp-request":
            return arp(_REQUEST, source, frame.src, frame.dst, target=target or BROADCAST, mark=mark)
        case "arp-reply":
            return arp(_REPLY, source, frame.src, frame.dst, target=target or BROADCAST, mark=mark)
        case "ns":
            return neighbour_solicitation(source, frame.src, frame.dst, target=target, mark=mark)
        case "na":
            return neighbour_advertisement(source, frame.src, frame.dst, target=target, mark=mark)
        case "udp":
            return _over_ip(_UDP, frame, udp(frame.src, frame.dst, mark), source, target or BROADCAST, ttl=64)
        case "vrrp":
            everyone = multicast_mac(frame.dst) if ":" in frame.dst else _VRRP_MAC
            return _over_ip(_VRRP, frame, vrrp(frame.src, frame.dst, mark), source, target or everyone, ttl=255)
        case _:
            assert_never(frame.proto)


def _over_ip(protocol: int, frame: Frame, payload: bytes, source: bytes, target: bytes, *, ttl: int) -> bytes:
    if ":" in frame.src:
        return ethernet(target, source, _IPV6, ip6(protocol, frame.src, frame.dst, payload, hop_limit=ttl))
    return ethernet(target, source, _IPV4, ip4(protocol, frame.src, frame.dst, payload, ttl=ttl))


def ethernet(target: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    """Make a frame of an Ethernet type; of 1,500 and less it is a length (IEEE 802.3)."""
    return target + source + struct.pack("!H", kind) + payload


def arp(
    operation: int,
    source: bytes,
    sender: str,
    asked: str,
    *,
    target: bytes = BROADCAST,
    mark: bytes = b"",
    inside: bytes | None = None,
) -> bytes:
    """Make an ARP frame from and about the MAC `source`, or about the MAC `inside`; `mark` hides in the padding."""
    body = struct.pack("!HHBBH", 1, _IPV4, 6, 4, operation)
    known = bytes(6) if operation == _REQUEST else target
    content = body + (inside or source) + socket.inet_aton(sender) + known + socket.inet_aton(asked) + mark
    return ethernet(target, source, _ARP, content.ljust(46, b"\0"))


def neighbour_solicitation(
    source: bytes, sender: str, asked: str, *, target: bytes | None = None, mark: bytes = b"", options: bytes | None = None
) -> bytes:
    """Make a question for who has an address, from the MAC `source`; from "::" it asks whether anybody has it (RFC 4862).

    `options` None: the source's link-layer address, or with "::" none. `mark` hides in the padding.
    """
    if options is None:
        options = b"" if sender == "::" else link_layer_option("source", source)
    to = solicited_node(asked)
    message = icmp6(sender, to, SOLICITATION, bytes(4) + address_bytes(asked) + options)
    return ethernet(target or multicast_mac(to), source, _IPV6, ip6(_ICMP6, sender, to, message, hop_limit=255)) + mark


def neighbour_advertisement(
    source: bytes, sender: str, about: str, *, target: bytes | None = None, mark: bytes = b"", options: bytes | None = None
) -> bytes:
    """Make an unsolicited advertisement to all nodes that `about` is at the MAC `source`, to override what they know.

    `options` None: the target's link-layer address. `mark` hides in the padding.
    """
    message = advertisement(sender, ALL_NODES, about, link_layer_option("target", source) if options is None else options)
    packet = ip6(_ICMP6, sender, ALL_NODES, message, hop_limit=255)
    return ethernet(target or multicast_mac(ALL_NODES), source, _IPV6, packet) + mark


def advertisement(src: str, dst: str, about: str, options: bytes = b"") -> bytes:
    """Make the message of a neighbour advertisement that overrides."""
    return icmp6(src, dst, ADVERTISEMENT, struct.pack("!I", _OVERRIDE) + address_bytes(about) + options)


def link_layer_option(of: Literal["source", "target"], mac: bytes) -> bytes:
    """Make the option of neighbour discovery that holds a MAC."""
    return bytes([1 if of == "source" else 2, 1]) + mac


def solicited_node(ip: str) -> str:
    """The multicast address at which an IPv6 address is asked for (RFC 4291)."""
    return socket.inet_ntop(socket.AF_INET6, _SOLICITED_NODE + address_bytes(ip)[13:])


def multicast_mac(ip: str) -> bytes:
    """The MAC of an IPv6 multicast address."""
    return b"\x33\x33" + address_bytes(ip)[12:]


def ip4(protocol: int, src: str, dst: str, payload: bytes, *, ttl: int = 64) -> bytes:
    """Make an IPv4 packet."""
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, ttl, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(following: int, src: str, dst: str, payload: bytes, *, hop_limit: int = 64) -> bytes:
    """Make an IPv6 packet; `following` is the number of the first header in `payload`."""
    head = struct.pack("!IHBB", 0x60000000, len(payload), following, hop_limit)
    return head + address_bytes(src) + address_bytes(dst) + payload


def hop_by_hop(following: int, payload: bytes) -> bytes:
    """Put a header of hop-by-hop options, number 0, that holds nothing but padding before a payload."""
    return destination_options(following, payload)


def destination_options(following: int, payload: bytes, *, length: int = 8) -> bytes:
    """Put a header of destination options, number 60, of `length` bytes of padding before a payload."""
    padding = bytes([1, length - 4]) + bytes(length - 4)
    return bytes([following, length // 8 - 1]) + padding + payload


def routing_header(following: int, payload: bytes) -> bytes:
    """Put a routing header, number 43, of an experimental type and with no segments left, before a payload (RFC 4727)."""
    return bytes([following, 0, 253, 0]) + bytes(4) + payload


def authentication(following: int, payload: bytes) -> bytes:
    """Put an authentication header, number 51, with a value that authenticates nothing, before a payload (RFC 4302)."""
    return struct.pack("!BBHII", following, 4, 0, 1, 1) + bytes(12) + payload


def fragment(following: int, payload: bytes, *, offset: int = 0, more: bool = False, identity: int = 1) -> bytes:
    """Put a fragment header, number 44, before a part of a payload that begins at `offset`, in bytes."""
    return struct.pack("!BBHI", following, 0, offset | more, identity) + payload


def udp(src: str, dst: str, payload: bytes, *, sport: int = 40009, dport: int = 9) -> bytes:
    """Make a datagram; over IPv4 without checksum."""
    head = struct.pack("!HHH", sport, dport, 8 + len(payload))
    total = _sum_over(_UDP, src, dst, head + bytes(2) + payload) if ":" in src else 0
    return head + struct.pack("!H", total) + payload


def icmp6(src: str, dst: str, kind: int, body: bytes) -> bytes:
    """Make an ICMPv6 message of code 0."""
    return struct.pack("!BBH", kind, 0, _sum_over(_ICMP6, src, dst, bytes([kind, 0, 0, 0]) + body)) + body


def vrrp(src: str, dst: str, mark: bytes) -> bytes:
    """Make an advertisement of VRRP version 3 with `mark` behind it; over IPv4 without checksum."""
    head = struct.pack("!BBBBH", 0x31, 51, 100, 0, 100)
    return head + struct.pack("!H", _sum_over(_VRRP, src, dst, head + bytes(2) + mark) if ":" in src else 0) + mark


def echo_request(mark: bytes, *, version: Literal[4, 6] = 4) -> bytes:
    """Make an echo request of ICMP, or of ICMPv6 without the checksum, which a raw socket puts in (RFC 3542)."""
    head = struct.pack("!BBH2sH", 8 if version == 4 else 128, 0, 0, mark[:2], 1)
    return head[:2] + struct.pack("!H", checksum(head + mark)) + head[4:] + mark


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2]) for i in range(0, len(padded), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _sum_over(protocol: int, src: str, dst: str, data: bytes) -> int:
    """The checksum of an upper layer over IPv6: with the pseudo-header before it."""
    return checksum(address_bytes(src) + address_bytes(dst) + struct.pack("!II", len(data), protocol) + data)
