"""The words of packet questions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vipnet.addresses import format_ip
from vipnet.intents import Intent

__all__ = ["LEG", "OUTSIDE", "ROUTER", "Delivered", "Dropped", "Packet", "Protocol", "Reason", "Stage", "Step", "Verdict"]

Protocol = Literal["tcp", "udp", "icmp", "vrrp", "arp", "other"]
"""`arp` stands for ARP and for neighbour discovery: `src` announces or asks, `dst` is asked for."""

Stage = Literal[
    "port-security",  # at the server's port: is it the port's own MAC and address?
    "vrrp-guard",  # VRRP goes to members of the sender's groups alone
    "segment",  # to every port of the segment
    "leg",  # at the physical leg of a classic network
    "uplink",  # at an uplink, in or out
    "router",  # in the VPC's router
    "dnat",  # an EIP becomes its VIP
    "hairpin",  # the source becomes the gateway, within the VPC
    "snat",  # a VIP becomes its EIP
    "masquerade",  # a server becomes the uplink's address
    "holder",  # who has the VIP now
    "deliver",  # at the receiver
]

Reason = Literal[
    "port-security",  # not the port's own MAC or address
    "forbidden-frame",  # of a kind that no port may send: tagged, a router advertisement, ...
    "not-addressed-to-port",  # the frame came to a port whose address it does not carry
    "unmapped",  # a public address that no mapping answers for
    "private-source",  # it would cross an uplink with a private address, or came in with one of its VPC
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

LEG = "leg:"
"""Where a frame from the physical leg of a classic network starts: this and the network's id."""


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
    """What one stage did, and the intents that it rests on, the one that decided first.

    `src` and `dst` are the packet's as it comes to the stage; `to` is the receiver that a step is about, if it is.
    """

    stage: Stage
    action: str
    intents: tuple[Intent, ...] = ()
    src: int = 0
    dst: int = 0
    to: str = ""

    @property
    def evidence(self) -> str:
        """The id of the intent that decided ("": none did)."""
        return self.intents[0].id if self.intents else ""

    @property
    def is_drop(self) -> bool:
        """Whether the packet ends here."""
        return self.action.startswith("dropped")


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
