"""Changes with faults in their way, and the oracle that is asked when all is over."""

from __future__ import annotations

import random
import socket
import sqlite3
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any, get_args

from changes import EIPS, KEPT, SCENE, VERBS, change, prepare
from kernel import connections, forget_connections
from mortal import Report, Trial, ask, serving, world
from questions import Question, asked, expected
from seams import SEAMS

from tests.nftables.shared_cloud import SharedCloud
from vipnet.addresses import format_ip4
from vipnet.backend import BackendContext
from vipnet.controller import Controller
from vipnet.derive import all_scopes, derive
from vipnet.errors import RefusedError
from vipnet.intents import Intent, VpcRouting
from vipnet.invariants import check_topology
from vipnet.lab import Lab, LabNode
from vipnet.model import Eip, InstanceGroup, Membership, Network, Server, Vip
from vipnet.plan import diff
from vipnet.reports import ApplyReport
from vipnet.testing.injector import Kind
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.real import RealProbe
from vipnet.testing.responder import PORT
from vipnet.topology import Snapshot
from vipnet_kernel.names import router_namespace
from vipnet_nftables import NftablesBackend
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.probe import SimulatedProbe

__all__ = ["Ordeal", "Tally", "endure_all", "endure_many"]

Rows = tuple[tuple[str, tuple[Any, ...]], ...]
"""All that the store knows of the model, by table."""

_KINDS: dict[str, Sequence[Kind]] = {seam.name: seam.kinds for seam in SEAMS}
_ALWAYS = {"store", "lock", "ruleset", "question", "netlink", "route", "namespace file"}
"""The seams that any few changes meet; others are met by some."""
_NEVER = {"program", "start", "arp"}
"""What a change does without: nft translates the rules once, before anything is changed, and a thread of its own announces."""

_SOME = 2
_TRIES = 200
_NOTHING = ApplyReport(changed=0, created=0, replaced=0, deleted=0, quarantined=(), revision=0)


