"""The rules of the host's namespace: what a port may send, what it is sent, what a physical leg may not claim. Pure.

Each port has chains of ebtables of its own: `VIPNET-G-` what it sends, `VIPNET-T-` what is sent to it, `VIPNET-V-` its VRRP. They
judge frames by MAC and address; what IPv6 says beyond these, `discovery` has judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vipnet_iptables.dispatch import dispatch
from vipnet_iptables.entries import Claim, Guard, HostEntry, Leg, Outer, Port
from vipnet_iptables.tables import Layout, Table

__all__ = ["EB_FILTER", "EB_NAT", "HOST_TABLES", "chains_of_port", "lay_out"]

EB_NAT: Final = Table("bridge", "nat")
EB_FILTER: Final = Table("bridge", "filter")
HOST_TABLES: Final = (EB_FILTER, EB_NAT)

def lay_out(entries: Iterable[HostEntry]) -> dict[Table, Layout]:
    """The rules that follow from entries, of which there are some; no order among them matters."""
    found = list(entries)
    if not found:
        return {table: Layout() for table in HOST_TABLES}
    ports = {entry.device: entry for entry in found if isinstance(entry, Port)}
    legs = {entry.device: entry.network for entry in found if isinstance(entry, Leg)}
    outers = {entry.device for entry in found if isinstance(entry, Outer)}
    bridges = sorted(entry.bridge for entry in found if isinstance(entry, Guard))
    claims: dict[str, list[str]] = defaultdict(list)
    for entry in found:
        if isinstance(entry, Claim):
            claims[entry.network].append(entry.ip)
    claims = {network: sorted(claims.get(network, ())) for network in sorted({*claims, *legs.values()})}
    return {
        EB_FILTER: _delivering(ports, outers, bridges),
        EB_NAT: _sending(ports, legs, claims),
    }


def chains_of_port(port: Port) -> dict[tuple[Table, str], Sequence[str]]:
    """The chains that are a port's own."""
    device = port.device
    return {
        (EB_NAT, f"VIPNET-G-{device}"): list(_sent(port)),
        (EB_FILTER, f"VIPNET-T-{device}"): list(_received(port)),
        (EB_FILTER, f"VIPNET-V-{device}"): [*(f"-o {peer} -j RETURN" for peer in port.peers), "-j DROP"],
    }


def _of_ports(ports: dict[str, Port], table: Table) -> dict[str, Sequence[str]]:
    chains = (item for port in ports.values() for item in chains_of_port(port).items())
    return {chain: rules for (where, chain), rules in chains if where == table}


# ----------------------------------------------------------------------------------------------------- what comes from ports


def _sending(ports: dict[str, Port], legs: dict[str, str], claims: dict[str, list[str]]) -> Layout:
    targets = {device: f"-j VIPNET-G-{device}" for device in ports}
    targets |= {device: f"-j VIPNET-C-{net}" for device, net in legs.items()}
    chains = dispatch("VIPNET-PRE", targets, lambda device: f"-i {device}") | _of_ports(ports, EB_NAT)
    for network, ips in claims.items():
        chains[f"VIPNET-C-{network}"] = list(_claiming(ips))
    return Layout(chains, {}, {"PREROUTING": "VIPNET-PRE"})


def _sent(port: Port) -> Iterator[str]:
    mac = port.mac
    for ip in port.ips:
        yield f"-p ARP -s {mac} --arp-htype 1 --arp-ptype 0x800 --arp-ip-src {ip} --arp-mac-src {mac} -j RETURN"
        yield f"-p IPv4 -s {mac} --ip-src {ip} -j RETURN"
    for ip6 in port.ip6s:
        yield f"-p IPv6 -s {mac} --ip6-src {ip6} -j RETURN"
    if port.ip6s:
        yield f"-p IPv6 -s {mac} --ip6-src :: --ip6-proto 58 --ip6-icmp-type 135/0 -j RETURN"
    yield "-j DROP"


def _claiming(ips: Sequence[str]) -> Iterator[str]:
    yield "-p 802_1Q -j DROP"
    yield "-p S-TAG -j DROP"
    yield "-p IPv4 --ip-proto 112 -j DROP"
    yield "-p IPv6 --ip6-proto 112 -j DROP"
    for ip in ips:
        if ":" in ip:
            yield f"-p IPv6 --ip6-src {ip} -j DROP"
        else:
            yield f"-p ARP --arp-ip-src {ip} -j DROP"
            yield f"-p IPv4 --ip-src {ip} -j DROP"


# ----------------------------------------------------------------------------------------------------- what goes to ports


def _delivering(ports: dict[str, Port], outers: set[str], bridges: Sequence[str]) -> Layout:
    deliver = {device: f"-j VIPNET-T-{device}" for device in ports}
    inner = dict.fromkeys(ports.keys() | outers | {"vnr+", "vnl+"}, "-j DROP")
    vrrp = {device: f"-j VIPNET-V-{device}" for device in ports}
    chains: dict[str, Sequence[str]] = {
        "VIPNET-FORWARD": [
            "-p IPv4 --ip-proto 112 -j VIPNET-VRRP",
            "-p IPv6 --ip6-proto 112 -j VIPNET-VRRP",
            "-d Multicast -j RETURN",
            "-p IPv4 -j VIPNET-TO",
            "-p IPv6 -j VIPNET-TO",
        ],
        "VIPNET-BRIDGES": [f"-i {bridge} -j RETURN" for bridge in bridges],
        **dispatch("VIPNET-IN", inner, lambda device: f"-i {device}"),
        **dispatch("VIPNET-VRRP", vrrp, lambda device: f"-i {device}"),
        **dispatch("VIPNET-TO", deliver, lambda device: f"-o {device}"),
        **_of_ports(ports, EB_FILTER),
    }
    return Layout(chains, {}, {"FORWARD": "VIPNET-FORWARD", "INPUT": "VIPNET-IN"})


def _received(port: Port) -> Iterator[str]:
    for ip in port.ips:
        yield f"-p IPv4 -d {port.mac} --ip-dst {ip} -j RETURN"
    for ip6 in port.ip6s:
        yield f"-p IPv6 -d {port.mac} --ip6-dst {ip6} -j RETURN"
    yield "-j DROP"
