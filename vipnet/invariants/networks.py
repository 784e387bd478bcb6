"""Networks in their VPCs, NICs in their networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from vipnet.addresses import format_ip4, format_ip6
from vipnet.errors import InputParameterError
from vipnet.invariants.wording import about
from vipnet.model import DEFAULT_VPC, Network, Nic, Server, Vpc
from vipnet.operations.lookup import check_visible
from vipnet.operations.prefixes import gateway_of, inner_prefix4, inner_prefix6, range4
from vipnet.topology import Topology

__all__ = ["check_networks", "check_nics", "check_ranges"]


def check_networks(topology: Topology) -> None:
    """Raise InputParameterError for a network that its VPC could not have."""
    for network in topology.all(Network):
        with about(network):
            _check_network(topology.at(Vpc, network.vpc_id), network)
    for vpc in topology.all(Vpc):
        _check_disjoint(vpc, topology.by(Network, "vpc_id", vpc.id))


def _check_network(vpc: Vpc, network: Network) -> None:
    if network.server_type == "eip" and vpc.id != DEFAULT_VPC:
        raise InputParameterError(f"server type eip does not go with vpc {vpc.name}; EIP networks live in vpc {DEFAULT_VPC}")
    four = inner_prefix4(vpc, network.name, network.prefix)
    range4(vpc, network.server_type, four, format_ip4(network.start), format_ip4(network.end))
    if network.gateway is not None:
        gateway_of(vpc, four, format_ip4(network.gateway))
    elif vpc.id != DEFAULT_VPC:
        raise InputParameterError(f"gateway is missing; a network of vpc {vpc.name} has one, like {four[1]}")
    _check_six(network, inner_prefix6(vpc, network.name, network.prefix6))


def _check_six(network: Network, six: IPv6Network | None) -> None:
    given = (network.start6, network.end6, network.gateway6)
    due = (None, None, None) if six is None else (int(six[2]), int(six[-1]) - 2, int(six[1]))
    for what, value, right in zip(("start6", "end6", "gateway6"), given, due, strict=True):
        if value != right:
            had, wanted = ("null" if ip is None else format_ip6(ip) for ip in (value, right))
            raise InputParameterError(f"{what} {had} does not go with prefix6 {network.prefix6 or 'null'}; use {wanted}")


def check_ranges(network: Network) -> None:
    """Raise InputParameterError for a range that holds no address: no topology can be made with it."""
    if network.end < network.start:
        text = f"{format_ip4(network.start)}-{format_ip4(network.end)}"
        raise InputParameterError(f"network {network.name}: range {text} is empty; give its first address and its last")
    if network.start6 is not None and network.end6 is not None and network.end6 < network.start6:
        text = f"{format_ip6(network.start6)}-{format_ip6(network.end6)}"
        raise InputParameterError(f"network {network.name}: range {text} is empty; give its first address and its last")


def _check_disjoint(vpc: Vpc, networks: Sequence[Network]) -> None:
    spans = sorted((IPv4Network(network.prefix), network.name) for network in networks)
    for (one, first), (other, second) in itertools.pairwise(spans):
        if one.overlaps(other):
            raise InputParameterError(
                f"prefix {other} of network {second} overlaps {one} of network {first} in vpc {vpc.name}; use one that is free"
            )


def check_nics(topology: Topology) -> None:
    """Raise InputParameterError for a NIC that its server could not have."""
    for nic in topology.all(Nic):
        server, network = topology.at(Server, nic.server_id), topology.at(Network, nic.network_id)
        with about(nic):
            check_visible(network, server.project, f"server {server.name}")
            if network.server_type != "guest":
                raise InputParameterError(
                    f"network {network.name} is for EIPs; give server {server.name} one of server type guest"
                )
            _check_families(server, network, nic)


def _check_families(server: Server, network: Network, nic: Nic) -> None:
    if (nic.ip6 is None) == (network.prefix6 is None):
        return
    if nic.ip6 is None:
        raise InputParameterError(f"server {server.name} has no IPv6 address in dual-stack network {network.name}; give it one")
    raise InputParameterError(f"ip6 {format_ip6(nic.ip6)} is in network {network.name}, which has no prefix6; use null")
