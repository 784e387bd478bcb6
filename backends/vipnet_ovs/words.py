"""Matches that many flows begin with, and numbers of protocols."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from vipnet_ovs.fields import Match
from vipnet_ovs.wire import oxm

__all__ = [
    "ALL_NODES",
    "ARP",
    "DAD",
    "ECHO_REQUEST",
    "ECHO_REQUEST6",
    "ICMP",
    "ICMP6",
    "IP",
    "IP6",
    "MULTICAST",
    "ND_BARE",
    "ND_OPTION",
    "NEIGHBOUR_ADVERTISEMENT",
    "NEIGHBOUR_SOLICITATION",
    "prefix4",
    "prefix6",
]

ARP: Final[Match] = MappingProxyType({oxm.ETH_TYPE: 0x0806})
IP: Final[Match] = MappingProxyType({oxm.ETH_TYPE: 0x0800})
IP6: Final[Match] = MappingProxyType({oxm.ETH_TYPE: 0x86DD})
ICMP: Final[Match] = MappingProxyType({**IP, oxm.IP_PROTO: 1})
ICMP6: Final[Match] = MappingProxyType({**IP6, oxm.IP_PROTO: 58})
ECHO_REQUEST: Final[Match] = MappingProxyType({**ICMP, oxm.ICMPV4_TYPE: 8, oxm.ICMPV4_CODE: 0})
ECHO_REQUEST6: Final[Match] = MappingProxyType({**ICMP6, oxm.ICMPV6_TYPE: 128, oxm.ICMPV6_CODE: 0})
NEIGHBOUR_SOLICITATION: Final[Match] = MappingProxyType({**ICMP6, oxm.ICMPV6_TYPE: 135, oxm.ICMPV6_CODE: 0})
NEIGHBOUR_ADVERTISEMENT: Final[Match] = MappingProxyType({**ICMP6, oxm.ICMPV6_TYPE: 136, oxm.ICMPV6_CODE: 0})
DAD: Final[Match] = MappingProxyType({**NEIGHBOUR_SOLICITATION, oxm.IPV6_SRC: 0, oxm.ND_SLL: 0})
"""Duplicate address detection: a solicitation from nobody (RFC 4862 5.4.2)."""

MULTICAST: Final[Match] = MappingProxyType({oxm.ETH_DST: (1 << 40, 1 << 40)})
"""To a group's MAC, or everybody's."""

ALL_NODES: Final = 0xFF02 << 112 | 1
"""IPv6's address of all nodes of a link (RFC 4291 2.7.1)."""

ND_BARE: Final = 14 + 40 + 24
"""Octets of a frame with a solicitation or an advertisement without options (RFC 4861 4.3, 4.4)."""
ND_OPTION: Final = ND_BARE + 8


def prefix4(ip: int, length: int) -> tuple[int, int] | int:
    """A match of an IPv4 network."""
    return _prefix(ip, length, 32)


def prefix6(ip: int, length: int) -> tuple[int, int] | int:
    """A match of an IPv6 network."""
    return _prefix(ip, length, 128)


def _prefix(ip: int, length: int, width: int) -> tuple[int, int] | int:
    mask = ((1 << length) - 1) << (width - length)
    return ip if length == width else (ip & mask, mask)
