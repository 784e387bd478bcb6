"""The entries of a router or gateway, from the rules that are there. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, get_args

from vipnet.addresses import ip_of
from vipnet_iptables.declaration import fixed
from vipnet_iptables.entries import Count, Direction, Inside, Kind, Nat, RouterEntry, Skeleton, Torn, Transit, Way
from vipnet_iptables.metering import Comment
from vipnet_iptables.router import MANGLE, NAT, TABLES, Router
from vipnet_iptables.tables import Layout, Table, is_same

__all__ = ["Found", "router_found"]

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_WAY: Final = re.compile(r"VIPNET-UP(\d+)")
_INSIDE: Final = re.compile(r"-o (\S+) -m mark --mark \S+ -j SNAT --to-source (\S+)")
_TRANSIT: Final = re.compile(r"-o tr0 -j SNAT --to-source (\S+)")
_LEAF: Final = re.compile(r"VIPNET-((?:DNAT|SNAT|VIA|RX\d+|TX\d+))-[0-9a-f]{7}")
_LIMITED: Final = re.compile(r"VIPNET-[RT]L(\d+)")


class Found:
    """What a namespace has: its entries, the router that follows from them, and how tables are that are not as they should be.

    `seen` None: all are.
    """

    __slots__ = ("entries", "router", "seen")

    def __init__(self, entries: list[RouterEntry], router: Router, seen: dict[Table, Layout] | None) -> None:
        self.entries = entries
        self.router = router
        self.seen = seen


def router_found(namespace: str, tables: Mapping[Table, Layout], answered: Collection[int]) -> Found:
    """Tell what entries the rules of a namespace, and the EIPs that it answers for, follow from."""
    seen = {table: tables.get(table, Layout()) for table in TABLES}
    if not any(layout.chains for layout in seen.values()):
        torn: list[RouterEntry] = [Torn(namespace, eip, ("it is answered for",)) for eip in answered]
        return Found(torn, Router(), seen if any(layout.jumps for layout in seen.values()) else None)
    router, leaves = Router(), _Leaves(namespace, seen)
    router.put(_parts(namespace, seen))
    router.put(leaves.counts())
    nats = leaves.nats(answered)
    router.put(nats)
    router.kind = _kind(router, seen)
    broken, whole = _compared(router, seen)
    if not whole or not broken <= {ip for nat in nats for ip in (nat.eip, nat.vip)}:
        router.kind = None
    gone = {nat.eip for nat in nats if nat.eip in broken or nat.vip in broken}
    torn_eips = (leaves.eips() | set(answered)) - {nat.eip for nat in nats} | gone
    entries: list[RouterEntry] = [
        Skeleton(namespace, router.kind),
        *router.ways.values(),
        *router.insides.values(),
        *([router.transit] if router.transit is not None else []),
        *(nat for nat in nats if nat.eip not in gone),
        *(count._replace(lost=False) for count in (*router.rx.values(), *router.tx.values())),
        *(Torn(namespace, eip, tuple(leaves.about(eip))) for eip in sorted(torn_eips)),
    ]
    intact = not broken and not torn_eips and router.kind is not None
    router.take([nat for nat in nats if nat.eip in gone])
    return Found(entries, router, None if intact else seen)


def _parts(namespace: str, seen: Mapping[Table, Layout]) -> Iterator[RouterEntry]:
    for chain in seen[MANGLE].chains:
        if (match := _WAY.fullmatch(chain)) is not None:
            yield Way(namespace, int(match[1]))
    for rule in seen[NAT].chains.get("VIPNET-POST", ()):
        if (match := _INSIDE.fullmatch(rule)) is not None:
            yield Inside(namespace, match[1], match[2])
        elif (match := _TRANSIT.fullmatch(rule)) is not None:
            yield Transit(namespace, match[1])


def _kind(router: Router, seen: Mapping[Table, Layout]) -> Kind | None:
    """The kind whose fixed rules these are."""
    for kind in _KINDS:
        for table in TABLES:
            should = fixed(table, kind, sorted(router.ways), list(router.insides.values()), router.transit)
            if not all(is_same(seen[table].chains.get(chain, ()), rules) for chain, rules in should.chains.items()):
                break
            there = seen[table]
            if there.jumps != should.jumps or there.doubled or not should.policies.items() <= there.policies.items():
                break
        else:
            return kind
    return None


def _compared(router: Router, seen: Mapping[Table, Layout]) -> tuple[set[int], bool]:
    """The addresses whose rules are not as they should be, and whether all else is."""
    broken, whole = set[int](), True
    for table, should in router.layouts().items():
        for chain in {*should.chains, *seen[table].chains}:
            found, wanted = seen[table].chains.get(chain, ()), should.chains.get(chain, ())
            if chain in seen[table].chains and chain in should.chains and is_same(found, wanted):
                continue
            match = _LEAF.fullmatch(chain)
            addresses = [_address(rule) for rule in {*found} ^ {*wanted}]
            whole = whole and match is not None and bool(addresses) and None not in addresses
            broken |= {ip for ip in addresses if ip is not None}
    return broken, whole


def _address(rule: str) -> int | None:
    words = rule.split(" ", 2)
    if words[0] not in ("-s", "-d") or not words[1].endswith("/32"):
        return None
    return ip_of(words[1].removesuffix("/32"))


class _Leaves:
    """What leaf chains say of addresses."""

    def __init__(self, namespace: str, seen: Mapping[Table, Layout]) -> None:
        self._namespace = namespace
        self._dnat = dict[int, int]()
        self._snat = dict[int, int]()
        self._via = dict[int, int]()
        self._rates: dict[str, dict[int, int]] = defaultdict(dict)
        self._counts = list[Count]()
        self._rules: dict[int, list[str]] = defaultdict(list)
        for table in (NAT, MANGLE):
            for chain, rules in seen[table].chains.items():
                if (match := _LEAF.fullmatch(chain)) is not None:
                    self._read(match[1], rules)

    def _read(self, tag: str, rules: Iterable[str]) -> None:
        for rule in rules:
            if (ip := _address(rule)) is None:
                continue
            words = rule.split(" ")
            match tag[:2], words[2:]:
                case "DN", ["-j", "DNAT", "--to-destination", vip]:
                    self._dnat[ip] = ip_of(vip)
                case "SN", ["-j", "SNAT", "--to-source", eip]:
                    self._snat[ip] = ip_of(eip)
                case "VI", ["-j", "MARK", "--set-xmark", mark]:
                    self._via[ip] = int(mark.partition("/")[0], 16)
                case "RX" | "TX", ["-j", chain] if (limit := _LIMITED.fullmatch(chain)) is not None:
                    self._rates[tag][ip] = int(limit[1])
                case "RX" | "TX", ["-m", "comment", "--comment", text, "-j", "RETURN"]:
                    self._count(tag, ip, text.strip('"'))
                case _:
                    pass
            if tag[:2] in ("DN", "RX"):
                self._rules[ip].append(f"{tag}: {rule}")

    def _count(self, tag: str, ip: int, text: str) -> None:
        said = Comment.parsed(text)
        if said is not None and bool(said.eip) == (tag[:2] == "TX"):
            direction: Direction = "tx" if said.eip else "rx"
            eip, vip = (ip_of(said.eip), ip) if said.eip else (ip, 0)
            self._counts.append(Count(self._namespace, direction, eip, vip, int(tag[2:]), said.owner, said.lost))

    def counts(self) -> list[Count]:
        return self._counts

    def eips(self) -> set[int]:
        """Those that are said to be translated in some way."""
        return {*self._dnat, *self._snat.values()}

    def about(self, eip: int) -> list[str]:
        return self._rules.get(eip, [])

    def nats(self, answered: Collection[int]) -> list[Nat]:
        """The mappings that are whole as far as this can be said without their order."""
        found = list[Nat]()
        for eip, vip in self._dnat.items():
            uplink = self._via.get(vip, 0) - 1
            rate = self._rates[f"RX{uplink}"].get(eip, 0)
            same = self._rates[f"TX{uplink}"].get(vip, 0) == rate
            if self._snat.get(vip) == eip and uplink >= 0 and same and eip in answered:
                found.append(Nat(self._namespace, eip, vip, uplink, rate))
        return found


