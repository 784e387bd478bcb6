"""Traffic that is measured: datagrams at a steady pace, packets as they are on the wire. Needs root.

All of it is sent and received by one thread, in steps of a millisecond, and told apart from what the machine could not offer.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final, Protocol, TypeVar

__all__ = ["PACKET", "Datagram", "Flow", "Load", "Machine", "Wire", "WireCount"]

T = TypeVar("T")

PACKET: Final = 1000
"""Bytes of the IP packet that is one datagram of a flow."""

_STEP: Final = 0.001
_LAST: Final = 0.2
"""Seconds that the last datagrams may take."""
_HEADERS: Final = 28  # IP and UDP
_STAMP: Final = struct.Struct("=d")
_BUFFER: Final = 1 << 25

_FORCED_BUFFER: Final = 33  # SO_RCVBUFFORCE, <asm-generic/socket.h>
_ALL, _IP = 0x0003, b"\x08\x00"
_SOL_PACKET, _STATISTICS, _VNET_HEADER = 263, 6, 15  # <linux/if_packet.h>
_VNET: Final = struct.Struct("=BBHHHH")  # struct virtio_net_hdr, <linux/virtio_net.h>
_TCP: Final = 6
_ETHERNET: Final = 14


class Machine(Protocol):
    """One that has a network namespace of its own, with an interface `eth0`."""

    @property
    def name(self) -> str: ...

    def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns in that namespace."""
        ...


@dataclass(frozen=True, slots=True)
class Datagram:
    """One that arrived: when it was sent, in seconds from the start of the load, at whom it arrived and as from whom."""

    sent: float
    at: str
    source: str


@dataclass(slots=True)
class Flow:
    """Datagrams from one machine to an address, `rate` a second; whichever of `ears` has the address receives them.

    `sent` and `arrived` are filled while a load offers it.
    """

    name: str
    sender: Machine
    target: str
    ears: Sequence[Machine]
    rate: float
    source: str = ""
    sent: list[float] = field(default_factory=list[float])
    arrived: list[Datagram] = field(default_factory=list[Datagram])

    def offered(self, begin: float, end: float) -> int:
        """How many were sent between two times of the load."""
        return sum(begin <= at < end for at in self.sent)

    def passed(self, begin: float, end: float) -> int:
        """How many of those sent between two times of the load arrived."""
        return sum(begin <= datagram.sent < end for datagram in self.arrived)

    def mbps(self, begin: float, end: float) -> float:
        """What passed, in 10^6 bit/s of IP packets."""
        return self.passed(begin, end) * PACKET * 8 / (end - begin) / 1e6


class Load:
    """Flows that are offered side by side. A context manager.

    `late` is the longest, in seconds, that a step came behind its time; what was due is sent then, all at once.
    """

    def __init__(self, flows: Iterable[Flow], *, first_port: int = 9000) -> None:
        self.late = 0.0
        self._ways = [_Way(flow, first_port + number) for number, flow in enumerate(flows)]

    def __enter__(self) -> Load:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for way in self._ways:
            way.close()

    def offer(self, seconds: float, acts: Iterable[tuple[float, Callable[[], object]]] = ()) -> float:
        """Send for at least so many seconds, receive what comes, and return how long it was.

        `acts` are carried out meanwhile by another thread, one after the other, none before its time; their errors come out here.
        """
        began = before = time.monotonic()
        with ThreadPoolExecutor(1) as other:
            done = other.submit(_act, began, sorted(acts, key=lambda act: act[0]))
            while (now := time.monotonic()) - began < seconds or not done.done():
                self.late, before = max(self.late, now - before - _STEP), now
                for way in self._ways:
                    way.step(now - began)
                time.sleep(max(0.0, now + _STEP - time.monotonic()))
            done.result()
        time.sleep(_LAST)
        for way in self._ways:
            way.drain()
        return before - began


