"""ICMP errors, made by machines of the lab and heard by the sockets of others: ip(7), IP_RECVERR; RFC 792, RFC 1191."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from vipnet.lab import LabNode
from vipnet.testing import frames
from vipnet.testing.probe import NARROW, Complaint, IcmpError

__all__ = ["complain", "heard_of", "hops", "listening"]

_TYPES: Final[dict[Complaint, tuple[int, int]]] = {
    "fragmentation-needed": (3, 4),
    "time-exceeded": (11, 0),
    "port-unreachable": (3, 3),
}
_COMPLAINTS: Final[dict[tuple[int, int], Complaint]] = {numbers: name for name, numbers in _TYPES.items()}
_MTU_DISCOVER, _DO, _RECVERR, _MTU = 10, 2, 11, 14  # <linux/in.h>
_EXTENDED_ERROR = struct.Struct("=IBBBxII")  # <linux/errqueue.h>, before the address of who sent it
_ICMP = 2  # its origin SO_EE_ORIGIN_ICMP
_QUOTED = 28
"""Bytes of the packet that an error quotes at least: its IP header, without options, and 8 more (RFC 792)."""

_CLOSED = 33434
"""A port that nobody listens at: traceroute's first."""

_FARTHEST = 6


def listening(opened: socket.socket) -> socket.socket:
    """Let a socket of datagrams be told of ICMP errors, and never fragment."""
    opened.setsockopt(socket.IPPROTO_IP, _RECVERR, 1)
    opened.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _DO)
    return opened


def complain(node: LabNode, packet: bytes, complaint: Complaint, *, by: str) -> None:
    """Send, from a machine that got a packet, an ICMP error about it to whoever sent it."""
    kind, code = _TYPES[complaint]
    mtu = NARROW if complaint == "fragmentation-needed" else 0
    message = struct.pack("!BBHHH", kind, code, 0, 0, mtu) + packet[:_QUOTED]
    message = message[:2] + struct.pack("!H", frames.checksum(message)) + message[4:]
    with node.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as raw:
        raw.bind((by, 0))
        raw.sendto(message, (socket.inet_ntoa(packet[12:16]), 0))


def heard_of(opened: socket.socket, patience: float) -> IcmpError | None:
    """The next ICMP error that a socket is told of in time; of a needed fragmentation it must also believe the MTU."""
    waiting = select.poll()
    waiting.register(opened, select.POLLERR)
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        if waiting.poll(left * 1000) and (error := _next(opened)) is not None:
            return error
    return None


def hops(open_one: Callable[[], socket.socket], dst: str, patience: float) -> tuple[str, ...]:
    """Send datagrams of growing TTL to a closed port; the addresses of those that complain, up to `dst` or the first silence."""
    found: list[str] = []
    with listening(open_one()) as opened:
        for ttl in range(1, _FARTHEST):
            error = _asked(opened, dst, ttl, patience)
            found += [] if error is None else [error.by]
            if error is None or error.complaint != "time-exceeded":
                break
    return tuple(found)


def _asked(opened: socket.socket, dst: str, ttl: int, patience: float) -> IcmpError | None:
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    opened.sendto(b"?", (dst, _CLOSED))
    error = heard_of(opened, patience)
    if error is None:  # routers send few errors to one address, and more after a second: icmp_ratelimit, icmp(7)
        time.sleep(1.1)
        opened.sendto(b"?", (dst, _CLOSED))
        error = heard_of(opened, patience)
    return error


def _next(opened: socket.socket) -> IcmpError | None:
    try:
        _, ancillary, _, _ = opened.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    for level, kind, body in ancillary:
        _, origin, icmp_type, code, mtu, _ = _EXTENDED_ERROR.unpack_from(body)
        complaint = _COMPLAINTS.get((icmp_type, code))
        if (level, kind, origin) != (socket.IPPROTO_IP, _RECVERR, _ICMP) or complaint is None:
            continue
        if complaint == "fragmentation-needed" and not _believed(opened, mtu):
            continue
        return IcmpError(complaint, socket.inet_ntoa(body[_EXTENDED_ERROR.size + 4 : _EXTENDED_ERROR.size + 8]))
    return None


def _believed(opened: socket.socket, mtu: int) -> bool:
    return mtu == opened.getsockopt(socket.IPPROTO_IP, _MTU) == NARROW
