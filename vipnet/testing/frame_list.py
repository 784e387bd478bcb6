"""The fixed list of frames: twenty-one, each with a trick of its own, byte by byte, and who must hear it.

`c`, a member of no group, sends all of them in the standard scene, to `b` or to everybody; what it forges are addresses
of `a`. A frame "gets through" to who receives all parts of it: two of the tricks come in two fragments.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vipnet.testing import frames
from vipnet.testing.probe import VRRP_GROUP6
from vipnet.testing.scene import Scene

__all__ = ["FRAMES", "SENDER", "Ends", "ListedFrame", "ends_of"]

SENDER: Final = "c"

_IPV4, _IPV6, _DOT1Q, _DOT1AD = 0x0800, 0x86DD, 0x8100, 0x88A8
_HOP_BY_HOP, _UDP, _ROUTING, _FRAGMENT, _ICMP6, _OPTIONS, _VRRP = 0, 17, 43, 44, 58, 60, 112
_ECHO_REQUEST, _ROUTER_ADVERTISEMENT, _REDIRECT = 128, 134, 137
_FORGED = frames.mac_bytes("02:00:00:00:00:66")
_NOBODY: Final[frozenset[str]] = frozenset()
_ALL = frozenset({"a", "b", "e"})
_B = frozenset({"b"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The sender's own MAC and addresses, those of who is to hear it, and somebody else's."""

    mac: bytes
    ip: str
    ip6: str
    peer_mac: bytes
    peer: str
    peer6: str
    foreign: str
    foreign6: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFrame:
    """A trick: where it is from, its frames around a mark, and the machines that hear all of them."""

    name: str
    source: str
    make: Callable[[Ends, bytes], tuple[bytes, ...]]
    heard: frozenset[str]


def ends_of(scene: Scene) -> Ends:
    """The ends in the standard scene."""
    own, peer, other = (scene.server(name) for name in (SENDER, "b", "a"))
    return Ends(
        mac=frames.mac_bytes(own.mac),
        ip=own.ip,
        ip6=own.ip6 or "",
        peer_mac=frames.mac_bytes(peer.mac),
        peer=peer.ip,
        peer6=peer.ip6 or "",
        foreign=other.ip,
        foreign6=other.ip6 or "",
    )


def _frame4(ends: Ends, mark: bytes, *, src: str | None = None, mac: bytes | None = None) -> bytes:
    source = src or ends.ip
    packet = frames.ip4(_UDP, source, ends.peer, frames.udp(source, ends.peer, mark))
    return frames.ethernet(ends.peer_mac, mac or ends.mac, _IPV4, packet)


