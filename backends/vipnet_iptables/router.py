"""The rules of a router or gateway: what chains there are follows from its entries alone, whatever came before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, assert_never

from vipnet.addresses import format_ip4
from vipnet_iptables.declaration import FIXED_TABLES, fixed, limits
from vipnet_iptables.entries import Count, Inside, Kind, Nat, RouterEntry, Skeleton, Torn, Transit, Way
from vipnet_iptables.tables import Layout, Table
from vipnet_iptables.tree import Branches, Node, Tree

__all__ = ["MANGLE", "NAT", "TABLES", "Router", "Spot", "by_tree", "rule_of_count", "spots", "tree_of"]

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
                self._enter(spots(entry))
            case Count():
                self._take(entry)
                if entry.direction == "tx":
                    self._by_vip[entry.vip].add(entry.eip)
                (self.rx if entry.direction == "rx" else self.tx)[entry.eip] = entry
                self._enter(spots(entry))
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

    def _enter(self, touched: Iterable[Spot]) -> None:
        """Put addresses into trees."""
        for tag, ip in touched:
            self._branches[tag].add(ip)

    def _settle(self, touched: Iterable[Spot]) -> None:
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
                return bool(self._mapped(ip))
            case "RX":
                nat, count, uplink = self.nats.get(ip), self.rx.get(ip), int(tag[2:])
                return (nat is not None and nat.uplink == uplink) or (count is not None and count.uplink == uplink)
            case _:
                uplinks = {*(nat.uplink for nat in self._mapped(ip)), *(count.uplink for count in self._sent(ip))}
                return int(tag[2:]) in uplinks

    # ------------------------------------------------------------------------------------------------- rules

    def layout(self, table: Table, touched: Mapping[str, Collection[int]] | None = None) -> Layout:
        """What should be in a table; with `touched`, addresses by tree, of trees only the chains that those are in."""
        if self.kind is None:
            return Layout()
        found = fixed(table, self.kind, sorted(self.ways), list(self.insides.values()), self.transit)
        for tag in self._tags(table):
            words, branches = tree_of(tag)[1], self._branches.get(tag, Branches())
            lines = self._liner(tag)
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

    def _nodes(self, tag: str, branches: Branches, touched: Mapping[str, Collection[int]] | None) -> Iterable[Node]:
        root = Node(0, 0)
        if touched is None:
            return dict.fromkeys([root, *branches])
        leaves = {ip >> 4 for ip in touched.get(tag, ())}
        nodes = (Node(7 - up, leaf >> 4 * up) for leaf in leaves for up in range(5))
        return dict.fromkeys([root, *(node for node in nodes if node in branches)])

    def _liner(self, tag: str) -> Callable[[int], list[str]]:
        """What says the rules about one address in a tree."""
        match tag[:2]:
            case "DN":
                return self._translating
            case "SN":
                return self._untranslating
            case "VI":
                return self._marking
            case "RX":
                return partial(self._receiving, int(tag[2:]))
            case _:
                return partial(self._sending, int(tag[2:]))

    def _translating(self, eip: int) -> list[str]:
        nat = self.nats.get(eip)
        return [] if nat is None else [f"-d {format_ip4(eip)}/32 -j DNAT --to-destination {format_ip4(nat.vip)}"]

    def _untranslating(self, vip: int) -> list[str]:
        return [f"-s {format_ip4(vip)}/32 -j SNAT --to-source {format_ip4(nat.eip)}" for nat in self._mapped(vip)]

    def _marking(self, vip: int) -> list[str]:
        return [f"-s {format_ip4(vip)}/32 -j MARK --set-xmark {nat.uplink + 1:#x}/0xff" for nat in self._mapped(vip)]

    def _receiving(self, uplink: int, eip: int) -> list[str]:
        nat, count = self.nats.get(eip), self.rx.get(eip)
        return _metered("-d", "RL", eip, uplink, () if nat is None else (nat,), () if count is None else (count,))

    def _sending(self, uplink: int, vip: int) -> list[str]:
        return _metered("-s", "TL", vip, uplink, self._mapped(vip), self._sent(vip))

    def _mapped(self, vip: int) -> list[Nat]:
        """The mappings of a VIP: one, if nobody did anything wrong."""
        eips = self._by_vip.get(vip, ())
        found = (self.nats.get(eip) for eip in (sorted(eips) if len(eips) > 1 else eips))
        return [nat for nat in found if nat is not None and nat.vip == vip]

    def _sent(self, vip: int) -> list[Count]:
        eips = self._by_vip.get(vip, ())
        found = (self.tx.get(eip) for eip in (sorted(eips) if len(eips) > 1 else eips))
        return [count for count in found if count is not None and count.vip == vip]


def _metered(
    option: str, chain: str, ip: int, uplink: int, nats: Sequence[Nat], counts: Sequence[Count]
) -> list[str]:
    """What limits and counts an address, and lets it pass. Counters of mappings that have gone stand where nothing gets to."""
    address, rules, closed = f"{option} {format_ip4(ip)}/32", list[str](), [count for count in counts if count.uplink == uplink]
    for nat in nats:
        if nat.uplink != uplink:
            continue
        if nat.rate:
            rules.append(f"{address} -j VIPNET-{chain}{nat.rate}")
        rules += [_counting(address, count) for count in closed if count.eip == nat.eip]
        closed = [count for count in closed if count.eip != nat.eip]
    if closed:
        rules += [f"{address} -j DROP", *(_counting(address, count) for count in closed)]
    return rules


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


def by_tree(entries: Iterable[RouterEntry]) -> dict[str, set[int]]:
    """The addresses that entries have to do with, by tree."""
    found: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        if isinstance(entry, Nat | Count):
            for tag, ip in spots(entry):
                found[tag].add(ip)
    return found


TABLES: Final = FIXED_TABLES