@dataclass(slots=True)
class Tally:
    """What was done: trials by seam and kind, changes by verb, how they ended."""

    met: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    verbs: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    points: int = 0

    def __str__(self) -> str:
        seams = sorted({seam for seam, _ in self.met})
        kinds = [kind for kind in get_args(Kind) if any((seam, kind) in self.met for seam in seams)]
        rows = [["", *kinds], *([seam, *(str(self.met[seam, kind] or "") for kind in kinds)] for seam in seams)]
        table = "\n".join(f"{row[0]:18}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)
        verbs = ", ".join(f"{verb} {times}" for verb, times in sorted(self.verbs.items()))
        ends = ", ".join(f"{times} {end}" for end, times in sorted(self.ends.items()))
        return f"{self.verbs.total()} changes of {self.points} points: {verbs}\n{self.met.total()} trials: {ends}\n{table}\n"


class Bystander:
    """Asks the EIP that nobody touches, again and again, and counts what is not answered."""

    def __init__(self, outside: LabNode) -> None:
        self.sent = self.answered = 0
        self._socket = outside.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.connect((KEPT, PORT))
        self._socket.settimeout(2)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._hear)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._over.wait(0.01):
            self._socket.send(bytes(64))
            self.sent += 1

    def _hear(self) -> None:
        while not (self._over.is_set() and self.answered >= self.sent):
            try:
                self._socket.recv(200)
            except TimeoutError:
                if self._over.is_set():
                    return
            else:
                self.answered += 1

    def close(self) -> int:
        """How many packets were lost."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()
        return self.sent - self.answered


class Ordeal:
    """A lab with a cloud in it that is changed again and again. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        try:
            self._lab = self._stack.enter_context(Lab(prefix="faults"))
            self._probe = self._stack.enter_context(RealProbe(self._lab, SCENE))
            first = world(self._lab.id, 0)
            self._cloud = SharedCloud(self._lab.host, folder, _prepare, uplink=SCENE.uplink_device, world=first)
            self._stack.callback(self._clear)
            self._process: Popen[str] = self._stack.enter_context(serving(self._cloud.config, self._lab.id))
            self._nodes = {node.name: node for node in self._lab.nodes}
            self._held: dict[tuple[str, str], str] = {}
            self._intents: Mapping[str, Intent] = {}
            self.tally = Tally()
            self._turns = Counter[str]()
            self._settle()
            self._bystander = Bystander(self._nodes[OUTSIDE])
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Ordeal:
        return self

    def __exit__(self, *_: object) -> None:
        lost = self._bystander.close()
        self._stack.close()
        assert lost == 0, f"{lost} packets of an EIP that nobody touched were lost"

    def endure(self, verb: str, seed: int, *, most: int | None = None) -> bool:
        """Make a change of a verb with a fault at each of its points, in the end without; False: it is not accepted now.

        `most`: at so many points of each seam, by chance; None: at all.
        """
        found = self._possible(verb, seed)
        if found is None:
            return False
        self._endure(verb, found, most)
        return True

    def _endure(self, verb: str, seed: int, most: int | None) -> None:
        before, kept, wanted = self._now, self._cloud.path.read_bytes(), self._intents
        report = self._tried(Trial(verb=verb, seed=seed))
        assert report.end == "done", report
        assert not self._settle().changed, "a change that succeeded left something to do"
        after = self._now
        self.tally.verbs[verb] += 1
        self.tally.points += len(report.passed)
        for point in _points(report.passed, most, random.Random(seed)):
            seam = report.passed[point]
            self._turns[seam] += 1
            kind = _KINDS[seam][self._turns[seam] % len(_KINDS[seam])]
            if self._now != before:
                self._restore(kept, wanted)
            self._check(Trial(verb=verb, seed=seed, point=point, kind=kind, goes_on=point % 3 == 0), seam, before, after)
        if self._now != after:
            assert self._tried(Trial(verb=verb, seed=seed)).end == "done"
            self._settle()
            assert self._now == after

    def _possible(self, verb: str, seed: int) -> int | None:
        """The first seed from `seed` on with which the change is accepted, and touches the data plane."""
        with self._cloud.opened() as cloud:
            for other in range(seed, seed + _TRIES):
                try:
                    with cloud.transaction(dry_run=True) as tx:
                        change(tx, verb, other)
                except (RefusedError, ValueError):
                    continue
                if tx.plan:
                    return other
        return None

    def _tried(self, trial: Trial) -> Report:
        report = ask(self._process, trial)
        assert report.end != "broken", (trial, report)
        assert not report.left, (trial, report)
        return report

    def _check(self, trial: Trial, seam: str, before: Rows, after: Rows) -> None:
        report = self._tried(trial)
        self.tally.met[seam, trial.kind] += 1
        self.tally.ends[report.end] += 1
        what = f"{trial} at {seam}: {report.end} {report.words}"
        pending, stamp, repaired = self._cloud.pending(), self._stamped(), _NOTHING
        if pending or not self._is_as_it_was():
            repaired = self._settle(what)
        assert self._now in (before, after), f"{what}: a third state\n{_difference(self._now, after)}"
        match report.end:
            case "done":
                assert self._now == after, f"{what}: it is not changed"
                # what had counted ended mappings may be left, and then whoever comes next knows that something may be
                left = repaired.changed - (0 if stamp else repaired.deleted)
                assert (pending, left) == (0, 0), f"{what}: {pending} pending, {repaired} to repair"
            case "refused" | "taken back":
                assert self._now == before, f"{what}: it is changed"
                assert (pending, repaired.changed) == (0, 0), f"{what}: {pending} pending, {repaired} to repair"
            case _:
                assert self._now == after or not pending, what
        if trial.goes_on and report.end != "died":
            assert (pending, repaired.changed) == (0, 0), f"{what}: its own apply left {repaired}"

    def _restore(self, kept: bytes, wanted: Mapping[str, Intent]) -> None:
        """The store as it was, and the data plane after it, by what differs; the next oracle reads all of it."""
        backend = NftablesBackend(BackendContext(options={"namespace": self._lab.host}))
        form, _, known = self._stamp.partition(" ")
        with closing(backend):
            assert backend.adopt(known)
            plan = diff(backend.compile(self._intents.values()), backend.compile(wanted.values()))
            for step in backend.steps(plan):
                assert not backend.apply(step)
            stamp = backend.stamp()
        assert stamp
        self._put_back(kept, f"{form} {stamp}")
        self._intents = wanted
        for router in _routers(wanted.values()):
            forget_connections(router)  # they are nothing that an apply could know of
        self._note()

    def _put_back(self, kept: bytes, stamp: str) -> None:
        for suffix in ("-wal", "-shm"):
            self._cloud.path.with_name(self._cloud.path.name + suffix).unlink(missing_ok=True)
        self._cloud.path.write_bytes(kept)
        with self._store() as store, store:
            store.execute("UPDATE meta SET value = ? WHERE key = 'stamp'", (stamp,))

    def _settle(self, what: str = "") -> ApplyReport:
        """Restart and apply; ask the oracle; return what there was to repair."""
        with self._cloud.opened() as cloud:
            report = cloud.apply(audit=True)
            assert not report.quarantined, (what, report)
            topology = cloud.topology
            assert not report.changed or not (plan := cloud.plan()), (what, str(plan))
            if not self._stamped():  # a namespace that was begun and not marked may hold more than was looked at: once more
                again = cloud.apply(audit=True)
                assert (again.changed, self._stamped() != "") == (0, True), (what, again)
            intents = derive(topology, cloud.config, all_scopes(topology))
            check_topology(topology)
        oracle = SimulatorBackend(BackendContext())
        for step in oracle.steps(diff({}, oracle.compile(intents.values()))):
            oracle.apply(step)
        self._ask(topology, SimulatedProbe(oracle, SCENE), what)
        self._intents = intents
        self._note()
        return report

    def _note(self) -> None:
        """Remember how things are."""
        self._now = self._rows()
        self._stamp = self._stamped()

    def _stamped(self) -> str:
        with self._store() as store:
            return str(store.execute("SELECT value FROM meta WHERE key = 'stamp'").fetchone()[0])

    def _ask(self, topology: Snapshot, oracle: SimulatedProbe, what: str) -> None:
        holders = dict(_holders(topology))
        for place, name in self._held.items():
            if holders.get(place) != name:
                self._probe.drop(name, place[1])
        for (_, vip), name in holders.items():
            self._probe.hold(name, vip)
            oracle.hold(name, vip)
        self._held = holders
        questions = list(_questions(topology, holders))
        wanted = expected(oracle, questions)
        answers = asked(self._nodes, questions, wanted, partial(self._compare, topology, what))
        wrong = [(one, answers.get(one), wanted.get(one)) for one in questions if answers.get(one) != wanted.get(one)]
        assert not wrong, (what, wrong)

    def _compare(self, topology: Snapshot, what: str) -> None:
        differences = [*self._cloud.differences(), *self._stale(topology)]
        assert not differences, (what, differences)

    def _stale(self, topology: Snapshot) -> Iterator[str]:
        """Connections of EIPs that are not mapped so any more."""
        mapped = {
            (router_namespace(topology.at(Network, vip.network_id).vpc_id), format_ip4(eip.ip), format_ip4(vip.ip))
            for eip in topology.all(Eip)
            if eip.vip_id is not None and (vip := topology.at(Vip, eip.vip_id))
        }
        routers = {router_namespace(vpc) for vpc in {network.vpc_id for network in topology.all(Network)}}
        for router in sorted(routers & {path.name for path in Path("/run/netns").iterdir()}):
            for public, private in _translated(router):
                if public in (*EIPS, KEPT) and (router, public, private) not in mapped:
                    yield f"{router}: a connection of {public} to {private}"

    def _is_as_it_was(self) -> bool:
        """Whether no row, ruleset or link has changed since the oracle was asked last."""
        if self._rows() != self._now:
            return False
        backend = NftablesBackend(BackendContext(options={"namespace": self._lab.host}))
        with closing(backend):
            return backend.adopt(self._stamp.partition(" ")[2])

    def _rows(self) -> Rows:
        with self._store() as store:
            assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            kept = [name for (name,) in tables if name not in ("meta", "revisions", "changes", "accounts")]
            return tuple((name, tuple(sorted(store.execute(f"SELECT * FROM {name}"), key=repr))) for name in kept)

    def _store(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._cloud.path))

    def _clear(self) -> None:
        with self._cloud.opened() as cloud:
            plan = diff(cloud.backend.read(), {})
            for step in cloud.backend.steps(plan):
                assert not cloud.backend.apply(step)


