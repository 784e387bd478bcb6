"""The rules of a router or gateway: what chains there are follows from its entries alone, whatever came before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final, assert_never

from vipnet_iptables.declaration import FIXED_TABLES, fixed, limits
from vipnet_iptables.entries import Count, Inside, Kind, Nat, RouterEntry, Skeleton, Torn, Transit, Way
from vipnet_iptables.lines import Lines
from vipnet_iptables.tables import Layout, Table
from vipnet_iptables.tree import Branches, Node, Tree

__all__ = ["MANGLE", "NAT", "TABLES", "Router", "tree_of"]

TABLES: Final = FIXED_TABLES
MANGLE: Final = Table("ip", "mangle")
NAT: Final = Table("ip", "nat")

_DROP: Final = ("-j DROP",)
_ROOT: Final = Node(0, 0)


def tree_of(tag: str) -> tuple[Table, Tree]:
    """The table and the words of a tree; tags are `DNAT`, `SNAT`, `VIA`, and `RX` and `TX` with the number of an uplink."""
    root = f"VIPNET-{tag}"
    match tag[:2]:
        case "DN":
            return NAT, Tree(root, "-d")
        case "SN":
            return NAT, Tree(root, "-s")
        case "VI":
            return MANGLE, Tree(root, "-s")
        case "RX":
            return MANGLE, Tree(root, "-d", _DROP)
        case _:
            return MANGLE, Tree(root, "-s", _DROP)


class Router:
    """The entries of a namespace, and the trees that follow from them."""

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.ways = dict[int, Way]()
        self.insides = dict[str, Inside]()
        self.transit: Transit | None = None
        self.nats = dict[int, Nat]()
        self.rx = dict[int, Count]()
        self.tx = dict[int, Count]()
        self._by_vip: dict[int, tuple[int, ...]] = {}
        self._rates = Counter[int]()
        self._branches: dict[str, Branches] = defaultdict(Branches)

    # ------------------------------------------------------------------------------------------------- entries

    def put(self, entries: Iterable[RouterEntry]) -> None:
        """Put entries in; what is there under their keys goes."""
        some = list(entries)
        anew = sum(map(self._put, some))
        for tag, ips in _by_tree(some).items():
            self._branches[tag].add((ip for ip in ips if self._has(tag, ip)) if anew else ips)

    def take(self, entries: Iterable[RouterEntry]) -> None:
        """Take entries out, by their keys."""
        for entry in entries:
            self._take(entry)

    def installed(self, entry: RouterEntry) -> RouterEntry | None:
        """The entry that is there under the key of another one, as it is."""
        match entry:
            case Skeleton():
                return None if self.kind is None else Skeleton(entry.namespace, self.kind)
            case Way():
                return self.ways.get(entry.uplink)
            case Inside():
                return self.insides.get(entry.leg)
            case Transit():
                return self.transit
            case Nat() | Torn():
                return self.nats.get(entry.eip)
            case Count():
                return (self.rx if entry.direction == "rx" else self.tx).get(entry.eip)
            case _:
                assert_never(entry)

    def _put(self, entry: RouterEntry) -> bool:
        """Put an entry in, but for its trees; whether one with rules about addresses was there under its key."""
        match entry:
            case Nat():
                anew = entry.eip in self.nats
                if anew:
                    self._take(entry)
                self.nats[entry.eip] = entry
                self._remember(entry.vip, entry.eip)
                self._rates[entry.rate] += 1
                return anew
            case Count():
                counts = self.rx if entry.direction == "rx" else self.tx
                anew = entry.eip in counts
                if anew:
                    self._take(entry)
                if entry.direction == "tx":
                    self._remember(entry.vip, entry.eip)
                counts[entry.eip] = entry
                return anew
            case Skeleton():
                self.kind = entry.kind
            case Way():
                self.ways[entry.uplink] = entry
            case Inside():
                self.insides[entry.leg] = entry
            case Transit():
                self.transit = entry
            case Torn():
                pass
            case _:
                assert_never(entry)
        return False

    def _take(self, entry: RouterEntry) -> None:
        match entry:
            case Skeleton():
                self.kind = None
            case Way():
                self.ways.pop(entry.uplink, None)
            case Inside():
                self.insides.pop(entry.leg, None)
            case Transit():
                self.transit = None
            case Nat():
                if (known := self.nats.pop(entry.eip, None)) is not None:
                    self._rates[known.rate] -= 1
                    self._forget(known.vip, known.eip)
                    self._settle(_spots(known))
            case Count():
                counts = self.rx if entry.direction == "rx" else self.tx
                if (there := counts.pop(entry.eip, None)) is not None:
                    self._forget(there.vip, there.eip)
                    self._settle(_spots(there))
            case Torn():
                pass
            case _:
                assert_never(entry)

    def _remember(self, vip: int, eip: int) -> None:
        """An EIP has to do with a VIP. Nearly always it is the only one."""
        there = self._by_vip.get(vip, ())
        if eip not in there:
            self._by_vip[vip] = tuple(sorted((*there, eip)))

    def _forget(self, vip: int, eip: int) -> None:
        """An EIP has less to do with a VIP: nothing any more, unless its mapping or its counter still does."""
        nat, count = self.nats.get(eip), self.tx.get(eip)
        if vip in ((None if nat is None else nat.vip), (None if count is None else count.vip)):
            return
        if left := tuple(one for one in self._by_vip.get(vip, ()) if one != eip):
            self._by_vip[vip] = left
        else:
            self._by_vip.pop(vip, None)

    def _settle(self, touched: Iterable[tuple[str, int]]) -> None:
        """Take addresses out of trees in which there is nothing to say of them any more."""
        for tag, ip in touched:
            if tag in self._branches and not self._has(tag, ip):
                self._branches[tag].remove(ip)
                if not self._branches[tag]:
                    del self._branches[tag]

    def _has(self, tag: str, ip: int) -> bool:
        """Whether an address has something to do with a tree."""
        match tag[:2]:
            case "DN":
                return ip in self.nats
            case "SN" | "VI":
                return bool(self.mapped(ip))
            case "RX":
                nat, count, uplink = self.nats.get(ip), self.rx.get(ip), int(tag[2:])
                return (nat is not None and nat.uplink == uplink) or (count is not None and count.uplink == uplink)
            case _:
                uplinks = {*(nat.uplink for nat in self.mapped(ip)), *(count.uplink for count in self.sent(ip))}
                return int(tag[2:]) in uplinks

    # ------------------------------------------------------------------------------------------------- rules

    def near(self, entries: Iterable[RouterEntry]) -> dict[str, list[Node]]:
        """The chains that may be others when entries come or go, by tree."""
        return {tag: self._branches.get(tag, Branches()).near(set(ips)) for tag, ips in _by_tree(entries).items()}

    def layouts(self, near: Mapping[str, Collection[Node]] | None = None) -> dict[Table, Layout]:
        """What should be in each table; with `near`, chains by tree, of trees only those."""
        if self.kind is None:
            return {table: Layout() for table in TABLES}
        insides, lines = list(self.insides.values()), Lines(self)
        found = {table: fixed(table, self.kind, sorted(self.ways), insides, self.transit) for table in TABLES}
        for tag in self._tags():
            (table, words), branches = tree_of(tag), self._branches.get(tag, Branches())
            nodes = branches if near is None else (node for node in near.get(tag, ()) if node in branches)
            say = lines.of(tag)
            chains = found[table].chains
            for node in (_ROOT, *nodes):
                chains[words.chain(node)] = words.content(node, branches, say)
        found[MANGLE].chains |= limits(sorted(rate for rate, users in self._rates.items() if rate and users > 0))
        return found

    def _tags(self) -> list[str]:
        """The trees: those that rules lead to, and those that have something in them."""
        ways = (f"{kind}{uplink}" for uplink in self.ways for kind in ("RX", "TX"))
        return sorted({*ways, *self._branches, *(("DNAT", "SNAT", "VIA") if self.kind in ("eip", "eip-distgw") else ())})

    # ------------------------------------------------------------------------------------------------- by address

    def mapped(self, vip: int) -> list[Nat]:
        """The mappings of a VIP: one, if nobody did anything wrong."""
        nats, eips = self.nats, self._by_vip.get(vip, ())
        return [nat for eip in eips if (nat := nats.get(eip)) is not None and nat.vip == vip]

    def sent(self, vip: int) -> list[Count]:
        """The counters of what a VIP sends."""
        counts, eips = self.tx, self._by_vip.get(vip, ())
        return [count for eip in eips if (count := counts.get(eip)) is not None and count.vip == vip]


def _spots(entry: Nat | Count) -> tuple[tuple[str, int], ...]:
    """The addresses that an entry has to do with, each with the tag of the tree."""
    if isinstance(entry, Nat):
        eip, vip, uplink = entry.eip, entry.vip, entry.uplink
        return ("DNAT", eip), ("SNAT", vip), ("VIA", vip), (f"RX{uplink}", eip), (f"TX{uplink}", vip)
    return ((f"RX{entry.uplink}", entry.eip) if entry.direction == "rx" else (f"TX{entry.uplink}", entry.vip),)


def _by_tree(entries: Iterable[RouterEntry]) -> dict[str, list[int]]:
    """The addresses that entries have to do with, by tree."""
    found: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry, Nat | Count):
            for tag, ip in _spots(entry):
                found[tag].append(ip)
    return found
