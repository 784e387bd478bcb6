"""Native objects, one class each: what the rules of a namespace follow from.

Those that may be a million are named tuples: made five times faster than frozen dataclasses, and compared in C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from vipnet.addresses import format_ip4
from vipnet_kernel import names
from vipnet_kernel.entries import LinkEntry

__all__ = [
    "DIRECTIONS",
    "HOST_TARGET",
    "Claim",
    "Count",
    "Direction",
    "Guard",
    "HostEntry",
    "Inside",
    "Kind",
    "Leg",
    "Nat",
    "NativeEntry",
    "Outer",
    "Port",
    "RouterEntry",
    "RuleEntry",
    "Skeleton",
    "Torn",
    "Transit",
    "Way",
    "target_of",
]

Direction = Literal["rx", "tx"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("rx", "tx")

Kind = Literal["gateway", "eip", "distgw", "eip-distgw", "none"]
"""The kinds of a namespace's fixed rules: those of routers are called as the access mode."""


def target_of(namespace: str) -> str:
    """The target of the rules of a namespace ("": the host's)."""
    return f"iptables:{namespace}"


HOST_TARGET: Final = target_of("")


class _OfHost:
    __slots__ = ()

    @property
    def target(self) -> str:
        return HOST_TARGET


@dataclass(frozen=True, slots=True)
class Guard(_OfHost):
    """A bridge under the rules of the host's namespace. They belong to all bridges together; `intact` says how they are."""

    bridge: str
    intact: bool = True

    @property
    def key(self) -> str:
        return f"guard {self.bridge}"

    @property
    def text(self) -> str:
        return f"rules for bridge {self.bridge}{'' if self.intact else ' (changed by somebody)'}"


@dataclass(frozen=True, slots=True)
class Port(_OfHost):
    """What a port may send and is sent; `peers`: the ports that its VRRP reaches; `intact`: its chains are as they should be."""

    device: str
    mac: str
    ips: tuple[str, ...]
    ip6s: tuple[str, ...]
    peers: tuple[str, ...]
    intact: bool = True

    @property
    def key(self) -> str:
        return f"port {self.device}"

    @property
    def text(self) -> str:
        addresses = " ".join((*self.ips, *self.ip6s))
        peers = f", VRRP to {' '.join(self.peers)}" if self.peers else ""
        return f"chains of {self.device}: {self.mac} {addresses}{peers}{'' if self.intact else ' (changed by somebody)'}"


@dataclass(frozen=True, slots=True)
class Leg(_OfHost):
    """A physical leg of a classic network, `network` the digits of its id: what is ours nobody claims from there."""

    device: str
    network: str

    @property
    def key(self) -> str:
        return f"leg {self.device}"

    @property
    def text(self) -> str:
        return f"leg {self.device} of {self.network}"


@dataclass(frozen=True, slots=True)
class Claim(_OfHost):
    """An address of a classic network that nobody beyond a leg may claim; IPv4 or IPv6."""

    network: str
    ip: str

    @property
    def key(self) -> str:
        return f"claim {self.network} {self.ip}"

    @property
    def text(self) -> str:
        return f"claim {self.ip} in {self.network}"


@dataclass(frozen=True, slots=True)
class Outer(_OfHost):
    """A device whose frames never reach the host itself."""

    device: str

    @property
    def key(self) -> str:
        return f"outer {self.device}"

    @property
    def text(self) -> str:
        return f"outer {self.device}"


class _OfRouter:
    __slots__ = ()

    namespace: str

    @property
    def target(self) -> str:
        return target_of(self.namespace)


@dataclass(frozen=True, slots=True)
class Skeleton(_OfRouter):
    """The fixed rules of one router's or gateway's namespace; `kind` None: not as any kind has them."""

    namespace: str
    kind: Kind | None

    @property
    def key(self) -> str:
        return f"rules {self.namespace}"

    @property
    def text(self) -> str:
        return f"rules of {self.namespace}: {self.kind or 'changed by somebody'}"


@dataclass(frozen=True, slots=True)
class Way(_OfRouter):
    """An uplink by which EIPs of a router come and go."""

    namespace: str
    uplink: int

    @property
    def key(self) -> str:
        return f"way {self.namespace} {self.uplink}"

    @property
    def text(self) -> str:
        return f"way by {names.uplink_leg(self.uplink)} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class Inside(_OfRouter):
    """A subnet's leg: what comes to it by an EIP from within gets the gateway's address as its source."""

    namespace: str
    leg: str
    gateway: str

    @property
    def key(self) -> str:
        return f"inside {self.namespace} {self.leg}"

    @property
    def text(self) -> str:
        return f"hairpins by {self.leg} of {self.namespace} from {self.gateway}"


@dataclass(frozen=True, slots=True)
class Transit(_OfRouter):
    """The address as which servers leave a router for the gateway."""

    namespace: str
    address: str

    @property
    def key(self) -> str:
        return f"transit {self.namespace}"

    @property
    def text(self) -> str:
        return f"transit of {self.namespace} from {self.address}"


class Nat(NamedTuple):
    """The 1:1 translation between an EIP and a VIP by an uplink, what lets its packets pass, and the route that answers ARP.

    `uplink` is its index, `rate` what it may send and receive, in bytes a second each; 0: whatever it likes.
    """

    namespace: str
    eip: int
    vip: int
    uplink: int
    rate: int = 0

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"{self.namespace} eip {format_ip4(self.eip)}"

    @property
    def text(self) -> str:
        rate = f" limited to {self.rate} bytes/second" if self.rate else ""
        return f"{format_ip4(self.eip)} <-> {format_ip4(self.vip)} by {names.uplink_leg(self.uplink)}{rate} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class Torn(_OfRouter):
    """What is found of a translation that is not whole: the rules about its EIP, as iptables lists them."""

    namespace: str
    eip: int
    rules: tuple[str, ...] = field(compare=False)

    @property
    def key(self) -> str:
        return f"{self.namespace} eip {format_ip4(self.eip)}"

    @property
    def text(self) -> str:
        return f"{format_ip4(self.eip)} in {self.namespace}, not whole: {'; '.join(self.rules) or 'no rules'}"


class Count(NamedTuple):
    """The counter of an EIP in one direction, of `owner`. `vip` (of what is sent, else 0) and `uplink` say where it stands.

    `lost`: as it is made, it is not the first one of its mapping.
    """

    namespace: str
    direction: Direction
    eip: int
    vip: int
    uplink: int
    owner: str
    lost: bool = False

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"{self.namespace} {self.direction} {format_ip4(self.eip)}"

    @property
    def text(self) -> str:
        return f"count {self.direction} of {format_ip4(self.eip)} for {self.owner} in {self.namespace}"

    @property
    def comment(self) -> str:
        """By which it says whose it is, and whether something of what it counted is lost."""
        eip = f"-{format_ip4(self.eip)}" if self.direction == "tx" else ""
        return f"{self.owner}{eip}{'-lost' if self.lost else ''}"


HostEntry = Guard | Port | Leg | Claim | Outer
RouterEntry = Skeleton | Way | Inside | Transit | Nat | Torn | Count
RuleEntry = HostEntry | RouterEntry
NativeEntry = LinkEntry | RuleEntry
