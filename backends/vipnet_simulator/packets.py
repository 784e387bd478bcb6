"""The words of packet questions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vipnet.addresses import format_ip

__all__ = ["OUTSIDE", "ROUTER", "Delivered", "Dropped", "Packet", "Protocol", "Reason", "Stage", "Step", "Verdict"]

Protocol = Literal["tcp", "udp", "icmp", "vrrp", "arp", "other"]
"""`arp` stands for ARP and for neighbour discovery: `src` announces or asks, `dst` is asked for."""

Stage = Literal["port-security", "vrrp-guard", "segment", "leg", "uplink", "router", "nat", "holder", "deliver"]

Reason = Literal[
    "port-security",  # not the port's own MAC or address
    "forbidden-frame",  # of a kind that no port may send: tagged, a router advertisement, ...
    "not-addressed-to-port",  # the frame came to a port whose address it does not carry
    "unmapped",  # a public address that no mapping answers for
    "private-source",  # it would leave an uplink with a private address
    "no-route",  # nothing routes there
    "no-holder",  # on the segment, but nobody has the address now
    "vrrp-guard",  # VRRP to anybody but members of the sender's groups
    "vpc-mode",  # the VPC's access mode forbids it
    "other-vpc",  # a private address of another VPC
    "closed",  # the port or the way in does not exist, or is shut
]

OUTSIDE = "outside"
"""Beyond an uplink or a leg."""

ROUTER = "router"
"""A VPC's router itself: it answers for gateways and EIPs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of a new flow, as it leaves its sender.

    `mac` is the source MAC if it is not the port's own; `onto` the NIC to whose MAC the frame is addressed, whatever
    the address in it says (None: to whom a host would send it), or it is addressed to `everyone` on the segment. `dst` of
    VRRP's multicast is `VRRP_GROUP`. `claims` and `named` are what it says beside about its sender: that it has these
    addresses and these MACs, as neighbour discovery and ARP do.
    """

    src: int
    dst: int
    proto: Protocol
    sport: int = 0
    dport: int = 0
    version: Literal[4, 6] = 4
    mac: str | None = None
    onto: str | None = None
    everyone: bool = False
    claims: tuple[int, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def gratuitous(self) -> bool:
        """Whether it announces its own sender."""
        return self.proto == "arp" and self.src == self.dst

    @property
    def text(self) -> str:
        return f"{self.proto} {format_ip(self.version, self.src)} > {format_ip(self.version, self.dst)}"


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage did, and the key of the entry that made it do so ("": none did)."""

    stage: Stage
    action: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """It arrived: `to` names NICs, or OUTSIDE, or ROUTER; `src` and `dst` are what the receiver sees."""

    to: tuple[str, ...]
    src: int
    dst: int
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """It did not arrive."""

    reason: Reason
    steps: tuple[Step, ...] = ()


Verdict = Delivered | Dropped
