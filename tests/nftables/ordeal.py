"""Changes with faults in their way, and the oracle that is asked when all is over."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any, get_args

from changes import EIPS, KEPT, SCENE, VERBS, change, prepare
from mortal import Report, Trial, ask, serving, world
from questions import Question, asked, expected
from seams import SEAMS

from tests.nftables.shared_cloud import SharedCloud
from vipnet.addresses import format_ip4
from vipnet.backend import BackendContext
from vipnet.controller import Controller
from vipnet.derive import all_scopes, derive
from vipnet.errors import RefusedError
from vipnet.invariants import check_topology
from vipnet.lab import Lab, LabNode
from vipnet.model import Eip, InstanceGroup, Membership, Network, Nic, Server, Vip
from vipnet.plan import diff
from vipnet.testing.controlled import nic_ids
from vipnet.testing.injector import Kind
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.real import RealProbe
from vipnet.testing.responder import PORT
from vipnet.topology import Snapshot
from vipnet_nftables.names import router_namespace
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.probe import SimulatedProbe

__all__ = ["Ordeal", "Tally"]

Rows = tuple[tuple[str, tuple[Any, ...]], ...]
"""All that the store knows of the model, by table."""

_KINDS: dict[str, Sequence[Kind]] = {seam.name: seam.kinds for seam in SEAMS}


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
            self._cloud = SharedCloud(self._lab.host, folder, _prepare, uplink=SCENE.uplink_device, world=world(0))
            self._stack.callback(self._clear)
            self._process: Popen[str] = self._stack.enter_context(serving(self._cloud.config))
            self._nodes = {node.name: node for node in self._lab.nodes}
            self._held: dict[tuple[str, str], str] = {}
            self.tally = Tally()
            self._now = self._settled()[0]
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

    def endure(self, verb: str, seed: int, *, kinds: int = 1) -> None:
        """Make a change of a verb with `kinds` faults, one after the other, at each of its points; in the end without."""
        seed = self._possible(verb, seed)
        before, kept = self._now, self._cloud.path.read_bytes()
        report = self._tried(Trial(verb=verb, seed=seed))
        assert report.end == "done", report
        after = self._now = self._settled()[0]
        self.tally.verbs[verb] += 1
        self.tally.points += len(report.passed)
        for number, seam in enumerate(report.passed):
            known = _KINDS[seam]
            for turn in range(min(kinds, len(known))):
                kind = known[(number + seed + turn) % len(known)]
                if self._now != before:
                    self._restore(kept)
                trial = Trial(verb=verb, seed=seed, point=number, kind=kind, goes_on=(number // len(known) + seed) % 3 == 0)
                self._check(trial, seam, before, after)
        if self._now != after:
            assert self._tried(Trial(verb=verb, seed=seed)).end == "done"
            self._now = self._settled()[0]
            assert self._now == after

    def _possible(self, verb: str, seed: int) -> int:
        """The first seed from `seed` on whose change is accepted and is seen by the data plane; the last resort are others first."""
        with self._cloud.opened() as cloud:
            for other in range(seed, seed + 1000):
                try:
                    with cloud.transaction(dry_run=True) as tx:
                        change(tx, verb, other)
                except (RefusedError, ValueError):
                    continue
                if tx.plan:
                    return other
        raise AssertionError(f"{verb} is never accepted")

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
        pending = self._cloud.pending()
        self._now, repaired = self._settled(what)
        assert self._now in (before, after), f"{what}: a third state\n{_difference(self._now, after)}"
        match report.end:
            case "done":
                assert self._now == after, f"{what}: it is not changed"
                assert (pending, repaired) == (0, 0), f"{what}: {pending} pending, {repaired} to repair"
            case "refused" | "taken back":
                assert self._now == before, f"{what}: it is changed"
                assert (pending, repaired) == (0, 0), f"{what}: {pending} pending, {repaired} to repair"
            case _:
                assert self._now == after or not pending, what
        assert not (trial.goes_on and report.end != "died" and (pending or repaired)), f"{what}: its own apply left {repaired}"

    def _restore(self, kept: bytes) -> None:
        """The store as it was, and the data plane after it; connections are nothing that an apply could know of."""
        for suffix in ("-wal", "-shm"):
            self._cloud.path.with_name(self._cloud.path.name + suffix).unlink(missing_ok=True)
        self._cloud.path.write_bytes(kept)
        with self._cloud.opened() as cloud:
            assert not cloud.apply().quarantined
            routers = [router_namespace(network.vpc_id) for network in cloud.topology.all(Network)]
        for router in {*routers} & {path.name for path in Path("/run/netns").iterdir()}:
            subprocess.run(["ip", "netns", "exec", router, "conntrack", "-F"], check=True, capture_output=True)

    def _settled(self, what: str = "") -> tuple[Rows, int]:
        """Restart and apply; ask the oracle; the rows, and how much there was to repair."""
        with self._cloud.opened() as cloud:
            report = cloud.apply(audit=True)
            assert not report.quarantined, (what, report)
            topology, plan = cloud.topology, cloud.plan()
            assert not plan, (what, str(plan))
            nics = dict(nic_ids(cloud))
            intents = derive(topology, cloud.config, all_scopes(topology))
            check_topology(topology)
        differences = [*self._cloud.differences(), *self._stale(topology)]
        assert not differences, (what, differences)
        oracle = SimulatorBackend(BackendContext())
        for step in oracle.steps(diff({}, oracle.compile(intents.values()))):
            oracle.apply(step)
        self._ask(topology, SimulatedProbe(oracle, SCENE, nics=nics), what)
        return self._rows(), report.changed

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
        answers = asked(self._nodes, questions, wanted)
        assert answers == wanted, (what, {one: (answers.get(one), wanted.get(one)) for one in questions if answers.get(one) != wanted.get(one)})

    def _stale(self, topology: Snapshot) -> Iterator[str]:
        """Connections of EIPs that are not mapped so any more."""
        mapped = {
            (router_namespace(topology.at(Network, vip.network_id).vpc_id), format_ip4(eip.ip), format_ip4(vip.ip))
            for eip in topology.all(Eip)
            if eip.vip_id is not None and (vip := topology.at(Vip, eip.vip_id))
        }
        routers = {router_namespace(vpc) for vpc in {network.vpc_id for network in topology.all(Network)}}
        for router in sorted(routers & {path.name for path in Path("/run/netns").iterdir()}):
            for eip, vip in _connections(router):
                if eip in (*EIPS, KEPT) and (router, eip, vip) not in mapped:
                    yield f"{router}: a connection of {eip} to {vip}"

    def _rows(self) -> Rows:
        with closing(sqlite3.connect(self._cloud.path)) as store:
            assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            kept = [name for name in names if name not in ("meta", "revisions", "changes")]
            return tuple((name, tuple(sorted(store.execute(f"SELECT * FROM {name}"), key=repr))) for name in kept)

    def _clear(self) -> None:
        with self._cloud.opened() as cloud:
            plan = diff(cloud.backend.read(), {})
            for step in cloud.backend.steps(plan):
                assert not cloud.backend.apply(step)


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


_TUPLES = re.compile(r"src=(\S+) dst=(\S+).*?src=(\S+) dst=(\S+)")


def _connections(router: str) -> Iterator[tuple[str, str]]:
    """(public, private) of each translated connection of a router."""
    argv = ["ip", "netns", "exec", router, "conntrack", "-L"]
    for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines():
        found = _TUPLES.search(line)
        if found is not None:
            source, asked_for, answering, answered = found.groups()
            if asked_for != answering:  # else it only passes through, to an EIP elsewhere
                yield asked_for, answering
            if answered != source:
                yield answered, source
