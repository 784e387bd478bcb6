"""The backend: all input and output."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

from vipnet.backend import Backend, BackendContext, Capability, Usability, check_options
from vipnet.errors import InputParameterError
from vipnet.evidence import Finding, Location
from vipnet.intents import EipMapping, Intent, Released, VipBinding
from vipnet.plan import Plan, TargetPlan
from vipnet.process import missing
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters
from vipnet_iptables.answering import Answers
from vipnet_iptables.compiler import compile_intents
from vipnet_iptables.entries import Count, Nat, NativeEntry, RuleEntry, Skeleton, target_of
from vipnet_iptables.evidence import find
from vipnet_iptables.noticing import Glances, TableMemory, is_table
from vipnet_iptables.rules import Rules
from vipnet_iptables.tools import LEGACY, PROGRAMS, Tools, Variant
from vipnet_kernel import names
from vipnet_kernel.announcing import Announcing
from vipnet_kernel.commands import run_step, touched
from vipnet_kernel.eyes import KernelEyes
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Namespace
from vipnet_kernel.namespaces import identity, listed
from vipnet_kernel.reading import Reading, is_waiting, read_places, read_system, read_ways
from vipnet_kernel.releasing import flush, holder
from vipnet_kernel.steps import ordered

__all__ = ["IptablesBackend"]


class IptablesBackend(Backend[NativeEntry]):
    """Linux bridges with ebtables port security, and for each VPC a router namespace with 1:1 NAT by trees of iptables chains.

    Option `namespace`: the network namespace in which the servers' ports and the uplinks' devices are; "" is the process's own.
    Option `variant`: "legacy" or "nft", the programs in use; by default those in which the host has rules, else nft. Not for
    use by two threads at once; needs root.
    """

    name: ClassVar[str] = "iptables"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"ipv4", "ipv6", "eip", "distgw", "classic", "limits"})

    def __init__(self, context: BackendContext) -> None:
        check_options(self.name, context.options, {"namespace": str, "variant": str})
        self._host: str = context.options.get("namespace", "")
        self._owner = names.owner_mark(f"{identity(self._host)} iptables")
        self._handles = Handles()
        self._tools = Tools(self._host, _variant(context.options.get("variant")))
        self._answers = Answers(self._handles.sockets)
        self._rules = Rules(self._handles.sockets, self._tools, self._answers, self._host)
        self._memory = TableMemory(self._handles.sockets, self._host, self._tools)
        self._announcing = Announcing(self._handles.sockets, self._host, self._answers.among)

    @classmethod
    def usability(cls) -> Usability:
        """Say whether the user is root, and iptables and pyroute2 are installed."""
        if os.geteuid() != 0:
            return Usability(False, "the iptables backend changes the kernel's network: run it as root")
        if absent := missing(PROGRAMS):
            return Usability(False, f"not installed: {', '.join(absent)} (Debian packages iptables and nftables)")
        if find_spec("pyroute2") is None:
            return Usability(False, "not installed: pyroute2 (pip install 'vipnet[iptables]')")
        return Usability(True)

    def compile(self, intents: Iterable[Intent]) -> dict[str, NativeEntry]:
        """Translate intents into links, routes, and what rules follow from."""
        return compile_intents(intents, self._owner)

    def steps(self, plan: Plan[NativeEntry]) -> Iterable[TargetPlan[NativeEntry]]:
        """Links first, and ports off their bridges; then rules; then ports on them and links up; what goes, goes after that.

        Last of all go counters, whose EIP has gone from the router by then, and a router with counters in it.
        """
        return ordered(plan, counts=lambda entry: isinstance(entry, Count), routes=_rules_of)

    def read(self) -> dict[str, NativeEntry]:
        """Return every entry that is installed, in the host's namespace and in those that carry our mark."""
        return dict(self._look().entries)

    def audit(self, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
        """Read; what hangs on an interface that has not appeared yet counts as installed."""
        return _with_waiting(self._look(), expected)

    def recheck(self, expected: Mapping[str, NativeEntry], places: Collection[str]) -> dict[str, NativeEntry]:
        """Read some namespaces; what is expected elsewhere counts as installed."""
        before = self._memory.snapshot(map(self._namespace, places))
        reading = read_places(self._handles, self._host, self._owner, self._rules, expected, places)
        asked = [*map(self._namespace, {*places, *reading.namespaces})]
        after = self._memory.snapshot(asked)
        steady = [name for name in asked if name not in before or before[name] == after.get(name)]
        self._memory.take(steady, {name: look for name, look in after.items() if name in steady})
        self._rules.doubt([name for name in asked if name not in steady])
        return _with_waiting(reading, expected)

    def disturbed(self, places: Collection[str]) -> frozenset[str]:
        """Which namespaces differ in rules or interfaces from how they were left."""
        by_name = {self._namespace(place): place for place in places}
        return frozenset(by_name[name] for name in self._memory.touched(by_name))

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:
        """See rules, interfaces, addresses, routes and namespaces change, and who claims addresses."""
        eyes = KernelEyes(self._host, self._owner, report, is_table, vanished=self._handles.sockets.forget)
        return Glances(eyes, self._host, report) if self._tools.variant == LEGACY else eyes

    def changed(self) -> bool:
        """Whether rules or an interface were changed since, as far as the kernel says (see `legacy`)."""
        return not self._memory.holds()

    def stamp(self) -> str:
        """Name rules and interfaces as last seen."""
        return self._memory.stamp()

    def adopt(self, stamp: str) -> bool:
        """Take rules and interfaces for known if they are as stamped; routes, routing rules and settings are not looked at."""
        self._rules.doubt()
        return self._memory.adopt(stamp)

    def unnoticed(self, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
        """Read addresses, routes, rules and settings of our namespaces."""
        return read_ways(self._handles, self._owner, expected)

    def apply(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        """Change the links, the ports or the rules of one namespace; each table of these all or nothing."""
        refused = self._apply_rules(step) if step.target.startswith(target_of("")) else self._apply_links(step)
        if not refused:
            came = ((entry.namespace, entry.uplink, entry.eip) for entry in step.create if isinstance(entry, Nat))
            self._announcing.after(step, came)
        return refused

    def flush(self, released: Sequence[Released]) -> None:
        """Cut the connections of EIPs that left a router, and forget the MACs of private addresses that left a port."""
        flush(self._handles, released)

    def versions(self) -> dict[str, str]:
        """Versions of the kernel, iptables and pyroute2, and the variant in use."""
        mixed = ", and rules in the other variant, too" if self._tools.mixed() else ""
        return {
            "kernel": os.uname().release,
            "iptables": f"{self._tools.version()} ({self._tools.variant}{mixed})",
            "pyroute2": version("pyroute2"),
        }

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        """Read what the rules of each EIP have counted."""
        return self._counted((mapping.eip_id, mapping.vpc_id, mapping.eip) for mapping in mappings)

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:
        """Read what was counted of EIPs that have left, by the rules that `steps` leaves for last."""
        there = ((item.eip_id, item.vpc_id, item.eip) for item in ended)
        return self._counted((id, vpc_id, eip) for id, vpc_id, eip in there if id is not None and eip is not None)

    def evidence(self, entries: Sequence[NativeEntry]) -> Mapping[str, Finding]:
        """Look for entries where they belong: rules by reading their namespace, all else by key."""
        return find(self._handles, self._host, self._rules, entries)

    def holder(self, vip: VipBinding, version: int) -> Location | None:
        """Ask the VPC's router whose MAC it has for a VIP: gratuitous ARP of members alone moves that."""
        return holder(self._handles, vip, version)

    def announce(self, intents: Iterable[Intent]) -> None:
        """Announce EIPs that are answered for by gratuitous ARP, as `apply` does by itself."""
        self._announcing.again(intents)

    def close(self) -> None:
        """Release the sockets and their thread; what is installed stays."""
        self._announcing.close()
        self._memory.close()
        self._handles.close()

    # ------------------------------------------------------------------------------------------------- within

    def _namespace(self, place: str) -> str:
        return self._host if place == names.HOST else place

    def _counted(self, asked: Iterable[tuple[str, str, int]]) -> dict[str, Counters]:
        by_router: dict[str, list[tuple[str, int]]] = {}
        for id, vpc_id, eip in asked:
            by_router.setdefault(names.router_namespace(vpc_id), []).append((id, eip))
        found: dict[str, Counters] = {}
        for router, some in by_router.items():
            counted = self._rules.counting.read(router, some)
            found |= zip((id for id, _ in some), counted, strict=True)
        return found

    def _apply_rules(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        namespace = step.target.removeprefix(target_of("")) or self._host
        if not self._memory.holds([namespace]):
            self._memory.learn(None)
            self._rules.doubt([namespace])
        refused = self._rules.apply(step)
        self._memory.take([namespace], self._memory.snapshot([namespace]))
        return refused

    def _apply_links(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        there = touched(self._host, step)
        if not self._memory.holds(there):
            self._memory.learn(None)
        gone = [entry.name for entry in step.delete if isinstance(entry, Namespace)]
        for namespace in gone:
            self._announcing.forget(namespace)
        self._rules.doubt(gone)
        refused = run_step(self._handles, self._host, step)
        self._memory.renew(there, gone)
        return refused

    def _look(self) -> Reading[RuleEntry]:
        before = self._memory.snapshot([self._host, *listed(names.NAMESPACE)])
        reading = read_system(self._handles, self._host, self._owner, self._rules)
        after = self._memory.snapshot([self._host, *reading.namespaces])
        steady = after.items() <= before.items()
        self._memory.learn(after if steady else None)
        if not steady:
            self._rules.doubt()
        return reading


def _variant(word: str | None) -> Variant | None:
    match word:
        case None | "legacy" | "nft":
            return word
        case _:
            raise InputParameterError(f"option variant of backend iptables is {word!r}; it takes: legacy, nft")


def _rules_of(entry: NativeEntry) -> str:
    return entry.namespace if isinstance(entry, Skeleton) else ""


def _with_waiting(reading: Reading[RuleEntry], expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
    waiting = {key: entry for key, entry in expected.items() if is_waiting(entry, reading.devices)}
    return {**reading.entries, **waiting}