def _own_ip4(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (_frame4(ends, mark),)


def _source_mac(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (_frame4(ends, mark, mac=_FORGED),)


def _arp_sha(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (frames.arp(1, ends.mac, ends.ip, ends.ip, inside=_FORGED, mark=mark),)


def _arp_spa(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (frames.arp(2, ends.mac, ends.foreign, ends.peer, target=ends.peer_mac, mark=mark),)


def _tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    return frame[:12] + b"".join(struct.pack("!HH", kind, vid) for kind, vid in tags) + frame[12:]


def _vid_0(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (_tagged(_frame4(ends, mark, src=ends.foreign), (_DOT1Q, 0)),)


def _vid_5(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (_tagged(_frame4(ends, mark, src=ends.foreign), (_DOT1Q, 5)),)


def _two_tags(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (_tagged(_frame4(ends, mark, src=ends.foreign), (_DOT1AD, 5), (_DOT1Q, 6)),)


def _snap(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    inner = b"\xaa\xaa\x03\0\0\0" + _frame4(ends, mark, src=ends.foreign)[12:]
    return (frames.ethernet(ends.peer_mac, ends.mac, len(inner), inner),)


def _frame6(ends: Ends, following: int, payload: bytes, *, src: str | None = None, to: str | None = None) -> bytes:
    packet = frames.ip6(following, src or ends.ip6, to or ends.peer6, payload, hop_limit=255)
    return frames.ethernet(ends.peer_mac if to is None else frames.multicast_mac(to), ends.mac, _IPV6, packet)


def _datagram(ends: Ends, mark: bytes, *, src: str | None = None) -> bytes:
    return frames.udp(src or ends.ip6, ends.peer6, mark)


def _own_ip6_behind_options(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    behind = frames.destination_options(_UDP, _datagram(ends, mark))
    return (_frame6(ends, _HOP_BY_HOP, frames.hop_by_hop(_OPTIONS, behind)),)


def _hop_by_hop(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    behind = frames.hop_by_hop(_UDP, _datagram(ends, mark, src=ends.foreign6))
    return (_frame6(ends, _HOP_BY_HOP, behind, src=ends.foreign6),)


def _destination_options(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    behind = frames.destination_options(_UDP, _datagram(ends, mark, src=ends.foreign6))
    return (_frame6(ends, _OPTIONS, behind, src=ends.foreign6),)


def _vrrp_behind_routing(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    behind = frames.routing_header(_VRRP, frames.vrrp(ends.ip6, VRRP_GROUP6, mark))
    return (_frame6(ends, _ROUTING, behind, to=VRRP_GROUP6),)


def _own_ip6_in_fragments(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    payload = _datagram(ends, bytes(40))
    first = frames.fragment(_UDP, payload[:32], more=True)
    second = frames.fragment(_UDP, payload[32:], offset=32)
    return _frame6(ends, _FRAGMENT, first) + mark, _frame6(ends, _FRAGMENT, second) + mark


def _dad(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    nonce = b"\x0e\x01" + mark[:6]
    return (frames.neighbour_solicitation(ends.mac, "::", ends.ip6, options=nonce, mark=mark),)


def _dad_foreign(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (frames.neighbour_solicitation(ends.mac, "::", ends.foreign6, mark=mark),)


def _ns_option(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    forged = frames.link_layer_option("source", _FORGED)
    return (frames.neighbour_solicitation(ends.mac, ends.ip6, ends.peer6, options=forged, mark=mark),)


def _na_target(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    return (frames.neighbour_advertisement(ends.mac, ends.ip6, ends.foreign6, mark=mark),)


def _na_two_options(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    both = frames.link_layer_option("target", ends.mac) + frames.link_layer_option("target", _FORGED)
    return (frames.neighbour_advertisement(ends.mac, ends.ip6, ends.ip6, options=both, mark=mark),)


def _router_advertisement(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + frames.link_layer_option("source", ends.mac)
    return (_to_all(ends, frames.icmp6(ends.ip6, frames.ALL_NODES, _ROUTER_ADVERTISEMENT, body)) + mark,)


def _redirect(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    body = bytes(4) + frames.address_bytes(ends.ip6) + frames.address_bytes("2001:db8::1")
    return (_frame6(ends, _ICMP6, frames.icmp6(ends.ip6, ends.peer6, _REDIRECT, body)) + mark,)


def _na_in_second_fragment(ends: Ends, mark: bytes) -> tuple[bytes, ...]:
    """Of two fragments the first alone says what follows (RFC 8200), so the second may name UDP; where a reader of the first
    looks for a header behind its options there is an echo request, which is no longer in the packet."""
    option = frames.link_layer_option("target", ends.mac)
    message = frames.advertisement(ends.ip6, frames.ALL_NODES, ends.foreign6, option)
    first = frames.fragment(_OPTIONS, frames.destination_options(_ICMP6, b"", length=32), more=True)
    second = frames.fragment(_UDP, message, offset=32)
    padding = bytes([_ECHO_REQUEST, 0, 0, 0])
    return _to_all(ends, first, _FRAGMENT) + padding + mark, _to_all(ends, second, _FRAGMENT) + mark


def _to_all(ends: Ends, payload: bytes, following: int = _ICMP6) -> bytes:
    return _frame6(ends, following, payload, to=frames.ALL_NODES)


def _listed(name: str, source: str, make: Callable[[Ends, bytes], tuple[bytes, ...]], heard: frozenset[str]) -> ListedFrame:
    return ListedFrame(name=name, source=source, make=make, heard=heard)


FRAMES: Final[tuple[ListedFrame, ...]] = (
    _listed("IPv4 of its own", "RFC 791: must pass", _own_ip4, _B),
    _listed("another source MAC", "IEEE 802.3: a switch would learn it", _source_mac, _NOBODY),
    _listed("another MAC inside ARP", "RFC 826: the sender's hardware address is what hosts believe", _arp_sha, _NOBODY),
    _listed("ARP for another address", "RFC 826: a reply that nobody asked for", _arp_spa, _NOBODY),
    _listed("a priority tag, VID 0", "IEEE 802.1Q 6.9: Linux takes it off and reads on", _vid_0, _NOBODY),
    _listed("a tag, VID 5", "IEEE 802.1Q: the address is 4 bytes further", _vid_5, _NOBODY),
    _listed("two tags", "IEEE 802.1ad", _two_tags, _NOBODY),
    _listed("LLC and SNAP", "RFC 1042: no Ethernet type where one is looked for", _snap, _NOBODY),
    _listed("IPv6 of its own behind options", "RFC 8200 4.1: must pass", _own_ip6_behind_options, _B),
    _listed("IPv6 of its own in fragments", "RFC 8200 4.5: must pass", _own_ip6_in_fragments, _B),
    _listed("another source behind hop-by-hop options", "RFC 8200 4.3", _hop_by_hop, _NOBODY),
    _listed("another source behind destination options", "RFC 8200 4.6", _destination_options, _NOBODY),
    _listed("VRRP behind a routing header", "RFC 8200 4.4: 112 is not in the IPv6 header", _vrrp_behind_routing, _NOBODY),
    _listed("a question whether its own address is free", "RFC 4862, with a nonce (RFC 7527): must pass", _dad, _ALL),
    _listed("a question whether another address is free", "RFC 4862 5.4.3: its owner would give it up", _dad_foreign, _NOBODY),
    _listed("a solicitation with another MAC", "RFC 4861 7.2.3: hosts believe the source's option", _ns_option, _NOBODY),
    _listed("an advertisement of another address", "RFC 3756 4.1.1", _na_target, _NOBODY),
    _listed("an advertisement with two options", "RFC 4861 7.2.5 does not say which counts", _na_two_options, _NOBODY),
    _listed("a router advertisement", "RFC 6105", _router_advertisement, _NOBODY),
    _listed("a redirect", "RFC 3756 4.2.4", _redirect, _NOBODY),
    _listed("an advertisement in the second fragment", "RFC 6980 and RFC 7112", _na_in_second_fragment, _NOBODY),
)
"""What gets through, and what does not, of what a port sends."""
