"""The rules of the host's namespace: what a port may send, what it is sent, what a physical leg may not claim. Pure.

ebtables judges frames by MAC and address, each port in chains of its own: `VIPNET-G-` what it sends, `VIPNET-T-` what is sent to
it, `VIPNET-V-` its VRRP. What it cannot see, extension headers and what neighbour discovery says, ip6tables judges as the
bridge hands it IPv6 (bridge-nf-call-ip6tables): `VIPNET-N-`, `VIPNET-O-`, and for legs `VIPNET-L-`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address
from typing import Final

from vipnet_iptables.dispatch import dispatch
from vipnet_iptables.entries import Claim, Guard, HostEntry, Leg, Outer, Port
from vipnet_iptables.tables import Layout, Table

__all__ = ["EB_FILTER", "EB_NAT", "HOST_TABLES", "IP6_FILTER", "IP6_RAW", "chains_of_port", "lay_out"]

EB_NAT: Final = Table("bridge", "nat")
EB_FILTER: Final = Table("bridge", "filter")
IP6_RAW: Final = Table("ip6", "raw")
IP6_FILTER: Final = Table("ip6", "filter")
HOST_TABLES: Final = (IP6_RAW, IP6_FILTER, EB_FILTER, EB_NAT)

_EXTENSIONS: Final = "0x0,0x2b,0x2c,0x33,0x3c"
"""Headers behind which there are others: hop-by-hop, routing, fragment, authentication, destination options."""
_BEFORE: Final = "0x0,0x2b,0x3c"
"""Of these, those that may stand before a fragment's."""
_HIDDEN: Final = "0x0,0x2b,0x2c,0x33,0x3a,0x3c,0x70"
"""What an authentication header may not hide."""

_NEXT: Final = "0x4>>0x8&0xff"
_LENGTH: Final = "0x4>>0x10"
_TYPE: Final = "0x28>>0x18"
_ACCEPTED_TYPES: Final = (1, 2, 3, 4, 128, 129, 131, 132, 143)
_ANY: Final = "::"


def _behind(depth: int, header: str, test: str) -> str:
    """A test of the first word of a header, `{}` its offset, which comes behind so many others of at most 2; in u32's words."""
    tests = [f"{_NEXT}={_BEFORE if depth else header}"]
    at = "0x28"
    for level in range(depth):
        tests.append(f"{at}>>0x18={_BEFORE if level + 1 < depth else header}")
        at = f"{at}>>0xd&0x7f8@0x30" if level == 0 else f"{at.rpartition('@')[0]}@0x30>>0xd&0x7f8@0x38"
    return "&&".join((*tests, test.format(at)))


def _u32(test: str) -> str:
    return f'-m u32 --u32 "{test}"'


_DEPTHS: Final = (0, 1, 2)

# What is in fragments begins with its upper layer: behind further headers it might begin in the second one (RFC 7112). Fragment
# and authentication headers behind more than two others cannot be judged, and end here.
_FRAGMENTS: Final = (
    *(f"{_u32(_behind(depth, '0x2c', '{}>>0x18=' + _EXTENSIONS))} -j DROP" for depth in _DEPTHS),
    *(f"{_u32(_behind(depth, '0x2c', '{}>>0x18=0x0:0xff'))} -j RETURN" for depth in _DEPTHS),
    "-m frag -j DROP",
)
_HIDING: Final = (
    *(f"{_u32(_behind(depth, '0x33', '{}>>0x18=' + _HIDDEN))} -j DROP" for depth in _DEPTHS),
    *(f"{_u32(_behind(depth, '0x33', '{}>>0x18=0x0:0xff'))} -j RETURN" for depth in _DEPTHS),
    "-j DROP",
)

# A port's ICMPv6 of these types passes; neighbour discovery does so by the port's own chain, without extension headers alone,
# hence in no fragment (RFC 6980); later fragments pass, as they begin nothing.
_GUEST6: Final = (
    "-j VIPNET-FRAGMENT",
    "-m ipv6header --header ah --soft -g VIPNET-HIDING",
    *(f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in _ACCEPTED_TYPES),
    *(f"{_u32(_behind(depth, '0x2c', '{}&0xfff8=0x8:0xfff8'))} -j RETURN" for depth in _DEPTHS),
    "-p udp -m udp --sport 547 -j DROP",
    "-p ipv6-icmp -j DROP",
)
_COMMON6: Final[dict[str, Sequence[str]]] = {
    "VIPNET-FRAGMENT": _FRAGMENTS,
    "VIPNET-HIDING": _HIDING,
    "VIPNET-GUEST6": _GUEST6,
}


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
        IP6_RAW: _raw(ports, legs, claims),
        IP6_FILTER: _bridged(),
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
        (IP6_RAW, f"VIPNET-N-{device}"): list(_discovery(port)),
        (IP6_RAW, f"VIPNET-O-{device}"): list(_options(port)),
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


