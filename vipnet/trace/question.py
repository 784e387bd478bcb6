"""From what is typed to a packet, and where it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

from vipnet.addresses import format_ip, parse_ip4
from vipnet.config import Config
from vipnet.errors import InputParameterError, MissingParameterError
from vipnet.model import DEFAULT_VPC, Network, Nic, Server
from vipnet.operations.lookup import find, number
from vipnet.packets import LEG, OUTSIDE, VRRP_GROUP, Packet, Protocol
from vipnet.topology import Topology

__all__ = ["EXTERNAL", "PROTOCOLS", "Question", "ask"]

Version = Literal[4, 6]

EXTERNAL: Final = "external"
PROTOCOLS: Final[dict[str, Protocol]] = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "arp": "arp", "112": "vrrp"}

_STRANGER: Final = {4: 0xC6336401, 6: 0x20010DB8FFFF << 80 | 1}
"""Some machine beyond the uplinks: 198.51.100.1 and 2001:db8:ffff::1, of what RFC 5737 and RFC 3849 keep for examples."""


@dataclass(frozen=True, slots=True)
class Question:
    """A packet, and where it starts, as a Journey takes it."""

    packet: Packet
    from_: str


def ask(
    topology: Topology,
    config: Config,
    *,
    from_: str,
    src: str | None,
    dst: str | None,
    proto: str,
    sport: int | None,
    dport: int | None,
) -> Question:
    """Make the packet that is asked about. Raises a RefusedError that names what is wrong with which option."""
    if proto not in PROTOCOLS:
        raise InputParameterError(f"proto {proto!r} is not known; use one of {', '.join(PROTOCOLS)}")
    source = None if src is None else _parsed(src, what="src")
    target = None if dst is None else _parsed(dst, what="dst")
    version = _version(source, target)
    if target is None and proto != "112":
        raise MissingParameterError(f"trace of {proto} needs dst, the address that the packet is sent to")
    to = VRRP_GROUP[version] if target is None else target[1]
    own, start = _start(topology, config, from_, version, None if source is None else source[1], to)
    packet = Packet(
        src=own,
        dst=to,
        proto=PROTOCOLS[proto],
        sport=_port(sport, proto, what="sport"),
        dport=_port(dport, proto, what="dport"),
        version=version,
    )
    return Question(packet, start)


def _parsed(text: str, *, what: str) -> tuple[Version, int]:
    if ":" not in text:
        return 4, parse_ip4(text, what=what)
    try:
        address = IPv6Address(text)
    except (AddressValueError, ValueError):
        address = None
    if address is None or address.scope_id or address.ipv4_mapped:
        raise InputParameterError(f"{what} {text!r} is no IPv6 address; write it like 2001:db8::5")
    return 6, int(address)


def _version(source: tuple[Version, int] | None, target: tuple[Version, int] | None) -> Version:
    if source is None or target is None:
        known = source or target
        return 4 if known is None else known[0]
    if source[0] != target[0]:
        texts = (format_ip(*source), format_ip(*target))
        raise InputParameterError(f"src {texts[0]} and dst {texts[1]} are of different IP versions; give two of one version")
    return source[0]


def _port(value: int | None, proto: str, *, what: str) -> int:
    if value is None:
        return 0
    if proto not in ("tcp", "udp"):
        raise InputParameterError(f"{what} {value} has no meaning for proto {proto}; leave it out, or use tcp or udp")
    return number(value, what=what, least=1, most=65535)


def _start(
    topology: Topology, config: Config, from_: str, version: Version, src: int | None, dst: int
) -> tuple[int, str]:
    """The source address, and where the packet starts."""
    if from_ == EXTERNAL:
        return _STRANGER[version] if src is None else src, _way_in(topology, config, version, dst)
    server = find(topology, Server, from_)
    nics = sorted(topology.by(Nic, "server_id", server.id), key=lambda nic: nic.position)
    if not nics:
        raise InputParameterError(f"server {server.name} has no NIC to send from; name another server, or {EXTERNAL}")
    nic = _nic(topology, nics, version, src, dst)
    own = src if src is not None else nic.ip if version == 4 else nic.ip6
    if own is None:
        raise InputParameterError(f"server {server.name} has no IPv6 address to send from; give src, or an IPv4 dst")
    return own, nic.id


def _nic(topology: Topology, nics: Sequence[Nic], version: Version, src: int | None, dst: int) -> Nic:
    """The NIC that has the source, or is in its network, or in that of the destination; else the first."""
    ways = (
        *(nic for nic in nics if src is not None and src in (nic.ip, nic.ip6)),
        *(nic for nic in nics if src is not None and _is_in(topology.at(Network, nic.network_id), version, src)),
        *(nic for nic in nics if _is_in(topology.at(Network, nic.network_id), version, dst)),
    )
    return next(iter(ways), nics[0])


def _way_in(topology: Topology, config: Config, version: Version, dst: int) -> str:
    """By the physical leg of the classic network that has the destination, if one has; else by the uplinks."""
    networks = (network for name in config.classic for network in topology.by(Network, "name", name))
    legs = (one.id for one in networks if one.vpc_id == DEFAULT_VPC and _is_in(one, version, dst))
    return next((LEG + id for id in legs), OUTSIDE)


def _is_in(network: Network, version: Version, ip: int) -> bool:
    if version == 4:
        return IPv4Address(ip) in IPv4Network(network.prefix)
    return network.prefix6 is not None and IPv6Address(ip) in IPv6Network(network.prefix6)
