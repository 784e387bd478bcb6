"""The backend: all input and output."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

from vipnet.backend import Backend, BackendContext, Capability, Usability, check_options
from vipnet.evidence import Finding, Location, Need
from vipnet.intents import EipMapping, Intent, Released, VipBinding
from vipnet.packets import Packet, Step
from vipnet.plan import Plan, TargetPlan
from vipnet.process import run
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters
from vipnet_kernel import names
from vipnet_kernel.announcing import Announcing
from vipnet_kernel.commands import run_step, touched
from vipnet_kernel.eyes import KernelEyes
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Namespace
from vipnet_kernel.memory import Memory
from vipnet_kernel.namespaces import exists, identity, listed
from vipnet_kernel.reading import Reading, is_waiting, read_places, read_system, read_ways
from vipnet_kernel.releasing import flush, holder
from vipnet_kernel.steps import ordered
from vipnet_nftables.answering import answered_for
from vipnet_nftables.compiler import compile_intents
from vipnet_nftables.entries import Nat, NativeEntry, RuleEntry, Skeleton, target_of
from vipnet_nftables.evidence import find
from vipnet_nftables.keeper import Keeper
from vipnet_nftables.metering import count, is_counter
from vipnet_nftables.ownership import Ownership
from vipnet_nftables.passage import passage
from vipnet_nftables.reader import Tables
from vipnet_nftables.rules import Rules
from vipnet_nftables.wire.elements import TABLE

__all__ = ["NftablesBackend"]

class NftablesBackend(Backend[NativeEntry]):
    """Linux bridges with nftables port security, and for each VPC a router namespace with 1:1 NAT.

    Option `namespace`: the network namespace in which the servers' ports and the uplinks' devices are; "" is the
    process's own. Option `own`: whether a watch keeps others from changing our tables. Not for use by two threads at once;
    needs root.
    """

    name: ClassVar[str] = "nftables"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"ipv4", "ipv6", "eip", "distgw", "classic", "limits"})

    def __init__(self, context: BackendContext) -> None:
        check_options(self.name, context.options, {"namespace": str, "own": bool})
        self._host: str = context.options.get("namespace", "")
        self._owner = names.owner_mark(identity(self._host))
        self._handles = Handles()
        self._ownership = Ownership(self._handles.sockets, self._host, wanted=context.options.get("own", True))
        self._rules = Rules(self._ownership, self._host)
        self._memory = Memory(self._handles.sockets, self._host, self._ownership.is_sure, _is_ours)
        self._keeper = Keeper(self._ownership, self._rules, self._memory, host=self._host, owner=self._owner)
        self._announcing = Announcing(self._handles.sockets, self._host, partial(answered_for, self._handles.sockets))

    @classmethod
    def usability(cls) -> Usability:
        """Say whether the user is root, and nft and pyroute2 are installed."""
        if os.geteuid() != 0:
            return Usability(False, "the nftables backend changes the kernel's network: run it as root")
        if shutil.which("nft") is None:
            return Usability(False, "not installed: nft (Debian package nftables)")
        if find_spec("pyroute2") is None:
            return Usability(False, "not installed: pyroute2 (pip install 'vipnet[nftables]')")
        return Usability(True)

    def compile(self, intents: Iterable[Intent]) -> dict[str, NativeEntry]:
        """Translate intents into links, routes and elements."""
        return compile_intents(intents, self._owner)

    def steps(self, plan: Plan[NativeEntry]) -> Iterable[TargetPlan[NativeEntry]]:
        """Links first, and ports off their bridges; then rules; then ports on them and links up; what goes, goes after that.

        Last of all go counters, whose EIP has gone from the router by then, and a router with counters in it.
        """
        return ordered(plan, counts=is_counter, routes=_rules_of)

    def read(self) -> dict[str, NativeEntry]:
        """Return every entry that is installed, in the host's namespace and in those that carry our mark."""
        return dict(self._look({}).entries)

    def audit(self, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
        """Read, elements by key; what hangs on an interface that has not appeared yet counts as installed."""
        reading = self._look(expected)
        waiting = {key: entry for key, entry in expected.items() if is_waiting(entry, reading.devices)}
        return {**reading.entries, **waiting}

    def recheck(self, expected: Mapping[str, NativeEntry], places: Collection[str]) -> dict[str, NativeEntry]:
        """Read some namespaces; what is expected elsewhere counts as installed."""
        self._ownership.sweep()
        before = self._memory.snapshot(map(self._namespace, places))
        tables = Tables(self._handles.sockets, self._host, expected)
        reading = read_places(self._handles, self._host, self._owner, tables, expected, places)
        self._rules.askers.learn(tables.askers, reading.namespaces)
        asked = [*map(self._namespace, {*places, *reading.namespaces})]
        after = self._memory.snapshot(asked)
        steady = [name for name in asked if name not in before or before[name] == after.get(name)]
        self._memory.take(steady, {name: look for name, look in after.items() if name in steady})
        self._ownership.reconsider(asked)
        waiting = {key: entry for key, entry in expected.items() if is_waiting(entry, reading.devices)}
        return {**reading.entries, **waiting}

    def disturbed(self, places: Collection[str]) -> frozenset[str]:
        """Which namespaces differ in rulesets or interfaces from how they were left."""
        by_name = {self._namespace(place): place for place in places}
        return frozenset(by_name[name] for name in self._memory.touched(by_name))

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:
        """See rulesets, interfaces, addresses, routes and namespaces change, and who claims addresses."""
        return KernelEyes(self._host, self._owner, report, _is_ours, vanished=self._vanished)

    def own(self) -> bool:
        """Own our tables from now on, those of the host and of routers."""
        return self._keeper.own()

    def disown(self) -> None:
        """Let go of our tables."""
        self._keeper.disown()

    def check(self, plan: Plan[NativeEntry]) -> None:
        """Raise OwnedError where tables that a plan is about, or the host's, are somebody else's."""
        rules = (target.target for target in plan.targets if target.target.startswith(target_of("")))
        spaces = (target.removeprefix(target_of("")) for target in rules)
        self._ownership.check([self._host, *(name for name in spaces if name and exists(name))])

    def changed(self) -> bool:
        """Whether a ruleset or an interface was changed since: by generation numbers, and by comparing all interfaces."""
        return not self._memory.holds()

    def stamp(self) -> str:
        """Name the rulesets and interfaces as last seen."""
        return self._memory.stamp()

    def adopt(self, stamp: str) -> bool:
        """Take rulesets and interfaces for known if they are as stamped; routes, rules and settings are not looked at."""
        return self._memory.adopt(stamp)

    def unnoticed(self, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
        """Read addresses, routes, rules and settings of our namespaces."""
        return read_ways(self._handles, self._owner, expected)

    def apply(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        """Change the links, the ports or one ruleset; of a ruleset all or nothing."""
        refused = self._apply_rules(step) if step.target.startswith(target_of("")) else self._apply_links(step)
        if not refused:
            came = ((entry.namespace, entry.uplink, entry.eip) for entry in step.create if isinstance(entry, Nat))
            self._announcing.after(step, came)
        return refused

    def flush(self, released: Sequence[Released]) -> None:
        """Cut the connections of EIPs that left a router, and forget the MACs of private addresses that left a port."""
        flush(self._handles, released)

    def is_prepared(self) -> bool:
        """Whether every router has room for some more EIPs, looked at if it got some, and nothing is left to own."""
        return not self._rules.short() and not self._ownership.due

    def prepare(self) -> None:
        """Give routers that are three quarters full room for more, so that no change has to wait for that."""
        for router in self._rules.short():
            self._rules.grow(router)
            self._memory.committed(router, self._rules.generation)
        self._keeper.adopt()

    def versions(self) -> dict[str, str]:
        """Versions of the kernel, nft and pyroute2."""
        return {
            "kernel": os.uname().release,
            "nftables": run(["nft", "--version"]).stdout.split()[1].removeprefix("v"),
            "pyroute2": version("pyroute2"),
        }

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        """Ask the routers what each EIP's elements have counted: O(1) each, without nft."""
        return {mapping.eip_id: count(self._handles.sockets, mapping.vpc_id, mapping.eip, mapping.eip_id) for mapping in mappings}

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:
        """Ask the routers that EIPs have left what was counted there: the elements that `steps` leaves for last."""
        there = ((item.eip_id, item.vpc_id, item.eip) for item in ended)
        known = [(id, vpc_id, eip) for id, vpc_id, eip in there if id is not None and eip is not None]
        return {id: count(self._handles.sockets, vpc_id, eip, id) for id, vpc_id, eip in known}

    def passage(self, packet: Packet, step: Step) -> Sequence[Need[NativeEntry]]:
        """Say which links, routes, settings and elements carry, admit, guard or lead a packet at a stage."""
        return passage(packet, step, self._owner)

    def evidence(self, entries: Sequence[NativeEntry]) -> Mapping[str, Finding]:
        """Look for entries by key: elements with what they count, without nft; links, routes and rules of their namespaces."""
        return find(self._handles, self._host, entries)

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
        self._ownership.end()
        self._handles.close()

    def _vanished(self, namespace: str) -> None:
        """Hold on to a namespace no longer that others have deleted; any thread may say so."""
        self._ownership.release(namespace)
        self._handles.sockets.forget(namespace)

    def _namespace(self, place: str) -> str:
        return self._host if place == names.HOST else place

    def _apply_rules(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        """A generation that has moved on by more than this one transaction tells that somebody else was there."""
        refused = self._rules.apply(step)
        self._memory.committed(step.target.removeprefix(target_of("")) or self._host, self._rules.generation)
        return refused

    def _apply_links(self, step: TargetPlan[NativeEntry]) -> Mapping[str, str]:
        there = touched(self._host, step)
        if not self._memory.holds(there):
            self._memory.learn(None)
        for namespace in _namespaces(step.delete):
            self._announcing.forget(namespace)
            self._ownership.release(namespace)
        refused = run_step(self._handles, self._host, step)
        self._memory.renew(there, _namespaces(step.delete))
        return refused

    def _look(self, expected: Mapping[str, NativeEntry]) -> Reading[RuleEntry]:
        self._ownership.sweep()
        before = self._memory.snapshot([self._host, *listed(names.NAMESPACE)])
        tables = Tables(self._handles.sockets, self._host, expected)
        reading = read_system(self._handles, self._host, self._owner, tables)
        self._rules.askers.learn(tables.askers)
        after = self._memory.snapshot([self._host, *reading.namespaces])
        self._memory.learn(after if after.items() <= before.items() else None)
        self._ownership.reconsider([self._host, *reading.namespaces])
        return reading


def _is_ours(tables: frozenset[str]) -> bool:
    """Whether a commit that touched tables of these names touched ours."""
    return TABLE in tables


def _rules_of(entry: NativeEntry) -> str:
    """Of which namespace an entry is all the rules, else ""."""
    return entry.namespace if isinstance(entry, Skeleton) else ""


def _namespaces(entries: Iterable[NativeEntry]) -> list[str]:
    return [entry.name for entry in entries if isinstance(entry, Namespace)]