# ----------------------------------------------------------------------------------------------------- IPv6, looked into


def _bridged() -> Layout:
    """Others' rules for what a host forwards are not about what its bridges do."""
    rule = "-i vnb+ -o vnb+ -m physdev --physdev-is-bridged -j ACCEPT"
    return Layout({"VIPNET-BRIDGED": [rule]}, {}, {"FORWARD": "VIPNET-BRIDGED"})


def _raw(ports: dict[str, Port], legs: dict[str, str], claims: dict[str, list[str]]) -> Layout:
    targets = {device: f"-j VIPNET-N-{device}" for device in ports}
    targets |= {device: f"-j VIPNET-L-{net}" for device, net in legs.items()}
    chains: dict[str, Sequence[str]] = {
        "VIPNET-PRE": ["-i vnb+ -j VIPNET-FROM", "-i vnb+ -j CT --notrack"],
        **dispatch("VIPNET-FROM", targets, lambda device: f"-m physdev --physdev-in {device}"),
        **_COMMON6,
        **_of_ports(ports, IP6_RAW),
    }
    for network, ips in claims.items():
        chains[f"VIPNET-L-{network}"] = list(_claiming6([ip for ip in ips if ":" in ip]))
    return Layout(chains, {}, {"PREROUTING": "VIPNET-PRE"})


def _words(ip6: str) -> list[str]:
    number = int(IPv6Address(ip6))
    return [f"{number >> shift & 0xFFFFFFFF:#x}" for shift in (96, 64, 32, 0)]


def _target(ip6: str) -> str:
    """What neighbour discovery is about."""
    return "&&".join(f"{at}={word}" for at, word in zip(("0x30", "0x34", "0x38", "0x3c"), _words(ip6), strict=True))


def _discovery(port: Port) -> Iterator[str]:
    """Neighbour discovery without extension headers, and then all else. A question from nobody is about the port's own address."""
    if not port.ip6s:
        yield "-j DROP"
        return
    plain = f"{_NEXT}=0x3a"
    for ip6 in port.ip6s:
        own = f"{plain}&&{_TYPE}=0x87&&{_target(ip6)}"
        yield f"-s ::/128 -p ipv6-icmp {_u32(f'{_LENGTH}=0x18&&{own}')} -j RETURN"
        yield f"-s ::/128 -p ipv6-icmp {_u32(f'{_LENGTH}=0x20&&{own}&&0x40>>0x10=0xe01')} -j RETURN"
    yield "-s ::/128 -j DROP"
    for ip6 in port.ip6s:
        yield f"-p ipv6-icmp {_u32(f'{plain}&&{_TYPE}=0x88&&{_target(ip6)}')} -g VIPNET-O-{port.device}"
    yield f"-p ipv6-icmp {_u32(f'{plain}&&{_TYPE}=0x88')} -j DROP"
    yield f"-p ipv6-icmp {_u32(f'{plain}&&{_TYPE}=0x85,0x87')} -g VIPNET-O-{port.device}"
    yield "-g VIPNET-GUEST6"


def _options(port: Port) -> Iterator[str]:
    """One option, the port's own link-layer address, or none."""
    mac = int(port.mac.replace(":", ""), 16)
    option = f"=0x101{mac >> 32:04x},0x201{mac >> 32:04x}&&{{}}={mac & 0xFFFFFFFF:#x}"
    nd, rs = f"0x40{option.format('0x44')}", f"0x30{option.format('0x34')}"
    yield _u32(f"{_LENGTH}=0x18&&{_TYPE}=0x87,0x88") + " -j RETURN"
    yield _u32(f"{_LENGTH}=0x8&&{_TYPE}=0x85") + " -j RETURN"
    yield _u32(f"{_LENGTH}=0x20&&{_TYPE}=0x87,0x88&&{nd}") + " -j RETURN"
    yield _u32(f"{_LENGTH}=0x10&&{_TYPE}=0x85&&{rs}") + " -j RETURN"
    yield "-j DROP"


def _claiming6(ips: Sequence[str]) -> Iterator[str]:
    """From a leg neighbour discovery comes in one piece and in the open, and is about nobody of ours."""
    yield "-j VIPNET-FRAGMENT"
    for kind in (135, 136):
        yield f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -m frag -j DROP"
    for ip6 in ips:
        yield f"-s {ip6}/128 -j DROP"
        about = _target(ip6)
        for depth in _DEPTHS[:1]:
            yield f"-p ipv6-icmp {_u32(_behind(depth, '0x3a', f'{_TYPE}=0x88&&{about}'))} -j DROP"
            yield f"-s ::/128 -p ipv6-icmp {_u32(_behind(depth, '0x3a', f'{_TYPE}=0x87&&{about}'))} -j DROP"
    for kind in (135, 136):
        yield f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} {_u32(f'{_NEXT}=0x0,0x2b,0x33,0x3c')} -j DROP"
