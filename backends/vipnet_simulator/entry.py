"""What the simulator installs: whole intents; and the lines of a state file that no longer say one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from vipnet.addresses import format_ip4, format_ip6
from vipnet.intents import (
    EipMapping,
    Intent,
    Member,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet.model import DEFAULT_VPC

__all__ = ["UPLINKS", "DamagedLine", "Installed", "SimulatorEntry"]

UPLINKS = "uplinks"
"""The target of what belongs to no VPC."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An intent that is in force."""

    intent: Intent

    @property
    def key(self) -> str:
        return self.intent.id

    @property
    def target(self) -> str:
        """A VPC is one target, so that one verb's change usually is one transaction."""
        if isinstance(self.intent, UplinkSwitching):
            return UPLINKS
        return "classic" if self.intent.vpc_id == DEFAULT_VPC else f"vpc:{self.intent.vpc_id}"

    @property
    def text(self) -> str:
        return _text(self.intent)


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line of the state file that is no entry: nothing is in force by it. `key` is its own where it can be shown."""

    key: str
    line: bytes
    reason: str

    @property
    def target(self) -> str:
        return "damaged"

    @property
    def text(self) -> str:
        return f"damaged line ({self.reason}): {ascii(self.line[:60])[1:]}"


SimulatorEntry = Installed | DamagedLine


def _text(intent: Intent) -> str:
    match intent:
        case SubnetSwitching():
            return f"segment {intent.network_id}{_leg(intent)}"
        case SubnetRouting():
            return f"gateway {_gateways(intent)} of segment {intent.network_id}"
        case VpcRouting():
            ways = _words(uplink.name for uplink in intent.uplinks)
            return f"router of VPC {intent.vpc_id}, access mode {intent.mode}, uplinks {ways}"
        case UplinkSwitching():
            return f"uplink {_uplink(intent.uplink)}{', masquerades' if intent.masquerade else ''}"
        case PortSecurity():
            addresses, peers = _addresses(intent.ips, intent.ip6s), _words(intent.vrrp_peers)
            return f"port {intent.device} is {intent.mac} {addresses}, VRRP to {peers}"
        case VipBinding():
            return f"VIP {_addresses((intent.ip,), _some(intent.ip6))} may be held by {_holders(intent.members)}"
        case EipMapping():
            limit = "" if intent.bandwidth is None else f", {intent.bandwidth} Mbit/s"
            way = "" if intent.uplink is None else f" by {intent.uplink.name}"
            return f"EIP {format_ip4(intent.eip)} is {format_ip4(intent.vip)}{way}{limit}"
        case _:
            assert_never(intent)


def _leg(intent: SubnetSwitching) -> str:
    if intent.leg is None:
        return ""
    return f" with leg {intent.leg}" + (f" in VLAN {intent.vlan_id}" if intent.vlan_id else "")


def _gateways(intent: SubnetRouting) -> str:
    gateway = f"{format_ip4(intent.gateway)}/{intent.length}"
    return gateway if intent.gateway6 is None else f"{gateway} {format_ip6(intent.gateway6)}/{intent.length6}"


def _uplink(uplink: Uplink) -> str:
    if uplink.address is None:
        return f"{uplink.name} by {uplink.device}"
    ip, length = uplink.address
    return f"{uplink.name} by {uplink.device} with {format_ip4(ip)}/{length}"


def _holders(members: tuple[Member, ...]) -> str:
    return _words(member.device for member in members)


def _addresses(ips: tuple[int, ...], ip6s: tuple[int, ...]) -> str:
    return _words([*map(format_ip4, ips), *map(format_ip6, ip6s)])


def _some(ip: int | None) -> tuple[int, ...]:
    return () if ip is None else (ip,)


def _words(words: Iterable[str]) -> str:
    return " ".join(words) or "none"