def endure_all(folder: Path, verbs: Sequence[str]) -> None:
    """A change of each verb, with faults at some points of each seam."""
    with Ordeal(folder) as ordeal:
        left, number = deque(verbs), 0
        while left:
            verb, number = left.popleft(), number + 1
            if not ordeal.endure(verb, number * _TRIES, most=_SOME):  # ids follow from the seed, so each change has its own
                left.append(verb)  # another one must come first
                assert number < 3 * len(verbs), f"{left} are refused, whatever is asked"
                continue
            sys.stdout.write(f"{verb}: {ordeal.tally.met.total()} trials until now\n")
        sys.stdout.write(str(ordeal.tally))
    assert {seam for seam, _ in ordeal.tally.met} >= _ALWAYS


def endure_many(folder: Path, changes: int, *, seed: int) -> None:
    """Changes at random, with a fault at every point."""
    chance = random.Random(seed)
    with Ordeal(folder) as ordeal:
        while ordeal.tally.verbs.total() < changes:
            ordeal.endure(chance.choice(list(VERBS)), chance.randrange(1 << 30))
        sys.stdout.write(str(ordeal.tally))
    assert {seam for seam, _ in ordeal.tally.met} == {*_KINDS} - _NEVER
    assert {*ordeal.tally.verbs} == {*VERBS}


