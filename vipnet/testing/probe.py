"""The questions that the promises ask, of a network of namespaces or of one in memory alike.

Machines are named as in the scene; OUTSIDE is the one beyond the uplink. Each answers TCP, UDP and ICMP echo at all of
its addresses, and tells who it is and whom it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from vipnet.testing.scene import Scene

__all__ = [
    "BEYOND",
    "NARROW",
    "OUTSIDE",
    "VRRP_GROUP",
    "VRRP_GROUP6",
    "Announcement",
    "Answer",
    "Complaint",
    "Connection",
    "Frame",
    "IcmpError",
    "Probe",
]

OUTSIDE = "outside"
VRRP_GROUP, VRRP_GROUP6 = "224.0.0.18", "ff02::12"
BEYOND = "198.51.100.1"
"""An address behind OUTSIDE, which nobody has: what is sent there comes to OUTSIDE as to a router."""

NARROW = 1280
"""The MTU, in bytes, of whoever complains that a packet must be fragmented."""

Announcement = Literal["request", "reply"]
Complaint = Literal["fragmentation-needed", "time-exceeded", "port-unreachable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered, and which source address that machine saw."""

    server: str
    saw: str


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP error that the sender of a packet was told of: it was about a flow of its own. `by` is who it came from."""

    complaint: Complaint
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One raw frame, forged at will; `src` and `dst` are the addresses inside, of either family, ARP's sender and target.

    `ns` and `na` are a neighbour solicitation and an unsolicited advertisement; their `dst` is the target, and a `src` of
    "::" asks whether anybody has it. `onto` says to whose MAC it is addressed: a machine's name, an IP (whoever answers
    for it), None: to all (VRRP, ND: to its group). `mac` is the source MAC, also inside ARP and ND; None: the sender's own.
    """

    proto: Literal["arp-request", "arp-reply", "ns", "na", "udp", "vrrp"]
    src: str
    dst: str
    onto: str | None = None
    mac: str | None = None


class Connection(Protocol):
    """An established TCP connection."""

    def alive(self) -> bool:
        """Whether what is sent still comes back."""
        ...


class Probe(Protocol):
    """Asks one network. The family of an address is seen from its text."""

    def refresh(self, scene: Scene) -> None:
        """Take notice that what is installed has become that of `scene`."""
        ...

    def hold(self, server: str, vip: str, form: Announcement = "request") -> None:
        """Let a server take a VIP, as keepalived would: it has the address, others no more, and it announces it.

        `form` is ARP's; an IPv6 address is announced by an unsolicited advertisement.
        """
        ...

    def drop(self, server: str, vip: str) -> None:
        """Take an address from a server again."""
        ...

    def udp(self, sender: str, dst: str, *, src: str | None = None, size: int = 64) -> Answer | None:
        """Send a datagram of `size` bytes and return the answer, if it came from `dst` itself."""
        ...

    def tcp(self, sender: str, dst: str, *, src: str | None = None) -> Answer | None:
        """Open a connection and return what its other end says."""
        ...

    def ping(self, sender: str, dst: str, *, src: str | None = None) -> bool:
        """Whether an ICMP echo request is answered by `dst` itself."""
        ...

    def connect(self, sender: str, dst: str) -> Connection:
        """Open a connection that stays. Raises ConnectionError when it cannot be opened."""
        ...

    def told(self, sender: str, dst: str, complaint: Complaint, *, at: str, src: str | None = None) -> IcmpError | None:
        """Send a datagram; when it comes to the machine `at`, let that complain. Return what the sender was told, if anything.

        The complaint quotes the packet as it came. It comes from the address that the packet was sent to, OUTSIDE's from its
        own, and is told to the sender only if what it quotes is of a flow of the sender's: RFC 5508, section 4.2.
        """
        ...

    def trace(self, sender: str, dst: str, *, src: str | None = None) -> tuple[str, ...]:
        """Find the way by traceroute: the addresses of routers, and `dst` at the end if it was reached."""
        ...

    def resolves(self, sender: str, ip: str) -> bool:
        """Whether anybody answers ARP or neighbour discovery for an address."""
        ...

    def heard(self, sender: str, frame: Frame) -> frozenset[str]:
        """Send a frame; return the machines that it was delivered to."""
        ...

    def carried(self, sender: str, make: Callable[[bytes], Sequence[bytes]]) -> frozenset[str]:
        """Send the frames that `make` makes around a mark; return the machines that every one of them was delivered to.

        The sender is a server; each frame holds the mark once, behind the end of its packet if nowhere else.
        """
        ...
