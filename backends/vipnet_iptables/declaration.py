"""The declaration: every fixed chain of routers and gateways. EIPs stand in trees that these lead to.

Marks of packets: the low byte is the number of an uplink, from 1; 0x200 is on what was sent to an EIP from within its VPC.
The mark of a connection is the number of the uplink that it began by, so that one which began another way leaves by none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vipnet_iptables.entries import Inside, Kind, Transit
from vipnet_iptables.tables import Layout, Table

__all__ = ["FIXED_TABLES", "fixed", "limits"]

FIXED_TABLES: Final = (
    Table("arp", "filter"),
    Table("ip", "nat"),
    Table("ip", "mangle"),
    Table("ip", "filter"),
    Table("ip6", "filter"),
)
"""The tables that a router has chains in, in the order in which it gets them: what opens the way comes last."""

_HAIRPIN: Final = "0x200/0x200"

# What comes by an uplink is checked (its source is not one of the VPC's) and then looked for in the tree of that uplink's EIPs,
# which ends in a drop; what goes out by one, in the tree of the VIPs that have an EIP there.
_IN: Final = {
    "router": (
        "-i lo -j ACCEPT",
        "-i up+ -j DROP",
        "-i vns+ -p icmp -m icmp --icmp-type 8 -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-j DROP",
    ),
    "gateway": ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-j DROP"),
}

_FORWARD_EIP: Final = (
    "-i up+ -o vns+ -m conntrack --ctstate SNAT,DNAT -j ACCEPT",
    "-i vns+ -o up+ -m conntrack ! --ctstate INVALID,UNTRACKED -j ACCEPT",
)
_FORWARD_DISTGW: Final = (
    "-i vns+ -o tr0 -m conntrack ! --ctstate INVALID,UNTRACKED -j ACCEPT",
    "-i tr0 -o vns+ -m conntrack --ctstate RELATED,ESTABLISHED -m conntrack --ctstate SNAT -j ACCEPT",
)
_FORWARD_GATEWAY: Final = (
    "-i vt+ -o up0 -m conntrack ! --ctstate INVALID,UNTRACKED -j ACCEPT",
    "-i up0 -o vt+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-j DROP",
)

# The kernel's own errors about a connection that is translated, which makes the EIP their source, and nothing else.
_OUT: Final = (
    "-o up+ -p icmp -m conntrack --ctstate RELATED -m conntrack --ctstate SNAT,DNAT -j ACCEPT",
    "-o up+ -j DROP",
)

_IN6: Final = (
    "-i vns+ -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT",
    "-i vns+ -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
    "-i vns+ -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT",
    "-i vns+ -p ipv6-icmp -m icmp6 --icmpv6-type 129 -j ACCEPT",
    "-j DROP",
)
_FORWARD6: Final = ("-i vns+ -o vns+ -j ACCEPT", "-j DROP")


def fixed(table: Table, kind: Kind, ways: Sequence[int], insides: Sequence[Inside], transit: Transit | None) -> Layout:
    """The fixed chains of a table of a namespace, how they are reached, and its policies."""
    match table:
        case Table("ip", "filter"):
            return _filter(kind)
        case Table("ip", "nat"):
            return _nat(kind, insides, transit)
        case Table("ip", "mangle"):
            return Layout() if kind == "gateway" else _mangle(kind, ways)
        case Table("arp", "filter") if kind != "gateway":
            return _silent(insides, transit)
        case Table("ip6", "filter") if kind != "gateway":
            return _closed({"VIPNET-IN": _IN6, "VIPNET-FORWARD": _FORWARD6})
        case _:
            return Layout()


def limits(rates: Sequence[int]) -> dict[str, Sequence[str]]:
    """The chains that EIPs of a rate go through; there each has a bucket of its own, which holds what passes in a second."""
    return {
        f"VIPNET-{kind}L{rate}": (_limit(rate, mode, f"vn{kind.lower()}{rate}"),)
        for rate in rates
        for kind, mode in (("R", "dstip"), ("T", "srcip"))
    }


def _limit(rate: int, mode: str, name: str) -> str:
    return f"-m hashlimit --hashlimit-above {rate}b/s --hashlimit-mode {mode} --hashlimit-name {name} -j DROP"


def _closed(chains: dict[str, Sequence[str]]) -> Layout:
    return Layout(chains, {"INPUT": "DROP", "FORWARD": "DROP"}, {"INPUT": "VIPNET-IN", "FORWARD": "VIPNET-FORWARD"})


def _filter(kind: Kind) -> Layout:
    if kind == "gateway":
        return _closed({"VIPNET-IN": _IN["gateway"], "VIPNET-FORWARD": _FORWARD_GATEWAY})
    forward = ["-p 112 -j DROP", "-i vns+ -o vns+ -j ACCEPT"]
    forward += _FORWARD_EIP if kind in ("eip", "eip-distgw") else ()
    forward += _FORWARD_DISTGW if kind in ("distgw", "eip-distgw") else ()
    found = _closed({"VIPNET-IN": _IN["router"], "VIPNET-FORWARD": (*forward, "-j DROP"), "VIPNET-OUT": _OUT})
    found.jumps["OUTPUT"] = "VIPNET-OUT"
    return found


def _nat(kind: Kind, insides: Sequence[Inside], transit: Transit | None) -> Layout:
    if kind == "gateway":
        return Layout({"VIPNET-POST": ("-o up0 -j MASQUERADE",)}, {}, {"POSTROUTING": "VIPNET-POST"})
    rules = [f"-o {one.leg} -m mark --mark {_HAIRPIN} -j SNAT --to-source {one.gateway}" for one in _sorted(insides)]
    jumps = {"POSTROUTING": "VIPNET-POST"}
    if kind in ("eip", "eip-distgw"):
        rules.append("-o up+ -j VIPNET-SNAT")
        jumps["PREROUTING"] = "VIPNET-DNAT"
    if transit is not None:
        rules.append(f"-o tr0 -j SNAT --to-source {transit.address}")
    return Layout({"VIPNET-POST": rules}, {}, jumps)


def _silent(insides: Sequence[Inside], transit: Transit | None) -> Layout:
    """On uplinks nobody is answered for the router's own addresses."""
    own = [*(one.gateway for one in _sorted(insides)), *([transit.address] if transit is not None else [])]
    return Layout({"VIPNET-IN": [f"-j DROP -i up+ -d {ip} --opcode 1" for ip in own]}, {}, {"INPUT": "VIPNET-IN"})


