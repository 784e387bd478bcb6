"""Why an address of a network cannot be had, or that it can."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from vipnet.addresses import format_ip, parse_ip
from vipnet.ipam import AddressPool
from vipnet.model import Address, Network
from vipnet.operations.addresses import holder, nearby
from vipnet.topology import Topology

__all__ = ["Answer", "Verdict", "iso_time", "why"]

Verdict = Literal["free", "held", "reserved", "resting", "outside", "leaving"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What there is to say of an address; `row`: who has it or had it, as far as that still counts."""

    version: int
    ip: int
    verdict: Verdict
    row: Address | None
    reason: str
    nearby: tuple[str, ...]


def why(topology: Topology, network: Network, ip: str, *, now: float) -> Answer:
    """Say whether an address can be had, and if not why and what can. Raises InputParameterError for text that is none."""
    version, number = parse_ip(ip, what="ip")
    pool = topology.pool(network.id, version)
    text = f"{format_ip(version, number)} of network {network.name}"
    if pool is None or number not in pool:
        return _answer(pool, version, number, "outside", None, _outside(network, pool, version, number))
    row = topology.address(network.id, version, number)
    if row is None:
        return _answer(pool, version, number, "free", None, f"{text} is free")
    if row.state in ("reserved", "resting") and row.until is not None and row.until <= now:
        was = "its reservation ended" if row.state == "reserved" else "its rest ended"
        return _answer(pool, version, number, "free", None, f"{text} is free: {was} at {iso_time(row.until)}")
    verdict: Verdict = "held" if row.state == "used" else row.state
    return _answer(pool, version, number, verdict, row, f"{text} {_taken(topology, network, row)}")


def iso_time(seconds: float) -> str:
    """Seconds of the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _answer(pool: AddressPool | None, version: int, ip: int, verdict: Verdict, row: Address | None, reason: str) -> Answer:
    around = () if pool is None or verdict == "free" else tuple(nearby(pool, version, ip))
    return Answer(version=version, ip=ip, verdict=verdict, row=row, reason=reason, nearby=around)


def _outside(network: Network, pool: AddressPool | None, version: int, ip: int) -> str:
    text = format_ip(version, ip)
    if pool is None:
        return f"{text} is in no range of network {network.name}, which has none for IPv{version}"
    span = f"the range {format_ip(version, pool.first)}-{format_ip(version, pool.last)} of network {network.name}"
    if ip == (network.gateway if version == 4 else network.gateway6):
        return f"{text} is the gateway of network {network.name}, outside {span}"
    return f"{text} is outside {span}"


def _taken(topology: Topology, network: Network, row: Address) -> str:
    who = holder(topology, row)
    match row.state:
        case "used":
            return f"is held by {who}"
        case "reserved":
            until = "for ever" if row.until is None else f"until {iso_time(row.until)}"
            taken = "; a VIP may take it with --reserved" if network.server_type == "guest" else ""
            return f"is held by {who} {until}{taken}"
        case "resting":
            until = "" if row.until is None else f" until {iso_time(row.until)}"
            return f"was released by {who} and rests{until}: the automatic choice passes it over, asked for by name it can be had"
        case "leaving":
            return f"was released by {who}, but the data plane has not been seen without it yet; vipnet apply finishes that"
