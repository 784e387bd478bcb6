"""The tree of chains, and the rules that follow from entries: the road of changes leads to where reading everything does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from vipnet_iptables.declaration import FIXED_TABLES
from vipnet_iptables.dispatch import dispatch
from vipnet_iptables.entries import Count, Inside, Nat, RouterEntry, Skeleton, Torn, Transit, Way
from vipnet_iptables.router import MANGLE, NAT, Router
from vipnet_iptables.router_reader import router_found
from vipnet_iptables.tables import Layout, Table, edits
from vipnet_iptables.tree import Branches, Node, Tree

SPACE = "vn-0123456789ab"
addresses = st.one_of(st.integers(0xCB007100, 0xCB0071FF), st.integers(0x0A000000, 0xDFFFFFFF))
TREE = Tree("VIPNET-T", "-d", ("-j DROP",))


def contents(branches: Branches) -> dict[str, list[str]]:
    return {TREE.chain(node): TREE.content(node, branches, lambda ips: [f"rule {ip}" for ip in ips]) for node in branches}


@given(st.lists(st.tuples(st.booleans(), addresses), max_size=60))
def test_a_tree_follows_from_its_addresses_alone(changes: list[tuple[bool, int]]) -> None:
    branches, there = Branches(), set[int]()
    for comes, ip in changes:
        before, near = contents(branches), branches.near([ip])
        if comes:
            branches.add([ip])
        else:
            branches.remove(ip)
        there = there | {ip} if comes else there - {ip}
        after = contents(branches)
        changed = {chain for chain in {*before, *after} if before.get(chain) != after.get(chain)}
        assert changed <= {TREE.chain(node) for node in near}
        assert len(near) <= 6
        assert branches.has(ip) == comes
    whole = Branches()
    whole.add(there)
    assert contents(branches) == contents(whole)
    assert set(branches) == set(whole)
    assert reached(branches) == there


def reached(branches: Branches) -> set[int]:
    """The addresses to which ways lead from the root."""
    todo, found = [Node(0, 0)], set[int]()
    while todo:
        node = todo.pop()
        digits = node.digits + 1 if node.digits else 3
        for way in branches.ways(node):
            if node.is_leaf:
                found.add(way)
            else:
                todo.append(Node(digits, way))
    return found


def test_a_chain_has_at_most_sixteen_ways() -> None:
    branches = Branches()
    branches.add(range(0xCB000000, 0xCB000000 + 5000))
    assert max(len(list(branches.ways(node))) for node in branches) == 16
    assert len(branches) < 5000 / 16 * 1.2


# ----------------------------------------------------------------------------------------------------- a table, in memory


@dataclass
class Program:
    """What the restore programs do with commands, in memory: stricter than they are, as it refuses what finds nothing."""

    chains: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    policies: dict[str, str] = field(default_factory=dict[str, str])
    jumps: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def run(self, lines: Iterable[str]) -> None:
        for line in lines:
            verb, _, rest = line.partition(" ")
            chain, _, rule = rest.partition(" ")
            if line.startswith(":"):
                self._declare(verb[1:], rest.split(" ")[0])
                continue
            rule = rule.partition(" -c ")[0]
            rules = self.chains[chain] if chain in self.chains else self.jumps.setdefault(chain, [])
            match verb:
                case "-A":
                    rules.append(rule)
                case "-I":
                    number, _, rule = rule.partition(" ")
                    assert 0 < int(number) <= len(rules) + 1
                    rules.insert(int(number) - 1, rule)
                case "-D":
                    rules.remove(rule)
                case "-F":
                    rules.clear()
                case _:
                    assert verb == "-X"
                    assert not rules, "a chain that is not empty"
                    everywhere = [one for rules in (*self.chains.values(), *self.jumps.values()) for one in rules]
                    assert not any(one.endswith((f"-j {chain}", f"-g {chain}")) for one in everywhere), f"{chain} is in use"
                    del self.chains[chain]

    def _declare(self, chain: str, policy: str) -> None:
        if policy in ("-", "RETURN"):
            self.chains[chain] = []
        else:
            self.policies[chain] = policy

    def layout(self) -> Layout:
        jumps = {chain: rules[0].removeprefix("-j ") for chain, rules in self.jumps.items() if rules}
        return Layout(dict(self.chains), dict(self.policies), jumps)


eips = st.integers(0xCB007160, 0xCB007190)
vips = st.integers(0xC0A80700, 0xC0A80740)
rates = st.sampled_from([0, 125_000, 3_750_000])
uplinks = st.integers(0, 1)
owners = st.sampled_from(["0123456789ab", "ba9876543210"])


@st.composite
def mappings(draw: st.DrawFn) -> list[Nat]:
    """EIPs and VIPs, one to one."""
    some = draw(st.lists(st.tuples(eips, vips, uplinks, rates), max_size=12, unique_by=(lambda one: one[0], lambda one: one[1])))
    return [Nat(SPACE, *one) for one in some]


@st.composite
def routers(draw: st.DrawFn) -> list[RouterEntry]:
    nats = draw(mappings())
    kept = draw(st.lists(st.sampled_from(nats), unique=True)) if nats else []  # the others have gone, but for what they counted
    owner = draw(owners)
    counts = [Count(SPACE, "rx", nat.eip, 0, nat.uplink, owner) for nat in nats]
    counts += [Count(SPACE, "tx", nat.eip, nat.vip, nat.uplink, owner) for nat in nats]
    fixed: list[RouterEntry] = [Skeleton(SPACE, draw(st.sampled_from(["eip", "eip-distgw"]))), Way(SPACE, 0), Way(SPACE, 1)]
    insides = [Inside(SPACE, f"vns{number:012x}", "192.168.4.1") for number in range(draw(st.integers(0, 2)))]
    transit = [Transit(SPACE, "100.64.0.3")] if draw(st.booleans()) else []
    return [*fixed, *insides, *transit, *kept, *counts]


def made(entries: Iterable[RouterEntry]) -> Router:
    router = Router()
    router.put(entries)
    return router


def laid_out(router: Router) -> dict[Table, Layout]:
    found = router.layouts()
    for layout in found.values():
        layout.chains = {chain: list(rules) for chain, rules in layout.chains.items()}
    return found


@given(st.lists(routers(), min_size=1, max_size=4))
def test_changes_lead_to_where_reading_everything_does(scenes: list[list[RouterEntry]]) -> None:
    """Entry after entry, by commands for what is touched alone; what programs then have is what follows from the entries."""
    router, there = Router(), dict[str, RouterEntry]()
    programs = {table: Program() for table in FIXED_TABLES}
    for scene in scenes:
        wanted = {entry.key: entry for entry in scene}
        gone = [entry for key, entry in there.items() if wanted.get(key) != entry]
        comes = [entry for key, entry in wanted.items() if there.get(key) != entry]
        near = router.near((*gone, *comes))
        before = router.layouts(near)
        router.take(gone)
        router.put(comes)
        after = router.layouts(near)
        for table, program in programs.items():
            program.run(edits(table.family, before[table], after[table]))
        there = wanted
        should = laid_out(made(there.values()))
        assert {table: program.layout() for table, program in programs.items()} == should == laid_out(router)


@given(routers())
def test_what_is_read_is_what_was_installed(entries: list[RouterEntry]) -> None:
    router = made(entries)
    answered = {entry.eip for entry in entries if isinstance(entry, Nat)}
    found = router_found(SPACE, laid_out(router), answered)
    assert found.seen is None
    assert {entry.key: entry for entry in found.entries} == {entry.key: entry for entry in entries}
    assert laid_out(found.router) == laid_out(router)


@given(routers(), st.data())
def test_a_rule_that_is_missing_is_noticed(entries: list[RouterEntry], data: st.DataObject) -> None:
    tables = laid_out(made(entries))
    answered = {entry.eip for entry in entries if isinstance(entry, Nat)}
    table = data.draw(st.sampled_from([table for table in FIXED_TABLES if any(tables[table].chains.values())]))
    chain = data.draw(st.sampled_from([chain for chain, rules in tables[table].chains.items() if rules]))
    rules = list(tables[table].chains[chain])
    del rules[data.draw(st.integers(0, len(rules) - 1))]
    tables[table].chains[chain] = rules
    found = router_found(SPACE, tables, answered)
    assert {entry.key: entry for entry in found.entries} != {entry.key: entry for entry in entries}


@given(routers(), routers())
def test_whatever_is_there_is_put_right(there: list[RouterEntry], wanted: list[RouterEntry]) -> None:
    """Rules of one set of entries, some of another among them, become those of this."""
    found_there, should = made(there).layouts(), made(wanted).layouts()
    for table in FIXED_TABLES:
        before, after = found_there[table], should[table]
        before.chains = {chain: [*after.chains.get(chain, ())[:1], *rules] for chain, rules in before.chains.items()}
        program = Program({chain: list(rules) for chain, rules in before.chains.items()}, dict(before.policies))
        program.jumps = {chain: [f"-j {goes}"] for chain, goes in before.jumps.items()}
        program.run(edits(table.family, before, after))
        found = program.layout()
        assert found.chains == {chain: list(rules) for chain, rules in after.chains.items()}
        assert found.jumps == after.jumps


def test_one_more_eip_touches_one_leaf_of_each_tree() -> None:
    router = made([Skeleton(SPACE, "eip"), Way(SPACE, 0)])
    router.put(Nat(SPACE, 0xCB007100 + number, 0xC0A80700 + number, 0) for number in range(200))
    one = Nat(SPACE, 0xCB007100 + 200, 0xC0A80700 + 200, 0)
    near = router.near([one])
    assert {tag: len(nodes) for tag, nodes in near.items()} == dict.fromkeys(near, 2)
    before = router.layouts(near)
    router.put([one])
    after = router.layouts(near)
    lines = [line for table in (NAT, MANGLE) for line in edits("ip", before[table], after[table])]
    assert sorted(line.split(" ")[1] for line in lines) == [
        "VIPNET-DNAT-cb0071c", "VIPNET-SNAT-c0a807c", "VIPNET-VIA-c0a807c"
    ]  # fmt: skip -- what counts it, and lets it pass, are entries of their own


def test_a_torn_mapping_is_known_by_its_eip() -> None:
    entries: list[RouterEntry] = [Skeleton(SPACE, "eip"), Way(SPACE, 0), Nat(SPACE, 0xCB007164, 0xC0A807F6, 0)]
    found = router_found(SPACE, laid_out(made(entries)), answered=())
    torn = [entry for entry in found.entries if isinstance(entry, Torn)]
    assert [entry.eip for entry in torn] == [0xCB007164]
    assert "--to-destination 192.168.7.246" in torn[0].text


devices = st.text("abt01-.", min_size=1, max_size=6)


@given(st.sets(devices, max_size=60))
def test_every_device_is_found_and_no_other(some: set[str]) -> None:
    chains = dispatch("D", {device: f"-j {device}" for device in some}, lambda device: f"-i {device}")
    for device in {*some, "a", "b1", "t.t.t.", "zz"}:
        assert gone_through(chains, "D", device) == ([device] if device in some else [])
    backwards = {device: f"-j {device}" for device in sorted(some, reverse=True)}
    assert chains == dispatch("D", backwards, lambda device: f"-i {device}")


def gone_through(chains: Mapping[str, Sequence[str]], chain: str, device: str) -> list[str]:
    found = list[str]()
    for rule in chains[chain]:
        words = rule.split(" ")
        if device == words[1] or (words[1].endswith("+") and device.startswith(words[1][:-1])):
            found += gone_through(chains, words[3], device) if words[3] in chains and words[3] != device else [words[3]]
    return found
