"""From a frame on the wire to a packet, or to the reason why no port may send it.

Strict: what cannot be read to its upper layer is forbidden, as is what a server has no business to say. What is allowed of
neighbour discovery is short: no extension headers, and one option or none. Sources: RFC 826, RFC 791, RFC 8200, RFC 4861,
RFC 4862, RFC 7527, RFC 6980, RFC 7112.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from vipnet.packets import Packet, Protocol

__all__ = ["Forbidden", "Read", "read_frame"]

_ARP_OF_IPV4 = struct.pack("!HHBB", 1, 0x0800, 6, 4)
_PROTOCOLS: dict[int, Protocol] = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 112: "vrrp"}
_FRAGMENT, _AUTHENTICATION, _ICMP6, _NOTHING, _UDP = 44, 51, 58, 59, 17
_EXTENSIONS = {0, 43, _FRAGMENT, _AUTHENTICATION, 60}
_JUDGED = {58, 112}
"""What is judged by more than its addresses: an authentication header, behind which nobody but its receiver sees for sure,
may not hide it."""
_HARMLESS = {1, 2, 3, 4, 128, 129, 131, 132, 143}
"""Types of ICMPv6: errors, echo, and reports of listeners to multicast (RFC 4443, RFC 2710, RFC 3810)."""
_SOLICIT_ROUTER, _SOLICIT, _ADVERTISE = 133, 135, 136
_NONCE = b"\x0e\x01"
_DHCP6_SERVER = 547


@dataclass(frozen=True, slots=True)
class Forbidden:
    """No port may send it."""

    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """What a frame carries, and the MAC that it is addressed to."""

    packet: Packet
    to: str

    @property
    def to_everyone(self) -> bool:
        """Whether the MAC is a group's or everybody's."""
        return bool(int(self.to[:2], 16) & 1)


@dataclass(frozen=True, slots=True)
class _Upper:
    """The upper layer of an IPv6 packet: its number, its bytes, whether headers stand before it, and of which fragment."""

    protocol: int
    data: bytes
    bare: bool
    offset: int


def read_frame(frame: bytes) -> Read | Forbidden:
    """Read a frame; everything behind the end of its packet is padding."""
    kind, body, source = frame[12:14], frame[14:], _mac(frame[6:12])
    match int.from_bytes(kind):
        case 0x0806:
            packet = _arp(body)
        case 0x0800:
            packet = _ip4(body)
        case 0x86DD:
            packet = _ip6(body)
        case number:
            return Forbidden(f"of type {number:#06x}, neither ARP nor IP")
    return packet if isinstance(packet, Forbidden) else Read(replace(packet, mac=source), _mac(frame[:6]))


def _mac(octets: bytes) -> str:
    return octets.hex(":")


def _arp(body: bytes) -> Packet | Forbidden:
    if len(body) < 28 or not body.startswith(_ARP_OF_IPV4):
        return Forbidden("ARP not of Ethernet and IPv4")
    sender, target = int.from_bytes(body[14:18]), int.from_bytes(body[24:28])
    return Packet(src=sender, dst=target, proto="arp", named=(_mac(body[8:14]),))


def _ip4(body: bytes) -> Packet | Forbidden:
    if len(body) < 20 or body[0] >> 4 != 4:
        return Forbidden("no IPv4 header")
    src, dst = int.from_bytes(body[12:16]), int.from_bytes(body[16:20])
    return Packet(src=src, dst=dst, proto=_PROTOCOLS.get(body[9], "other") if body[9] != _ICMP6 else "other")


def _ip6(body: bytes) -> Packet | Forbidden:
    length = int.from_bytes(body[4:6])
    if len(body) < 40 + length or body[0] >> 4 != 6:
        return Forbidden("no IPv6 header, or cut short")
    upper = _upper(body[6], body[40 : 40 + length])
    if upper is None:
        return Forbidden("headers that do not end in this packet, or hide what must be seen")
    src, dst = int.from_bytes(body[8:24]), int.from_bytes(body[24:40])
    packet = Packet(src=src, dst=dst, proto=_PROTOCOLS.get(upper.protocol, "other"), version=6)
    if upper.protocol == _ICMP6:
        return _icmp6(packet, upper)
    if upper.protocol == _UDP and not upper.offset and int.from_bytes(upper.data[:2]) == _DHCP6_SERVER:
        return Forbidden("an answer of a DHCPv6 server")
    return packet


def _upper(number: int, data: bytes) -> _Upper | None:
    """Walk through extension headers.

    What is in fragments begins with its upper layer; a fragment but the first shows no more than the number of that.
    An authentication header counts as an upper layer.
    """
    bare = True
    while number in _EXTENSIONS:
        if len(data) < 8 or (number in (_FRAGMENT, _AUTHENTICATION) and data[0] in _EXTENSIONS):
            return None
        if number == _AUTHENTICATION:
            return None if data[0] in _JUDGED else _Upper(number, data, bare, 0)
        offset = int.from_bytes(data[2:4]) & ~7 if number == _FRAGMENT else 0
        if offset:
            return _Upper(data[0], b"", False, offset)
        number, data, bare = data[0], data[8 if number == _FRAGMENT else (data[1] + 1) * 8 :], False
    return _Upper(number, data, bare, 0)


def _icmp6(packet: Packet, upper: _Upper) -> Packet | Forbidden:
    if upper.offset or (packet.src and upper.data[:1] and upper.data[0] in _HARMLESS):
        return packet
    if not upper.bare or len(upper.data) < 8:
        return Forbidden("ICMPv6 of this kind behind extension headers, in fragments, or cut short")
    match upper.data[0]:
        case type_ if type_ == _SOLICIT_ROUTER:
            return _with_option(packet, upper.data[8:])
        case type_ if type_ == _SOLICIT and packet.src == 0:
            return _asks_whether_free(packet, upper.data)
        case type_ if type_ == _SOLICIT and len(upper.data) >= 24:
            return _with_option(packet, upper.data[24:])
        case type_ if type_ == _ADVERTISE and len(upper.data) >= 24:
            return _advertises(packet, upper.data)
        case kind:
            return Forbidden(f"ICMPv6 of type {kind}, which is not for servers to say")


def _with_option(packet: Packet, options: bytes) -> Packet | Forbidden:
    if not options:
        return packet
    if len(options) != 8 or options[0] not in (1, 2) or options[1] != 1:
        return Forbidden("neighbour discovery with an option beside one link-layer address")
    return replace(packet, named=(_mac(options[2:]),))


def _asks_whether_free(packet: Packet, data: bytes) -> Packet | Forbidden:
    """The unspecified source stands for the target: it is what the sender is about to be."""
    options = data[24:]
    if len(data) < 24 or (options and (len(options) != 8 or not options.startswith(_NONCE))):
        return Forbidden("duplicate address detection with an option beside a nonce")
    return replace(packet, src=int.from_bytes(data[8:24]))


def _advertises(packet: Packet, data: bytes) -> Packet | Forbidden:
    target = int.from_bytes(data[8:24])
    claims: tuple[int, ...] = (packet.src,)
    if packet.dst >> 120 == 0xFF:  # it tells everybody, unasked
        packet = replace(packet, proto="arp", src=target, dst=target)
    return _with_option(replace(packet, claims=(*claims, target)), data[24:])
