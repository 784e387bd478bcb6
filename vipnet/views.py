"""What verbs answer with: frozen objects with exactly the fields that the command line prints.

References are names, what ends in `_id` is an id, addresses are text. `warnings` says what was done otherwise than asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vipnet.packets.words import Reason, Stage

__all__ = [
    "AddressView",
    "CountedEipView",
    "Counters",
    "EipView",
    "EvidenceView",
    "GroupGuestView",
    "GroupNetworkView",
    "GroupView",
    "HostView",
    "ImportView",
    "NetworkView",
    "NicView",
    "ReservationView",
    "ServerView",
    "TraceReason",
    "TraceStepView",
    "TraceView",
    "VpcView",
    "WhyView",
]

Warnings = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcView:
    """A VPC."""

    id: str
    name: str
    cidr_block: str
    cidr_block6: str | None
    external_access_mode: str
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """A subnet; the counts are of IPv4 addresses, resting ones are free."""

    id: str
    name: str
    vpc: str
    prefix: str
    guest_ip_start: str
    guest_ip_end: str
    guest_gateway: str | None
    prefix6: str | None
    alloc_policy: str
    server_type: str
    bgp_type: str
    zone: str
    project: str
    shared: bool
    free_count: int
    used_count: int
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressView:
    """An address of a network that is not free, and who has it."""

    ip_addr: str
    owner_type: str
    owner: str
    owner_id: str | None
    notes: str
    expired_at: str | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """Whether an address of a network can be had, and if not why; `until` in ISO 8601, `nearby`: free ones beside it."""

    network: str
    ip_addr: str
    verdict: Literal["free", "held", "reserved", "resting", "outside", "leaving"]
    owner_type: str | None
    owner: str | None
    until: str | None
    reason: str
    nearby: tuple[str, ...]
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """How many objects of each kind were imported."""

    vpcs: int
    networks: int
    hosts: int
    servers: int
    nics: int
    instancegroups: int
    memberships: int
    vips: int
    eips: int
    addresses: int
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationView:
    """A reserved address; `expired_at` in ISO 8601, None: for ever."""

    ip_addr: str
    notes: str
    expired_at: str | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host."""

    id: str
    name: str
    zone: str
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NicView:
    """A server's interface; `device` is its port on the host."""

    network: str
    ip_addr: str
    ip6_addr: str | None
    mac: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """A server; `vip` holds the IPv4 VIPs of its groups, `virtual_ips` those of both families."""

    id: str
    name: str
    host: str | None
    project: str
    nics: tuple[NicView, ...]
    vip: tuple[str, ...]
    virtual_ips: tuple[str, ...]
    groups: tuple[str, ...]
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """An anti-affinity group with its VIP and EIP."""

    id: str
    name: str
    project: str
    enabled: bool
    status: str
    granularity: int
    force_dispersion: bool
    guest_count: int
    vips: tuple[str, ...]
    vip_eip: str | None
    network: str | None
    network_id: str | None
    zone: str
    vrid: int | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupGuestView:
    """A server in a group."""

    group: str
    group_id: str
    server: str
    server_id: str
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNetworkView:
    """A VIP of a group."""

    group: str
    network: str
    ip_addr: str
    ip6_addr: str | None
    eip_id: str | None
    eip_addr: str | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EipView:
    """An elastic IP; `bandwidth` in 10^6 bit/s, None: unlimited."""

    id: str
    name: str
    ip_addr: str
    network: str
    bandwidth: int | None
    bgp_type: str
    charge_type: str
    auto_dellocate: bool
    status: str
    associate_type: str | None
    associate_id: str | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What crossed the uplink by an EIP since it was made: IP packets and bytes, rx towards the VIP, tx from it.

    `lost`: the data plane forgot some of what it had counted, so this is less than there was.
    """

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    lost: bool

    def __add__(self, other: Counters) -> Counters:
        """Both together; when one has lost something, they have."""
        return Counters(
            rx_packets=self.rx_packets + other.rx_packets,
            rx_bytes=self.rx_bytes + other.rx_bytes,
            tx_packets=self.tx_packets + other.tx_packets,
            tx_bytes=self.tx_bytes + other.tx_bytes,
            lost=self.lost or other.lost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEipView(EipView):
    """An elastic IP and its counters; None: it was never mapped, or the backend counts nothing."""

    counters: Counters | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """A native object that a step of a trace rests on, in the data plane's words, and how it is found there.

    `state` is `installed`, `missing`, `different`, `absent` (its interface has not appeared) or `changed` (rules that somebody
    changed); of who holds a VIP `seen` or `presumed`. `detail`: what it has counted, or what is there instead.
    """

    target: str
    entry: str
    state: Literal["installed", "missing", "different", "absent", "changed", "seen", "presumed"]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStepView:
    """What one stage does to a packet."""

    stage: Stage
    action: str
    evidence: tuple[EvidenceView, ...]


TraceReason = Reason | Literal["not-installed"]
"""Why a packet is dropped: by the model, or because something that it needs is not installed as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """The way of a packet. `to`: servers by name, `external` or `router`, several with commas between them; None: nobody.

    `src` and `dst` are the addresses that arrive, or that it has where it is dropped; `reason` None: delivered.
    """

    verdict: Literal["delivered", "dropped"]
    to: str | None
    src: str
    dst: str
    reason: TraceReason | None
    steps: tuple[TraceStepView, ...]
    warnings: Warnings = ()
