"""Text to integer and back, at the edge: inside vipnet an address is an int and its family is known from the field.

Only canonical IPv4 text is an address (`10.10.0.012`, blanks, signs, hex and prefixes are refused); IPv6 text is
canonicalised (RFC 5952). Every function raises InputParameterError that names `what` and the value.
"""

from __future__ import annotations

import socket
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from vipnet.errors import InputParameterError

__all__ = [
    "format_ip",
    "format_ip4",
    "format_ip6",
    "ip_of",
    "link_local",
    "parse_ip",
    "parse_ip4",
    "parse_ip6",
    "parse_mac",
    "parse_prefix4",
    "parse_prefix6",
]


def format_ip4(ip: int) -> str:
    """Format an IPv4 address."""
    return socket.inet_ntop(socket.AF_INET, ip.to_bytes(4, "big"))


def format_ip6(ip: int) -> str:
    """Format an IPv6 address in canonical form (RFC 5952)."""
    return str(IPv6Address(ip))


def format_ip(version: int, ip: int) -> str:
    """Format an address of IP version 4 or 6."""
    return format_ip4(ip) if version == 4 else format_ip6(ip)


def link_local(mac: str) -> int:
    """The link-local IPv6 address that an interface gives itself by its MAC: fe80::/64 and the modified EUI-64 (RFC 4291)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return 0xFE80 << 112 | int.from_bytes(bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def parse_ip4(text: str, *, what: str) -> int:
    """Parse a canonical IPv4 address."""
    try:
        return int(IPv4Address(text))
    except (AddressValueError, ValueError) as error:
        raise InputParameterError(f"{what} {text!r} is no IPv4 address; write it like 192.168.7.246") from error


def parse_ip6(text: str, *, what: str) -> int:
    """Parse a global or unique-local unicast IPv6 address in any spelling; scoped (`%eth0`) and other kinds are refused."""
    try:
        address = IPv6Address(text)
    except (AddressValueError, ValueError) as error:
        raise InputParameterError(f"{what} {text!r} is no IPv6 address; write it like 2001:db8::5") from error
    if _is_not_usable6(address):
        raise InputParameterError(f"{what} {text!r} is no unicast IPv6 address that a server can be given")
    return int(address)


def _is_not_usable6(address: IPv6Address) -> bool:
    return bool(
        address.scope_id
        or address.ipv4_mapped
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address.is_unspecified
    )


def parse_ip(text: str, *, what: str) -> tuple[int, int]:
    """Parse an address of either family into (version, address)."""
    return (6, parse_ip6(text, what=what)) if ":" in text else (4, parse_ip4(text, what=what))


def parse_prefix4(text: str, *, what: str) -> IPv4Network:
    """Parse a canonical IPv4 prefix without host bits; one written with a netmask is refused."""
    try:
        prefix = IPv4Network(text)
    except ValueError:
        prefix = None
    if prefix is None or str(prefix) != text:
        raise InputParameterError(f"{what} {text!r} is no IPv4 prefix without host bits; write it like 192.168.4.0/22")
    return prefix


def parse_prefix6(text: str, *, what: str) -> IPv6Network:
    """Parse an IPv6 prefix without host bits; scoped ones (`%eth0`) are refused."""
    try:
        return IPv6Network(text if "/" in text and "%" not in text else "")
    except ValueError as error:
        raise InputParameterError(f"{what} {text!r} is no IPv6 prefix without host bits; write it like 2001:db8::/64") from error


def ip_of(text: str) -> int:
    """The address of text that vipnet wrote itself."""
    return int.from_bytes(socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text))


def parse_mac(text: str, *, what: str) -> str:
    """Parse a unicast MAC address into lower case with colons; any spelling that IEEE 802 knows is accepted."""
    from netaddr import EUI, mac_unix_expanded
    from netaddr.core import AddrFormatError

    try:
        mac = EUI(text, version=48, dialect=mac_unix_expanded)
    except (AddrFormatError, ValueError, TypeError) as error:
        raise InputParameterError(f"{what} {text!r} is no MAC address; write it like 02:00:00:00:00:0a") from error
    if mac.words[0] & 1 or int(mac) == 0:
        raise InputParameterError(f"{what} {text!r} is no unicast MAC address; write it like 02:00:00:00:00:0a")
    return str(mac)
