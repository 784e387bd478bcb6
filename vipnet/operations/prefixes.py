"""What prefix, range and gateway a network may have in its VPC."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from vipnet.addresses import format_ip4, parse_ip4, parse_prefix4, parse_prefix6
from vipnet.errors import InputParameterError
from vipnet.model import DEFAULT_VPC, Ip4, Vpc

__all__ = ["gateway_of", "inner_prefix4", "inner_prefix6", "range4"]


def inner_prefix4(vpc: Vpc, name: str, prefix: str) -> IPv4Network:
    """Parse the IPv4 prefix of a network of a VPC, checking its length and that it is inside. Raises InputParameterError."""
    four = parse_prefix4(prefix, what="prefix")
    if not 12 <= four.prefixlen <= 30:
        raise InputParameterError(f"prefix {prefix} of network {name} has length {four.prefixlen}; use 12 to 30")
    if not four.subnet_of(IPv4Network(vpc.cidr)):
        raise InputParameterError(f"prefix {prefix} of network {name} is outside {vpc.cidr} of vpc {vpc.name}")
    return four


def inner_prefix6(vpc: Vpc, name: str, prefix6: str | None) -> IPv6Network | None:
    """Parse the IPv6 prefix of a network of a VPC, if it has one, likewise."""
    if prefix6 is None:
        return None
    six = parse_prefix6(prefix6, what="prefix6")
    if not 48 <= six.prefixlen <= 125:  # in a /126 no address would be left for the range
        raise InputParameterError(f"prefix6 {prefix6} of network {name} has length {six.prefixlen}; use 48 to 125")
    if vpc.id != DEFAULT_VPC and (vpc.cidr6 is None or not six.subnet_of(IPv6Network(vpc.cidr6))):
        raise InputParameterError(f"prefix6 {prefix6} of network {name} is outside {vpc.cidr6 or 'no cidr6'} of vpc {vpc.name}")
    return six


def range4(vpc: Vpc, kind: str, prefix: IPv4Network, start_ip: str | None, end_ip: str | None) -> tuple[Ip4, Ip4]:
    """The range of a network, narrowed to what is given. Raises InputParameterError outside of what the prefix allows."""
    first, last = int(prefix[0]), int(prefix[-1])
    if vpc.id != DEFAULT_VPC:
        first, last = first + 2, last - 2
    low, high = (first + 2, last - 1) if kind == "eip" else (first, last)
    start = low if start_ip is None else parse_ip4(start_ip, what="start_ip")
    end = high if end_ip is None else parse_ip4(end_ip, what="end_ip")
    if not first <= start <= end <= last:
        raise InputParameterError(
            f"range {format_ip4(start)}-{format_ip4(end)} is empty or outside {format_ip4(first)}-{format_ip4(last)} "
            f"of prefix {prefix}"
        )
    return Ip4(start), Ip4(end)


def gateway_of(vpc: Vpc, prefix: IPv4Network, gateway: str | None) -> Ip4 | None:
    """The gateway of a network: what is given, else the first address in a VPC. Raises InputParameterError."""
    if gateway is None:
        return None if vpc.id == DEFAULT_VPC else Ip4(int(prefix[1]))
    ip = parse_ip4(gateway, what="gateway")
    if not int(prefix[0]) < ip < int(prefix[-1]):
        raise InputParameterError(f"gateway {gateway} is no host address of prefix {prefix}")
    return Ip4(ip)
