"""Match fields: their headers and how a match is written, as the switch itself reports it.

Numbers are those of OpenFlow 1.5.1 (7.2.3) and of ovs-fields(7). The order of fields is the switch's own, so that a dump can
be compared byte by byte with what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["BY_HEADER", "Field", "fields_of", "match"]


class Field(NamedTuple):
    """A field: its name, its header without mask (class, number, length), its width in bits, its place in a match."""

    name: str
    header: int
    width: int
    place: int = 0

    @property
    def octets(self) -> int:
        """Bytes on the wire."""
        return self.header & 0xFF

    @property
    def masked(self) -> int:
        """The header of a value that is followed by a mask."""
        return self.header & 0xFFFF0000 | (self.header & 0xFE00) | 0x100 | self.octets * 2


_NXM_OF, _NXM_NX, _ERICSSON, _OPENFLOW, _XREGS = 0x0000, 0x0001, 0x1000, 0x8000, 0x8001
"""OXM classes."""


def _field(name: str, kind: int, number: int, octets: int, width: int | None = None) -> Field:
    return Field(name, kind << 16 | number << 9 | octets, width or octets * 8)


# In the order in which the switch writes them (nx_put_raw of OVS).
_DECLARED: Final = (
    _field("in_port", _OPENFLOW, 0, 4),
    _field("eth_src", _OPENFLOW, 4, 6),
    _field("eth_dst", _OPENFLOW, 3, 6),
    _field("eth_type", _OPENFLOW, 5, 2),
    _field("vlan_vid", _OPENFLOW, 6, 2, 13),
    _field("ipv4_src", _OPENFLOW, 11, 4),
    _field("ipv4_dst", _OPENFLOW, 12, 4),
    _field("ipv6_src", _OPENFLOW, 26, 16),
    _field("ipv6_dst", _OPENFLOW, 27, 16),
    _field("ip_frag", _NXM_NX, 26, 1, 2),
    _field("nw_ttl", _NXM_NX, 29, 1),
    _field("ip_proto", _OPENFLOW, 10, 1),
    _field("tcp_src", _OPENFLOW, 13, 2),
    _field("tcp_dst", _OPENFLOW, 14, 2),
    _field("udp_src", _OPENFLOW, 15, 2),
    _field("udp_dst", _OPENFLOW, 16, 2),
    _field("icmpv4_type", _OPENFLOW, 19, 1),
    _field("icmpv4_code", _OPENFLOW, 20, 1),
    _field("icmpv6_type", _OPENFLOW, 29, 1),
    _field("icmpv6_code", _OPENFLOW, 30, 1),
    _field("nd_target", _OPENFLOW, 31, 16),
    _field("nd_sll", _OPENFLOW, 32, 6),
    _field("nd_tll", _OPENFLOW, 33, 6),
    _field("arp_op", _OPENFLOW, 21, 2),
    _field("arp_spa", _OPENFLOW, 22, 4),
    _field("arp_tpa", _OPENFLOW, 23, 4),
    _field("arp_sha", _OPENFLOW, 24, 6),
    _field("arp_tha", _OPENFLOW, 25, 6),
    *(_field(f"xreg{number}", _XREGS, number, 8) for number in range(8)),
    _field("ct_state", _NXM_NX, 105, 4),
    _field("ct_zone", _NXM_NX, 106, 2),
    _field("metadata", _OPENFLOW, 2, 8),
    # for actions alone
    *(_field(f"reg{number}", _NXM_NX, number, 4) for number in range(16)),
    # by the older number, under which actions of Open vSwitch report them
    _field("in_port_16", _NXM_OF, 0, 2),
    _field("learn_eth_dst", _NXM_OF, 1, 6),
    _field("learn_arp_spa", _NXM_OF, 16, 4),
    _field("learn_arp_sha", _NXM_NX, 17, 6),
    _field("nd_reserved", _ERICSSON, 1, 4),
    _field("nd_options_type", _ERICSSON, 2, 1),
    _field("ct_nw_src", _NXM_NX, 120, 4),
    _field("ct_nw_dst", _NXM_NX, 121, 4),
)
_BY_NAME: Final = {field.name: field._replace(place=place) for place, field in enumerate(_DECLARED)}
BY_HEADER: Final = {field.header: field for field in _BY_NAME.values()}

IN_PORT: Final = _BY_NAME["in_port"]
LEARN_ETH_DST: Final = _BY_NAME["learn_eth_dst"]
LEARN_ARP_SPA: Final = _BY_NAME["learn_arp_spa"]
LEARN_ARP_SHA: Final = _BY_NAME["learn_arp_sha"]
IN_PORT_16: Final = _BY_NAME["in_port_16"]
ETH_SRC: Final = _BY_NAME["eth_src"]
ETH_DST: Final = _BY_NAME["eth_dst"]
ETH_TYPE: Final = _BY_NAME["eth_type"]
VLAN_VID: Final = _BY_NAME["vlan_vid"]
IPV4_SRC: Final = _BY_NAME["ipv4_src"]
IPV4_DST: Final = _BY_NAME["ipv4_dst"]
IPV6_SRC: Final = _BY_NAME["ipv6_src"]
IPV6_DST: Final = _BY_NAME["ipv6_dst"]
IP_FRAG: Final = _BY_NAME["ip_frag"]
NW_TTL: Final = _BY_NAME["nw_ttl"]
IP_PROTO: Final = _BY_NAME["ip_proto"]
UDP_SRC: Final = _BY_NAME["udp_src"]
UDP_DST: Final = _BY_NAME["udp_dst"]
ICMPV4_TYPE: Final = _BY_NAME["icmpv4_type"]
ICMPV4_CODE: Final = _BY_NAME["icmpv4_code"]
ICMPV6_TYPE: Final = _BY_NAME["icmpv6_type"]
ICMPV6_CODE: Final = _BY_NAME["icmpv6_code"]
ND_TARGET: Final = _BY_NAME["nd_target"]
ND_SLL: Final = _BY_NAME["nd_sll"]
ND_TLL: Final = _BY_NAME["nd_tll"]
ND_RESERVED: Final = _BY_NAME["nd_reserved"]
ND_OPTIONS_TYPE: Final = _BY_NAME["nd_options_type"]
ARP_OP: Final = _BY_NAME["arp_op"]
ARP_SPA: Final = _BY_NAME["arp_spa"]
ARP_TPA: Final = _BY_NAME["arp_tpa"]
ARP_SHA: Final = _BY_NAME["arp_sha"]
ARP_THA: Final = _BY_NAME["arp_tha"]
METADATA: Final = _BY_NAME["metadata"]
XREG0: Final = _BY_NAME["xreg0"]
XREG1: Final = _BY_NAME["xreg1"]
XREG2: Final = _BY_NAME["xreg2"]
XREG3: Final = _BY_NAME["xreg3"]
XREG4: Final = _BY_NAME["xreg4"]
XREG5: Final = _BY_NAME["xreg5"]
REG6: Final = _BY_NAME["reg6"]
REG7: Final = _BY_NAME["reg7"]
REG8: Final = _BY_NAME["reg8"]
REG9: Final = _BY_NAME["reg9"]
CT_STATE: Final = _BY_NAME["ct_state"]
CT_ZONE: Final = _BY_NAME["ct_zone"]


def match(wanted: Mapping[Field, int | tuple[int, int]]) -> bytes:
    """Write match fields; a number matches exactly, a pair is a value and the mask of its bits that count."""
    return b"".join(_written(field, wanted[field]) for field in sorted(wanted, key=_place))


def _place(field: Field) -> int:
    return field.place


def _written(field: Field, value: int | tuple[int, int]) -> bytes:
    octets = field.octets
    if isinstance(value, int):
        return field.header.to_bytes(4) + value.to_bytes(octets)
    bits, mask = value
    if mask == (1 << field.width) - 1:
        return field.header.to_bytes(4) + bits.to_bytes(octets)
    return field.masked.to_bytes(4) + bits.to_bytes(octets) + mask.to_bytes(octets) if mask else b""


def fields_of(match: bytes) -> dict[int, tuple[int, int | None]]:
    """Read match fields: by header without mask bit, value and mask. Raises ValueError for what is cut short."""
    found: dict[int, tuple[int, int | None]] = {}
    at = 0
    while at < len(match):
        header = int.from_bytes(match[at : at + 4])
        length, has_mask = header & 0xFF, bool(header & 0x100)
        value = match[at + 4 : at + 4 + length]
        if len(value) < length:
            raise ValueError("a match field is cut short")
        at += 4 + length
        half = length // 2 if has_mask else length
        plain = header & ~0x1FF | half
        found[plain] = int.from_bytes(value[:half]), int.from_bytes(value[half:]) if has_mask else None
    return found
