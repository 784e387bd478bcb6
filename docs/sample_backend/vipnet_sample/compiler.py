"""From intents to lines. Pure: no file is touched here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from vipnet.addresses import format_ip4
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)

__all__ = ["TABLES", "Line", "compile_intents"]

TABLES = ("leg", "nat", "port", "router", "segment", "uplink", "vip")
"""The files of the data plane. One of them is what one transaction can cover: a target."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: what vipnet calls an entry. `name` is unique in its table."""

    table: str
    name: str
    words: tuple[str, ...]

    @property
    def target(self) -> str:
        return self.table

    @property
    def key(self) -> str:
        return f"{self.table} {self.name}"

    @property
    def text(self) -> str:
        return " ".join((self.table, self.name, *self.words))


def compile_intents(intents: Iterable[Intent]) -> dict[str, Line]:
    """A line for each intent, so that the lines of a set are the union of each one's."""
    return {line.key: line for line in map(_line, intents)}


def _line(intent: Intent) -> Line:
    match intent:
        case SubnetSwitching():
            return Line("segment", intent.network_id, (intent.vpc_id,))
        case SubnetRouting():
            return Line("leg", intent.network_id, (intent.vpc_id, format_ip4(intent.gateway), str(intent.length)))
        case VpcRouting():
            return Line("router", intent.vpc_id, (intent.mode,))
        case UplinkSwitching():
            address = "-" if intent.uplink.address is None else format_ip4(intent.uplink.address[0])
            return Line("uplink", intent.uplink.name, (address, "masquerade" if intent.masquerade else "-"))
        case PortSecurity():
            ips, peers = _list(map(format_ip4, intent.ips)), _list(intent.vrrp_peers)
            return Line("port", intent.nic_id, (intent.network_id, intent.device, intent.mac, ips, peers))
        case VipBinding():
            members = _list(member.device for member in intent.members)
            return Line("vip", intent.vip_id, (intent.network_id, format_ip4(intent.ip), members))
        case EipMapping():
            return Line("nat", intent.eip_id, (intent.vpc_id, format_ip4(intent.eip), format_ip4(intent.vip)))
        case _:
            assert_never(intent)


def _list(words: Iterable[str]) -> str:
    return ",".join(words) or "-"