def _points(passed: Sequence[str], most: int | None, chance: random.Random) -> list[int]:
    by_seam: dict[str, list[int]] = {}
    for number, seam in enumerate(passed):
        by_seam.setdefault(seam, []).append(number)
    if most is None:
        return list(range(len(passed)))
    return sorted(point for points in by_seam.values() for point in chance.sample(points, min(most, len(points))))


def _prepare(cloud: Controller) -> None:
    with cloud.transaction() as tx:
        prepare(tx)


def _difference(one: Rows, other: Rows) -> str:
    return "\n".join(f"{a}\n{b}" for a, b in zip(one, other, strict=True) if a != b)


def _holders(topology: Snapshot) -> Iterator[tuple[tuple[str, str], str]]:
    """The first member of each group that has a VIP, by segment and VIP."""
    for vip in topology.all(Vip):
        group = topology.at(InstanceGroup, vip.group_id)
        members = sorted(topology.by(Membership, "group_id", group.id), key=lambda row: row.position)
        names = [topology.at(Server, row.server_id).name for row in members]
        if names:
            yield (SCENE.server(names[0]).segment, format_ip4(vip.ip)), names[0]


def _questions(topology: Snapshot, holders: dict[tuple[str, str], str]) -> Iterator[Question]:
    """From everybody to the EIPs, to what it may have beside it, and out; from the VIPs out and to the other VPC's EIPs."""
    eips = sorted({*EIPS, KEPT, *(format_ip4(eip.ip) for eip in topology.all(Eip))})
    own: dict[str, set[str]] = {server.name: {server.ip} for server in SCENE.servers}
    for (_, vip), name in holders.items():
        own[name].add(vip)
    yield from (Question(OUTSIDE, "", eip) for eip in eips)
    for server in SCENE.servers:
        near = {other.ip for other in SCENE.servers if other.segment == server.segment}
        near |= {vip for (segment, vip) in holders if segment == server.segment}
        yield from (Question(server.name, "", dst) for dst in sorted(near - own[server.name]))
        yield from (Question(server.name, "", dst) for dst in (*eips[:2], SCENE.outside))
    yield from (Question(name, vip, SCENE.outside) for (_, vip), name in holders.items())


def _routers(intents: Iterable[Intent]) -> set[str]:
    return {router_namespace(intent.vpc_id) for intent in intents if isinstance(intent, VpcRouting)}


def _translated(router: str) -> Iterator[tuple[str, str]]:
    """(public, private) of each translated connection of a router."""
    for (source, asked_for), (answering, answered) in connections(router):
        if asked_for != answering:  # else it only passes through, to an EIP elsewhere
            yield asked_for, answering
        if answered != source:
            yield answered, source
