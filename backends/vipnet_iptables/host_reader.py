"""The entries of the host's namespace, from the rules that are there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from vipnet_iptables.entries import Claim, Guard, HostEntry, Leg, Outer, Port
from vipnet_iptables.host import EB_FILTER, EB_NAT, HOST_TABLES, chains_of_port, lay_out
from vipnet_iptables.tables import Layout, Table, is_same

__all__ = ["host_entries"]

_ALWAYS_OUTER: Final = frozenset({"vnr+", "vnl+"})
_ARP: Final = re.compile(r"-p ARP -s (\S+) .*--arp-ip-src (\S+) .*-j RETURN")
_IP6: Final = re.compile(r"-p IPv6 -s \S+ --ip6-src (\S+) -j RETURN")
_PEER: Final = re.compile(r"-o (\S+) -j RETURN")
_LEG: Final = re.compile(r"-i (\S+) -j VIPNET-C-([0-9a-f]{12})")
_CLAIM: Final = re.compile(r"-p (?:ARP --arp-ip-src|IPv6 --ip6-src) (\S+) -j DROP")
_DROPPED: Final = re.compile(r"-i (\S+) -j DROP")
_BRIDGE: Final = re.compile(r"-i (\S+) -j RETURN")


def host_entries(found: Mapping[Table, Layout], *, settled: bool) -> list[HostEntry]:
    """What is there, as entries; of those whose rules are not as they should be it is said. `settled`: so are the settings."""
    nat, delivering = found.get(EB_NAT, Layout()), found.get(EB_FILTER, Layout())
    ports = [_port(chain.removeprefix("VIPNET-G-"), nat, delivering) for chain in nat.chains if chain.startswith("VIPNET-G-")]
    legs = [Leg(*match.groups()) for match in _matches(_LEG, _under(nat, "VIPNET-PRE"))]
    claims = [
        Claim(chain.removeprefix("VIPNET-C-"), match[1])
        for chain, rules in nat.chains.items()
        if chain.startswith("VIPNET-C-")
        for match in _matches(_CLAIM, rules)
    ]
    devices = {match[1] for match in _matches(_DROPPED, _under(delivering, "VIPNET-IN"))}
    outers = [Outer(device) for device in devices - {port.device for port in ports} - _ALWAYS_OUTER]
    guards = [Guard(match[1]) for match in _matches(_BRIDGE, delivering.chains.get("VIPNET-BRIDGES", ()))]
    entries: list[HostEntry] = [*guards, *ports, *legs, *claims, *outers]
    return _judged(entries, found, settled=settled)


def _judged(entries: Sequence[HostEntry], found: Mapping[Table, Layout], *, settled: bool) -> list[HostEntry]:
    """The entries, of which those are not intact whose own chains, or which all, are not as they should be."""
    wanted = lay_out(entries)
    owners = {where: entry for entry in entries if isinstance(entry, Port) for where in chains_of_port(entry)}
    broken = set[HostEntry]()
    whole = settled
    for table in HOST_TABLES:
        there, should = found.get(table, Layout()), wanted[table]
        whole = whole and there.jumps == should.jumps and not there.doubled
        for chain in {*there.chains, *should.chains}:
            if not _is_as(there, should, chain):
                owner = owners.get((table, chain))
                whole = whole and owner is not None
                broken |= {owner} if owner is not None else set()
    return [_marked(entry, entry in broken, whole) for entry in entries]


def _is_as(there: Layout, should: Layout, chain: str) -> bool:
    found, wanted = there.chains.get(chain), should.chains.get(chain)
    return found is not None and wanted is not None and is_same(found, wanted)


def _marked(entry: HostEntry, broken: bool, whole: bool) -> HostEntry:
    match entry:
        case Port():
            return replace(entry, intact=False) if broken else entry
        case Guard():
            return entry if whole else replace(entry, intact=False)
        case _:
            return entry


def _under(layout: Layout, root: str) -> Iterator[str]:
    """The rules of a chain and of those that its names are told apart by."""
    for chain, rules in layout.chains.items():
        if chain == root or chain.startswith(f"{root}-"):
            yield from rules


def _matches(pattern: re.Pattern[str], rules: Iterable[str]) -> Iterator[re.Match[str]]:
    return (match for rule in rules if (match := pattern.fullmatch(rule)) is not None)


def _port(device: str, nat: Layout, delivering: Layout) -> Port:
    sent = nat.chains[f"VIPNET-G-{device}"]
    arp = [match.groups() for match in _matches(_ARP, sent)]
    ip6s = [match[1] for match in _matches(_IP6, sent)]
    peers = [match[1] for match in _matches(_PEER, delivering.chains.get(f"VIPNET-V-{device}", ()))]
    return Port(device, arp[0][0] if arp else "", tuple(ip for _, ip in arp), tuple(ip6s), tuple(peers))
