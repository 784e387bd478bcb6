"""Who says that it has an address: gratuitous ARP, unsolicited neighbour advertisements and VRRP, as they come in by ports.

One packet socket for all interfaces of a namespace. The kernel runs a filter of a few instructions over what comes in and
wakes us only for what it lets pass: gratuitous ARP, answers to our own question, VRRP, unsolicited NAs.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from vipnet.errors import DataplaneError
from vipnet.sightings import Advertised, Announced, Answered, Sighting

__all__ = ["Advertisement", "Answer", "Claim", "Heard", "Listener", "sighting_of"]

_ALL, _ARP, _IPV4, _IPV6 = 0x0003, 0x0806, 0x0800, 0x86DD
_VRRP, _ICMPV6, _NA = 112, 58, 136
_REQUEST, _REPLY = 1, 2
_ATTACH_FILTER, _PACKET, _IGNORE_OUTGOING = 26, 263, 23
_MOST = 256
"""Frames that are read at once; who calls waits a little after so many."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody behind an interface says unasked that it has an address."""

    device: str
    mac: bytes
    ip: int
    version: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody behind an interface answers a question of `Listener.ask`."""

    device: str
    mac: bytes
    ip: int


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A VRRP advertisement, version 2 or 3, over IPv4; `interval` in seconds (RFC 5798, RFC 3768)."""

    device: str
    mac: bytes
    ips: tuple[int, ...]
    interval: float
    priority: int


Heard = Claim | Answer | Advertisement


class Listener:
    """Listens in the calling thread's namespace."""

    __slots__ = ("_ears", "_mouth")

    def __init__(self) -> None:
        try:
            self._ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
            self._mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
            _attach(self._ears)
            self._ears.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
            _bind(self._ears)
        except OSError as error:
            raise DataplaneError(f"frames cannot be listened to: {error.strerror}") from error

    def fileno(self) -> int:
        """For poll."""
        return self._ears.fileno()

    def read(self) -> Iterator[Heard]:
        """What was heard since, at most `MOST` frames of it."""
        for _ in range(_MOST):
            try:
                frame, (device, *_) = self._ears.recvfrom(512)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN: an interface went down
                continue
            yield from _heard(device, frame)

    def ask(self, device: str, mac: bytes, own: bytes, ip: int) -> None:
        """Ask the machine `mac` behind an interface whether it has an address, as `own`: an ARP probe (RFC 5227), unicast.

        A probe has no sender's address, so nobody's neighbour table learns from it, nor from its answer. An interface that is
        gone or down is not asked.
        """
        body = struct.pack("!HHBBH6s4s6s4s", 1, _IPV4, 6, 4, _REQUEST, own, bytes(4), bytes(6), ip.to_bytes(4, "big"))
        try:
            self._mouth.sendto(mac + own + _ARP.to_bytes(2, "big") + body + bytes(18), (device, _ARP))
        except OSError:
            return

    def close(self) -> None:
        """Listen no more."""
        self._ears.close()
        self._mouth.close()


def _heard(device: str, frame: bytes) -> Iterator[Heard]:
    mac, kind = frame[6:12], int.from_bytes(frame[12:14], "big")
    if kind == _ARP and len(frame) >= 42:
        yield from _arp(device, mac, frame)
    elif kind == _IPV4 and len(frame) >= 34:
        yield from _vrrp(device, mac, frame[14:])
    elif kind == _IPV6 and len(frame) >= 78:
        yield Claim(device, mac, int.from_bytes(frame[62:78], "big"), 6)


def _arp(device: str, mac: bytes, frame: bytes) -> Iterator[Heard]:
    operation = int.from_bytes(frame[20:22], "big")
    sender, target = (int.from_bytes(frame[at : at + 4], "big") for at in (28, 38))
    if frame[22:28] != mac or not sender:  # it speaks for somebody else
        return
    if sender == target:
        yield Claim(device, mac, sender, 4)
    elif operation == _REPLY and not target:
        yield Answer(device, mac, sender)


def _vrrp(device: str, mac: bytes, packet: bytes) -> Iterator[Heard]:
    body = packet[(packet[0] & 15) * 4 :]
    if len(body) < 8 or body[0] & 15 != 1:
        return
    version, priority, count = body[0] >> 4, body[2], body[3]
    interval = (int.from_bytes(body[4:6], "big") & 0xFFF) / 100 if version == 3 else float(body[5])
    ips = tuple(int.from_bytes(body[8 + 4 * at : 12 + 4 * at], "big") for at in range(min(count, (len(body) - 8) // 4)))
    yield Advertisement(device, mac, ips, interval or 1.0, priority)


def _bind(listening: socket.socket) -> None:
    """To every protocol of all interfaces, after the filter is in. Python's `bind` knows no interface 0."""
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(_ALL), 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(listening.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


_LDH, _LDB, _LDW, _TAX, _JEQ, _JEQX, _JSET, _RET = 0x28, 0x30, 0x20, 0x07, 0x15, 0x1D, 0x45, 0x06

# Classic BPF (linux/filter.h): code, jump if true, jump if false, operand.
_PROGRAM = (
    (_LDH, 0, 0, 12),
    (_JEQ, 3, 0, _ARP),
    (_JEQ, 7, 0, _IPV4),
    (_JEQ, 8, 0, _IPV6),
    (_RET, 0, 0, 0),
    (_LDW, 0, 0, 28),  # ARP: sender's and target's address
    (_TAX, 0, 0, 0),
    (_LDW, 0, 0, 38),
    (_JEQX, 9, 0, 0),
    (_JEQ, 8, 9, 0),
    (_LDB, 0, 0, 23),  # IPv4
    (_JEQ, 6, 7, _VRRP),
    (_LDB, 0, 0, 20),  # IPv6, without extension headers: fragmented ND is dropped anyway
    (_JEQ, 0, 5, _ICMPV6),
    (_LDB, 0, 0, 54),
    (_JEQ, 0, 3, _NA),
    (_LDB, 0, 0, 58),
    (_JSET, 1, 0, 0x40),  # asked for
    (_RET, 0, 0, 512),
    (_RET, 0, 0, 0),
)


def _attach(listening: socket.socket) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _PROGRAM)
    buffer = ctypes.create_string_buffer(code, len(code))
    listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(_PROGRAM), ctypes.addressof(buffer)))


def sighting_of(heard: Heard) -> Sighting:
    """What is heard, in the core's words."""
    match heard:
        case Claim(device, mac, ip, version):
            return Announced(device=device, mac=mac.hex(":"), ip=ip, version=version)
        case Answer(device, mac, ip):
            return Answered(device=device, mac=mac.hex(":"), ip=ip)
        case Advertisement(device, mac, ips, interval, priority):
            return Advertised(device=device, mac=mac.hex(":"), ips=ips, interval=interval, priority=priority)
        case _:
            assert_never(heard)