def _sorted(insides: Sequence[Inside]) -> list[Inside]:
    return sorted(insides, key=lambda one: one.leg)


def _mangle(kind: Kind, ways: Sequence[int]) -> Layout:
    into = [f"-i up{way} -g VIPNET-UP{way}" for way in ways]
    inner = ["-i vns+ -j VIPNET-VIA"] if kind in ("eip", "eip-distgw") else []
    out = [f"-o up{way} -g VIPNET-OUT{way}" for way in ways]
    hairpin = f"-i vns+ -o vns+ -m conntrack --ctstate DNAT -j MARK --set-xmark {_HAIRPIN}"
    chains: dict[str, Sequence[str]] = {
        "VIPNET-PRE": [*into, "-i up+ -j DROP", *inner],
        "VIPNET-FORWARD": [hairpin, *out, "-o up+ -j DROP"],
    }
    for way in ways:
        chains[f"VIPNET-UP{way}"], chains[f"VIPNET-OUT{way}"] = list(_arriving(way)), list(_leaving(way))
    return Layout(chains, {}, {"PREROUTING": "VIPNET-PRE", "FORWARD": "VIPNET-FORWARD"})


def _arriving(way: int) -> Iterator[str]:
    yield f"-j MARK --set-xmark {way + 1:#x}/0xff"
    yield "-m rpfilter --validmark --invert -j DROP"
    yield f"-m conntrack --ctstate NEW -j CONNMARK --set-xmark {way + 1:#x}/0xff"
    yield f"-g VIPNET-RX{way}"


def _leaving(way: int) -> Iterator[str]:
    yield "-m conntrack --ctstate INVALID,UNTRACKED -j DROP"
    yield f"-m conntrack ! --ctstatus CONFIRMED -j CONNMARK --set-xmark {way + 1:#x}/0xff"
    yield f"-m connmark ! --mark {way + 1:#x}/0xff -j DROP"
    yield f"-g VIPNET-TX{way}"
