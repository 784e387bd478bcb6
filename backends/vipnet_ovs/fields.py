"""What a packet carries through the pipeline: every bit of metadata and registers, allotted here and nowhere else.

OpenFlow 1.5 reports registers in pairs, `xreg0` for `reg0` and `reg1`, so that is how they are matched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from vipnet_ovs.wire import oxm
from vipnet_ovs.wire.oxm import Field

__all__ = [
    "FLAGS",
    "FROM_LEG",
    "FROM_SUBNET",
    "GATEWAY_KEY",
    "INSIDE",
    "MASQUERADES",
    "NEXT_HOP",
    "OVERSIZED",
    "PORT",
    "ROUTER_MAC",
    "SEGMENT",
    "SLOTS",
    "SOURCE_ZONE",
    "TO",
    "TRANSLATES",
    "UPLINK",
    "VPC",
    "WATCHED",
    "ZONE",
    "Match",
    "Slot",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Slot:
    """Bits of a pipeline field. `field` and `shift` are where a match finds them, `part` and `at` where an action sets them."""

    name: str
    field: Field
    shift: int
    width: int
    part: Field
    at: int
    says: str

    @property
    def mask(self) -> int:
        """Its bits where a match finds them."""
        return ((1 << self.width) - 1) << self.shift

    @property
    def part_mask(self) -> int:
        """Its bits where an action sets them."""
        return ((1 << self.width) - 1) << self.at


Value: TypeAlias = int | tuple[int, int]
"""What a match wants: a number, or one and the mask of its bits that count."""

Match: TypeAlias = Mapping[Slot | Field, Value]
"""What a flow matches."""


def _whole(name: str, field: Field, says: str) -> Slot:
    return Slot(name, field, 0, field.width, field, 0, says)


def _flag(bit: int, name: str, says: str) -> Slot:
    return Slot(name, oxm.XREG3, bit, 1, oxm.REG7, bit, says)


VPC: Final = _whole("vpc", oxm.METADATA, "the VPC that the packet is in, a digest of its id; 0: none yet")
SEGMENT: Final = _whole("segment", oxm.XREG0, "the segment that it is on, a digest of the network's id")
PORT: Final = _whole("port", oxm.XREG1, "the server's port that it came from, a digest of the device")
TO: Final = _whole("to", oxm.XREG2, "the port that it goes to, likewise; GATEWAY_KEY: the router; 0: not known")
ZONE: Final = Slot("zone", oxm.XREG3, 32, 16, oxm.REG6, 0, "the VPC's conntrack zone: EIPs and VIPs")
SOURCE_ZONE: Final = Slot("source_zone", oxm.XREG3, 48, 16, oxm.REG6, 16, "its other zone: hairpins and what is masqueraded")
FLAGS: Final = Slot("flags", oxm.XREG3, 0, 32, oxm.REG7, 0, "all flags")
INSIDE: Final = _flag(0, "inside", "it comes from a server and has left its VPC's router")
TRANSLATES: Final = _flag(1, "translates", "the VPC's access mode lets EIPs in and VIPs out")
MASQUERADES: Final = _flag(2, "masquerades", "the VPC's access mode lets servers out")
FROM_SUBNET: Final = _flag(3, "from_subnet", "it came in by an EIP with a source that is an address of the VPC")
FROM_LEG: Final = _flag(4, "from_leg", "it came in by the physical leg of a classic network")
OVERSIZED: Final = _flag(5, "oversized", "it is larger than such a message is without extension headers")
WATCHED: Final = _flag(6, "watched", "an agent is there, so who holds a VIP is known")
UPLINK: Final = Slot("uplink", oxm.XREG4, 32, 32, oxm.REG8, 0, "the uplink that it came in by or leaves by, its index + 1")
NEXT_HOP: Final = Slot("next_hop", oxm.XREG4, 0, 32, oxm.REG9, 0, "the address whose MAC it needs on the uplink")
ROUTER_MAC: Final = Slot("router_mac", oxm.XREG5, 0, 48, oxm.XREG5, 0, "the MAC of the VPC's router on uplinks")

SLOTS: Final = (
    VPC,
    SEGMENT,
    PORT,
    TO,
    ZONE,
    SOURCE_ZONE,
    FLAGS,
    INSIDE,
    TRANSLATES,
    MASQUERADES,
    FROM_SUBNET,
    FROM_LEG,
    OVERSIZED,
    WATCHED,
    UPLINK,
    NEXT_HOP,
    ROUTER_MAC,
)

GATEWAY_KEY: Final = 1
"""What `TO` says of the router; digests of devices are never that small."""