def _act(began: float, acts: Iterable[tuple[float, Callable[[], object]]]) -> None:
    for at, act in acts:
        time.sleep(max(0.0, began + at - time.monotonic()))
        act()


class _Way:
    """A flow with its sockets."""

    def __init__(self, flow: Flow, port: int) -> None:
        self._flow = flow
        with ExitStack() as opened:
            self._mouth = opened.enter_context(flow.sender.call(partial(_mouth, flow.source, flow.target, port)))
            self._ears = [(ear.name, opened.enter_context(ear.call(partial(_ear, port)))) for ear in flow.ears]
            self._opened = opened.pop_all()

    def step(self, now: float) -> None:
        flow = self._flow
        while len(flow.sent) < now * flow.rate:
            flow.sent.append(now)
            try:
                self._mouth.send(_STAMP.pack(now).ljust(PACKET - _HEADERS, b"\0"))
            except OSError:  # an ICMP error about an earlier one, or no way out just now: it was offered
                continue
        self.drain()

    def drain(self) -> None:
        for name, ear in self._ears:
            try:
                while True:
                    data, (source, _) = ear.recvfrom(PACKET)
                    self._flow.arrived.append(Datagram(_STAMP.unpack_from(data)[0], name, source))
            except BlockingIOError:
                continue

    def close(self) -> None:
        self._opened.close()


@dataclass(frozen=True, slots=True)
class WireCount:
    """IP packets and their bytes."""

    packets: int
    bytes: int

    def __add__(self, other: WireCount) -> WireCount:
        return WireCount(self.packets + other.packets, self.bytes + other.bytes)


class Wire:
    """What leaves or enters machines by `eth0`, as a wire would carry it. A context manager.

    Segments that a stack sends merged, or has merged, are counted as the packets that they are (GSO: the kernel tells their
    size in a header of its own, packet(7), PACKET_VNET_HDR). At the end `seen` has what was sent, by machine and (source,
    target), and `lost` how many frames the sockets could not keep.
    """

    def __init__(self, *nodes: Machine) -> None:
        self._taps = {node.name: node.call(_tap) for node in nodes}
        self.seen: dict[str, defaultdict[tuple[str, str], WireCount]] = {}
        self.lost = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name, tap in self._taps.items():
            with tap:
                self.seen[name] = _sorted(tap)
                self.lost += struct.unpack("=II", tap.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]


def _sorted(tap: socket.socket) -> defaultdict[tuple[str, str], WireCount]:
    found = defaultdict[tuple[str, str], WireCount](partial(WireCount, 0, 0))
    for frame in _frames(tap):
        if frame[_VNET.size + 12 : _VNET.size + _ETHERNET] == _IP:
            packet = frame[_VNET.size + _ETHERNET :]
            way = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            found[way] += _on_the_wire(frame[: _VNET.size], packet)
    return found


def _on_the_wire(vnet: bytes, packet: bytes) -> WireCount:
    (whole,) = struct.unpack_from("!H", packet, 2)
    size: int = _VNET.unpack(vnet)[3]
    head = 4 * (packet[0] & 15)
    head += 4 * (packet[head + 12] >> 4) if packet[9] == _TCP else 8
    count = -(-(whole - head) // size) if size else 1
    return WireCount(count, whole + (count - 1) * head)


def _frames(tap: socket.socket) -> Iterable[bytes]:
    while True:
        try:
            yield tap.recv(128, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def _tap() -> socket.socket:
    tap = _roomy(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    tap.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
    tap.bind(("eth0", _ALL))
    return tap


def _mouth(source: str, target: str, port: int) -> socket.socket:
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mouth.bind((source, 0))
    mouth.connect((target, port))
    return mouth


def _ear(port: int) -> socket.socket:
    ear = _roomy(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ear.bind(("", port))
    ear.setblocking(False)
    return ear


def _roomy(opened: socket.socket) -> socket.socket:
    opened.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER)
    return opened
