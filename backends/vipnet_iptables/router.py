"""The rules of a router or gateway: what chains there are follows from its entries alone, whatever came before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple, assert_never

from vipnet.addresses import format_ip4
from vipnet_iptables.declaration import FIXED_TABLES, fixed, limits
from vipnet_iptables.entries import Count, Inside, Kind, Nat, RouterEntry, Skeleton, Torn, Transit, Way
from vipnet_iptables.tables import Layout, Table
from vipnet_iptables.tree import Branches, Node, Tree

__all__ = ["MANGLE", "NAT", "TABLES", "Router", "Spot", "rule_of_count", "spots", "tree_of"]

MANGLE: Final = Table("ip", "mangle")
NAT: Final = Table("ip", "nat")

_DROP: Final = ("-j DROP",)


class Spot(NamedTuple):
    """An address in a tree, by the tag of that."""

    tag: str
    ip: int


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
        self._by_vip: dict[int, set[int]] = defaultdict(set)
        self._rates = Counter[int]()
        self._branches: dict[str, Branches] = defaultdict(Branches)

    # ------------------------------------------------------------------------------------------------- entries

    def put(self, entries: Iterable[RouterEntry]) -> None:
        """Put entries in; what is there under their keys goes."""
        for entry in entries:
            self._put(entry)

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

    def _put(self, entry: RouterEntry) -> None:
        match entry:
            case Skeleton():
                self.kind = entry.kind
            case Way():
                self.ways[entry.uplink] = entry
            case Inside():
                self.insides[entry.leg] = entry
            case Transit():
                self.transit = entry
            case Nat():
                self._take(entry)
                self.nats[entry.eip] = entry
                self._by_vip[entry.vip].add(entry.eip)
                self._rates[entry.rate] += 1
                self._settle(spots(entry))
            case Count():
                self._take(entry)
                if entry.direction == "tx":
                    self._by_vip[entry.vip].add(entry.eip)
                (self.rx if entry.direction == "rx" else self.tx)[entry.eip] = entry
                self._settle(spots(entry))
            case Torn():
                pass
            case _:
                assert_never(entry)

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
                    self._settle(spots(known))
            case Count():
                counts = self.rx if entry.direction == "rx" else self.tx
                if (there := counts.pop(entry.eip, None)) is not None:
                    self._forget(there.vip, there.eip)
                    self._settle(spots(there))
            case Torn():
                pass
            case _:
                assert_never(entry)

    def _forget(self, vip: int, eip: int) -> None:
        """An EIP has less to do with a VIP: nothing any more, unless its mapping or its counter still does."""
        nat, count = self.nats.get(eip), self.tx.get(eip)
        if vip not in ((None if nat is None else nat.vip), (None if count is None else count.vip)):
            self._by_vip[vip].discard(eip)
            if not self._by_vip[vip]:
                del self._by_vip[vip]

    def _settle(self, touched: Iterable[Spot]) -> None:
        for tag, ip in touched:
            if self._lines(tag, ip):
                self._branches[tag].add(ip)
            elif tag in self._branches:
                self._branches[tag].remove(ip)
                if not self._branches[tag]:
                    del self._branches[tag]

    # ------------------------------------------------------------------------------------------------- rules

    def layout(self, table: Table, touched: Collection[Spot] | None = None) -> Layout:
        """What should be in a table; with `touched`, of its trees only chains that those addresses are in."""
        if self.kind is None:
            return Layout()
        found = fixed(table, self.kind, sorted(self.ways), list(self.insides.values()), self.transit)
        for tag in self._tags(table):
            words, branches = tree_of(tag)[1], self._branches.get(tag, Branches())
            lines = partial(self._lines, tag)
            for node in self._nodes(tag, branches, touched):
                found.chains[words.chain(node)] = words.content(node, branches, lines)
        if table == MANGLE:
            found.chains |= limits(sorted(rate for rate, users in self._rates.items() if rate and users > 0))
        return found

    def _tags(self, table: Table) -> list[str]:
        """The trees of a table: those that rules lead to, and those that have something in them."""
        ways = (f"{kind}{uplink}" for uplink in self.ways for kind in ("RX", "TX"))
        wanted = {*ways, *self._branches, *(("DNAT", "SNAT", "VIA") if self.kind in ("eip", "eip-distgw") else ())}
        return sorted(tag for tag in wanted if tree_of(tag)[0] == table)

    def _nodes(self, tag: str, branches: Branches, touched: Collection[Spot] | None) -> Iterable[Node]:
        root = Node(0, 0)
        if touched is None:
            return {root: None, **dict.fromkeys(branches)}
        nodes = (node for spot in touched if spot.tag == tag for node in _way_to(spot.ip))
        return dict.fromkeys([root, *(node for node in nodes if node in branches)])

    def _lines(self, tag: str, ip: int) -> list[str]:
        """The rules about one address in one tree."""
        match tag[:2]:
            case "DN":
                nat = self.nats.get(ip)
                return [] if nat is None else [f"-d {format_ip4(ip)}/32 -j DNAT --to-destination {format_ip4(nat.vip)}"]
            case "SN":
                return [f"-s {format_ip4(ip)}/32 -j SNAT --to-source {format_ip4(nat.eip)}" for nat in self._mapped(ip)]
            case "VI":
                return [f"-s {format_ip4(ip)}/32 -j MARK --set-xmark {nat.uplink + 1:#x}/0xff" for nat in self._mapped(ip)]
            case "RX":
                nat, count = self.nats.get(ip), self.rx.get(ip)
                nats = [nat] if nat is not None else []
                return list(_metered("-d", "RL", ip, int(tag[2:]), nats, [count] if count is not None else []))
            case _:
                eips = sorted(self._by_vip.get(ip, ()))
                counts = [count for eip in eips if (count := self.tx.get(eip)) is not None and count.vip == ip]
                return list(_metered("-s", "TL", ip, int(tag[2:]), self._mapped(ip), counts))

    def _mapped(self, vip: int) -> list[Nat]:
        found = (self.nats.get(eip) for eip in sorted(self._by_vip.get(vip, ())))
        return [nat for nat in found if nat is not None and nat.vip == vip]


def _metered(option: str, chain: str, ip: int, uplink: int, nats: list[Nat], counts: list[Count]) -> Iterator[str]:
    """What limits and counts an address, and lets it pass. Counters of mappings that have gone stand where nothing gets to."""
    here, address = {nat.eip: nat for nat in nats if nat.uplink == uplink}, f"{option} {format_ip4(ip)}/32"
    there = [count for count in counts if count.uplink == uplink]
    for eip, nat in here.items():
        if nat.rate:
            yield f"{address} -j VIPNET-{chain}{nat.rate}"
        yield from (_counting(address, count) for count in there if count.eip == eip)
    closed = [count for count in there if count.eip not in here]
    if closed:
        yield f"{address} -j DROP"
        yield from (_counting(address, count) for count in closed)


def rule_of_count(count: Count) -> str:
    """The rule that a counter is."""
    return _counting(f"-d {format_ip4(count.eip)}/32" if count.direction == "rx" else f"-s {format_ip4(count.vip)}/32", count)


def _counting(address: str, count: Count) -> str:
    return f"{address} -m comment --comment {_quoted(count.comment)} -j RETURN"


def _quoted(comment: str) -> str:
    """As iptables-save prints it: in quotes only where it must be."""
    return comment if comment.replace("-", "").isalnum() else f'"{comment}"'


def spots(entry: Nat | Count) -> Iterator[Spot]:
    """The addresses in trees that an entry has to do with."""
    if isinstance(entry, Nat):
        yield from (Spot("DNAT", entry.eip), Spot("SNAT", entry.vip), Spot("VIA", entry.vip))
        yield from (Spot(f"RX{entry.uplink}", entry.eip), Spot(f"TX{entry.uplink}", entry.vip))
    elif entry.direction == "rx":
        yield Spot(f"RX{entry.uplink}", entry.eip)
    else:
        yield Spot(f"TX{entry.uplink}", entry.vip)


def _way_to(ip: int) -> Iterator[Node]:
    return (Node(digits, ip >> (32 - 4 * digits)) for digits in range(3, 8))


TABLES: Final = FIXED_TABLES
