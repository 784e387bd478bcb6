"""The promises in words, and the rows of their table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["PROMISES", "asked", "needs", "promise_of"]

PROMISES: Final[Mapping[str, str]] = {
    "P1": "From outside an EIP leads to the VIP's holder, and answers come from the EIP: TCP, UDP, ICMP echo, fragments.",
    "P2": "What the holder sends from the VIP leaves as the EIP.",
    "P3": "A member, another server of the VPC and the holder itself reach the EIP from inside.",
    "P4": "Once an EIP is dissociated nobody answers for it, and its established connections stop.",
    "P5": (
        "An EIP that moves to another group, of the same VPC or another, leads there within a second, its upstream's ARP entry "
        "warm; its old connections are cut, those of other EIPs do not notice."
    ),
    "P6": "Who is not, or no longer, a member can neither claim the VIP nor send from it, and its VRRP reaches no member.",
    "P7": "A member can, from the moment it is bound.",
    "P8": "No port sends with an address or MAC that is not its own, however it is wrapped; the ones inside ARP and ND included.",
    "P9": "VRRP from a port reaches the members of its own groups and nobody else; the VRID is not looked at.",
    "P10": "VPCs of the same CIDR and the same VIP, with different EIPs, live side by side and never see each other.",
    "P11": "ICMP errors about translated flows arrive, with the inner header put right: path MTU discovery and traceroute work.",
    "P12": (
        "Of UDP offered at twice an EIP's bandwidth 90 to 110 % of the bandwidth comes through, each way; other EIPs and traffic "
        "inside the VPC are not limited, and a changed limit touches no connection."
    ),
    "P13": (
        "Packets and bytes that passed the limit and crossed the uplink are counted, by EIP and direction, over updates, moves, "
        "restarts and kills; what the data plane forgot is reported as lost."
    ),
    "P14": "During any operation on one object all others lose no packet, probed every millisecond.",
    "P15": "From the new holder's gratuitous ARP to its first answer through the EIP at most 10 ms pass.",
    "P16": "Rules, flows, chains, links, routes, settings and namespaces of others are the same before and after.",
    "P17": (
        "While vipnet is killed and restarted no packet is lost and no connection cut. What somebody flushed, set down or "
        "deleted is whole again within two seconds while vipnet watches, else at the next verb."
    ),
    "P18": "P6 to P9 for IPv6, with neighbour discovery; fragmented ND and router advertisements of ports are dropped.",
    "P19": "From outside only mapped EIPs get in; a packet to a private address, also by a route through us, is dropped.",
    "P20": (
        "No packet leaves an uplink with a private source. By access mode `eip` what has an EIP leaves, as that; by `distgw` "
        "servers do, masqueraded; by `eip-distgw` both; by `none` neither."
    ),
    "P21": "Subnets of a VPC route to each other; other VPCs are reached by their EIPs alone, as an outsider would.",
}
"""What every backend promises about packets, unless it is exempt and says why."""

_QUESTION = re.compile(r"test_(p\d+)_")


def promise_of(test: str) -> str:
    """The promise that a test of this name is about; "": none."""
    found = _QUESTION.match(test)
    return found[1].upper() if found else ""


def needs(tests: type, name: str) -> frozenset[str]:
    """What a system must be able to do so that this may be asked of it: what its theme says, the class where the test is."""
    home = next((theme for theme in tests.__mro__ if name in vars(theme)), object)
    return frozenset(vars(home).get("needs", ()))


def asked(tests: type, abilities: frozenset[str]) -> set[str]:
    """The promises that a class asks about, of a system of these abilities."""
    return {promise_of(name) for name in dir(tests) if needs(tests, name) <= abilities} - {""}
