"""The backend: all input and output."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar

from vipnet.addresses import format_ip
from vipnet.backend import Backend, BackendContext, Capability, Usability, check_options
from vipnet.errors import DataplaneError
from vipnet.evidence import Finding, Location, Need
from vipnet.intents import EipMapping, Intent, Released, VipBinding
from vipnet.packets import Packet, Step
from vipnet.plan import Plan, TargetPlan
from vipnet.process import run
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters
from vipnet_kernel.conntrack import cut_connections
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import exists, identity, listed
from vipnet_kernel.neighbours import forget_neighbours, neighbour
from vipnet_nftables import names
from vipnet_nftables.announcements import Announcements, answered_for, leg_seen
from vipnet_nftables.commands import run_step, touched
from vipnet_nftables.compiler import compile_intents
from vipnet_nftables.entries import Nat, NativeEntry, target_of
from vipnet_nftables.evidence import find
from vipnet_nftables.eyes import NftablesEyes
from vipnet_nftables.keeper import Keeper
from vipnet_nftables.link_entries import Namespace, Vlan
from vipnet_nftables.memory import Memory
from vipnet_nftables.metering import count
from vipnet_nftables.ownership import Ownership
from vipnet_nftables.passage import passage
from vipnet_nftables.port_entries import Attachment
from vipnet_nftables.reader import Reading, read_places, read_system, read_ways
from vipnet_nftables.rules import Rules
from vipnet_nftables.steps import PORTS, ordered

__all__ = ["NftablesBackend"]

_PATIENCE = 1.2
"""Seconds in which a leg whose other end was just set up is connected: at once, but for pairs of which both ends happen to
have the same number, whose carrier the kernel looks at once a second."""


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
        self._memory = Memory(self._handles.sockets, self._host, self._ownership.is_sure)
        self._keeper = Keeper(self._ownership, self._rules, self._memory, host=self._host, owner=self._owner)
        self._announcements = Announcements(self._handles.sockets, self._host)
        self._unannounced: dict[int, dict[str, list[int]]] = {}

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
        return ordered(plan)

    def read(self) -> dict[str, NativeEntry]:
        """Return every entry that is installed, in the host's namespace and in those that carry our mark."""
        return dict(self._look({}).entries)

    def audit(self, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
        """Read, elements by key; what hangs on an interface that has not appeared yet counts as installed."""
        reading = self._look(expected)
        waiting = {key: entry for key, entry in expected.items() if _waits(entry, reading.devices)}
        return {**reading.entries, **waiting}

    def recheck(self, expected: Mapping[str, NativeEntry], places: Collection[str]) -> dict[str, NativeEntry]:
        """Read some namespaces; what is expected elsewhere counts as installed."""
        self._ownership.sweep()
        before = self._memory.snapshot(map(self._namespace, places))
        reading = read_places(self._handles, self._host, self._owner, expected, places)
        self._rules.askers.learn(reading.askers, reading.namespaces)
        asked = [*map(self._namespace, {*places, *reading.namespaces})]
        after = self._memory.snapshot(asked)
        steady = [name for name in asked if name not in before or before[name] == after.get(name)]
        self._memory.take(steady, {name: look for name, look in after.items() if name in steady})
        self._ownership.reconsider(asked)
        waiting = {key: entry for key, entry in expected.items() if _waits(entry, reading.devices)}
        return {**reading.entries, **waiting}

    def disturbed(self, places: Collection[str]) -> frozenset[str]:
        """Which namespaces differ in rulesets or interfaces from how they were left."""
        by_name = {self._namespace(place): place for place in places}
        return frozenset(by_name[name] for name in self._memory.touched(by_name))

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:
        """See rulesets, interfaces, addresses, routes and namespaces change, and who claims addresses."""
        return NftablesEyes(self._host, self._owner, report, vanished=self._vanished)

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
            self._announce(step)
        return refused

    def flush(self, released: Sequence[Released]) -> None:
        """Cut the connections of EIPs that left a router, and forget the MACs of private addresses that left a port."""
        by_router: dict[str, list[Released]] = {}
        for item in released:
            by_router.setdefault(names.router_namespace(item.vpc_id), []).append(item)
        for router, items in by_router.items():
            if exists(router):
                self._flush(router, items)

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
        router, leg = names.router_namespace(vip.vpc_id), names.subnet_leg(vip.network_id)
        ip = vip.ip if version == 4 else vip.ip6
        if ip is None or not exists(router):
            return None
        mac = neighbour(self._handles, router, leg, format_ip(version, ip))
        return None if mac is None else Location(mac, f"{format_ip(version, ip)} dev {leg} lladdr {mac} in {router}")

    def announce(self, intents: Iterable[Intent]) -> None:
        """Announce EIPs that are answered for by gratuitous ARP, as `apply` does by itself."""
        ways: dict[tuple[str, int], set[int]] = {}
        for intent in intents:
            if isinstance(intent, EipMapping) and intent.uplink is not None:
                ways.setdefault((names.router_namespace(intent.vpc_id), intent.uplink.index), set()).add(intent.eip)
        for (router, uplink), eips in ways.items():
            installed = answered_for(self._handles.sockets, router, uplink, eips) if exists(router) else None
            if installed and _comes(partial(self._announcements.is_connected, uplink), _PATIENCE):
                self._announcements.begin(router, uplink, sorted(installed))

    def close(self) -> None:
        """Release the sockets and their thread; what is installed stays."""
        self._announcements.close()
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
            self._announcements.forget(namespace)
            self._ownership.release(namespace)
        refused = run_step(self._handles, self._host, step)
        self._memory.renew(there, _namespaces(step.delete))
        return refused

    def _flush(self, router: str, items: Sequence[Released]) -> None:
        cut_connections(self._handles.sockets, router, {(item.eip, item.ip) for item in items if item.eip is not None})
        forget_neighbours(self._handles, router, {(item.version, item.ip, item.mac) for item in items if item.eip is None})

    def _look(self, expected: Mapping[str, NativeEntry]) -> Reading:
        self._ownership.sweep()
        before = self._memory.snapshot([self._host, *listed(names.NAMESPACE)])
        reading = read_system(self._handles, self._host, self._owner, expected)
        self._rules.askers.learn(reading.askers)
        after = self._memory.snapshot([self._host, *reading.namespaces])
        self._memory.learn(after if after.items() <= before.items() else None)
        self._ownership.reconsider([self._host, *reading.namespaces])
        return reading

    def _announce(self, step: TargetPlan[NativeEntry]) -> None:
        """Announce what is answered for from now on; an uplink that leads nowhere yet has its turn with the ports."""
        for entry in step.create:
            if isinstance(entry, Nat):
                self._unannounced.setdefault(entry.uplink, {}).setdefault(entry.namespace, []).append(entry.eip)
        patience = _PATIENCE if step.target == PORTS else 0
        for uplink in list(self._unannounced):
            if _comes(partial(self._announcements.is_connected, uplink), patience):
                for router, eips in self._unannounced.pop(uplink).items():
                    if exists(router):
                        if patience:  # its leg is new, maybe, and nothing comes by it before it is connected
                            _comes(partial(self._is_leg_connected, router, uplink), patience)
                        self._announcements.begin(router, uplink, eips)

    def _is_leg_connected(self, router: str, uplink: int) -> bool:
        with suppress(DataplaneError):  # somebody took it away again, which is drift and no matter of announcing
            return leg_seen(self._handles.sockets, router, uplink)[1]
        return False


def _comes(condition: Callable[[], bool], patience: float) -> bool:
    """Whether something is so, within so many seconds."""
    until = time.monotonic() + patience
    while not (there := condition()) and time.monotonic() < until:
        time.sleep(0.001)
    return there


def _namespaces(entries: Iterable[NativeEntry]) -> list[str]:
    return [entry.name for entry in entries if isinstance(entry, Namespace)]


def _waits(entry: NativeEntry, devices: frozenset[str]) -> bool:
    match entry:
        case Attachment():
            return entry.needs not in devices
        case Vlan():
            return entry.leg not in devices
        case _:
            return False
