"""A store read object by object shows and does the same as one that was read whole."""

from __future__ import annotations

import itertools
import random
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plane import DictBackend
from walk import CONFIG, Clock, build, more_verbs, verbs

import vipnet
from vipnet.addresses import ip_of
from vipnet.blocks import blocks_of
from vipnet.controller import Controller
from vipnet.invariants import check_topology
from vipnet.model import Address, Host, Network
from vipnet.operations.draft import World
from vipnet.pools import VRIDS
from vipnet.sqlsource import SqlSource
from vipnet.store import open_store
from vipnet.topology import KINDS, Snapshot, Topology
from vipnet.working import Workspace


def opened(path: Path, backend: DictBackend, world: World, *, by_key: bool) -> Controller:
    return Controller(config=CONFIG, store=open_store(f"sqlite:///{path}", by_key=by_key), backend=backend, world=world)


def world_of(seed: int) -> World:
    chance = random.Random(seed)
    return World(
        clock=Clock(),
        random=chance.randrange,
        new_id=lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    )


def rows_of(topology: Topology) -> dict[str, object]:
    return {kind.__name__ + thing.id: thing for kind in KINDS for thing in topology.all(kind)}


def assert_same(one: Topology, other: Topology) -> None:
    assert rows_of(one) == rows_of(other)
    for kind in KINDS:
        assert one.count(kind) == other.count(kind)
    for network in one.all(Network):
        for version in (4, 6, VRIDS):
            a, b = one.pool(network.id, version), other.pool(network.id, version)
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert (a.first, a.last, a.held, a.resting) == (b.first, b.last, b.held, b.resting)
                assert list(a.leaves()) == list(b.leaves())
                assert list(a.due(1e12)) == list(b.due(1e12))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_verb_in_a_process_of_its_own_is_as_in_one_that_knows_everything(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    chance, count = random.Random(seed), itertools.count().__next__
    backend, other_backend, world = DictBackend(), DictBackend(), world_of(seed)
    other = opened(folder / "whole.db", other_backend, world_of(seed), by_key=False)
    build(other)
    with opened(folder / "keys.db", backend, world, by_key=True) as cloud:
        build(cloud)
    done = 0
    for _ in range(40):
        operation = chance.choice([*verbs(chance, count), *more_verbs(chance, count)])
        state = chance.getstate()
        results: list[object] = []
        with opened(folder / "keys.db", backend, world, by_key=True) as cloud:
            for one in (cloud, other):
                chance.setstate(state)
                try:
                    results.append(operation(one))
                except vipnet.RefusedError as error:
                    results.append((type(error), error.details))
            assert results[0] == results[1]
            done += not isinstance(results[0], tuple)
            assert_same(cloud.topology, other.topology)
    assert done
    assert backend.installed == other_backend.installed
    other.close()
    with opened(folder / "keys.db", backend, world, by_key=False) as cloud:
        check_topology(cloud.topology)
        assert_blocks(folder / "keys.db", cloud.topology)


def assert_blocks(path: Path, topology: Topology) -> None:
    """The blocks in the file say what its addresses say."""
    with sqlite3.connect(path) as sql:
        rows = sql.execute("SELECT network_id, version, first, bits FROM blocks").fetchall()
    found = {(*row[:2], ip_of(row[2]), int.from_bytes(row[3], "little")) for row in rows}
    assert found == {(*block[:2], block.first, bits) for block, bits in blocks_of(topology.all(Address)).items()}


class CountingSource:
    """Hosts in memory, and how often each kind of question was asked."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts, self.asked = hosts, Counter[str]()

    def by(self, kind: Any, field: str, value: object) -> Sequence[Any]:
        self.asked["by"] += 1
        return [host for host in self.hosts if kind is Host and getattr(host, field) == value]

    def all(self, kind: Any) -> Sequence[Any]:
        self.asked["all"] += 1
        return self.hosts if kind is Host else []

    def count(self, kind: Any) -> int:
        self.asked["count"] += 1
        return len(self.hosts) if kind is Host else 0

    def pool(self, key: tuple[str, int]) -> None:
        raise AssertionError(key)

    def close(self) -> None:
        pass


def test_answers_are_kept_and_a_table_that_is_asked_for_much_is_read_whole() -> None:
    hosts = [Host(id=f"id{number}", name=f"h{number}", zone="") for number in range(160)]
    source = CountingSource(hosts)
    topology = Snapshot.stored(source)
    source.asked.clear()  # it asked for the built-in VPC
    for _ in range(3):
        assert topology.get(Host, "id7") == hosts[7]
        assert not topology.by(Host, "name", "none")
    assert source.asked == {"by": 2}
    for number in range(160):
        assert list(topology.by(Host, "name", f"h{number}")) == [hosts[number]]
    assert source.asked["all"] == 1
    assert source.asked["by"] < 40
    work = Workspace(topology)
    work.remove(hosts[3])
    for changed in (work, work.settled()):
        assert set(changed.all(Host)) == set(hosts) - {hosts[3]}
        assert changed.count(Host) == len(hosts) - 1
        assert changed.get(Host, "id3") is None
    assert topology.get(Host, "id3") == hosts[3]


ONE_AT_A_TIME: dict[str, Callable[[Controller], object]] = {
    "vpc": lambda cloud: cloud.vpcs.show("v1"),
    "network": lambda cloud: cloud.networks.show("v1n1"),
    "network-addresses": lambda cloud: cloud.networks.addresses("v1n1"),
    "network-why-not": lambda cloud: cloud.networks.why("v1n1", "10.1.0.9"),
    "server": lambda cloud: cloud.servers.show("a"),
    "server-list --ip-addr of an EIP": lambda cloud: cloud.servers.list(ip_addr=cloud.eips.show("eip-for-grp-g1").ip_addr),
    "instancegroup": lambda cloud: cloud.groups.show("g1"),
    "instancegroup-list --server": lambda cloud: cloud.groups.list(server="a"),
    "groupguest-list --group": lambda cloud: cloud.groups.guests(group="g1"),
    "groupguest-list --server": lambda cloud: cloud.groups.guests(server="a"),
    "groupnetwork-list --group": lambda cloud: cloud.groups.networks(group="g1"),
    "groupnetwork-list --network": lambda cloud: cloud.groups.networks(network="v1n1"),
    "keepalived-config": lambda cloud: cloud.groups.keepalived_config("g1", "a"),
    "eip": lambda cloud: cloud.eips.show("eip-for-grp-g1"),
    "server-create": lambda cloud: cloud.servers.create("b", nets=["v1n1"], groups=["g1"]),
    "dissociate-eip": lambda cloud: cloud.groups.dissociate_eip("g1", auto_delete=True),
    "detachnetwork": lambda cloud: cloud.groups.detach_network("g1"),
    "server-delete": lambda cloud: cloud.servers.delete("a"),
}


def _refuse_to_read(_source: SqlSource, kind: type[Any]) -> None:
    pytest.fail(f"{kind.__name__} is read whole")


def _known(_backend: DictBackend, stamp: str) -> bool:
    return stamp == "as left"


def _as_left(_backend: DictBackend) -> str:
    return "as left"


def test_what_is_about_one_object_reads_no_table_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DictBackend()
    monkeypatch.setattr(DictBackend, "stamp", _as_left)  # of a backend without stamps each new process would look at all
    monkeypatch.setattr(DictBackend, "adopt", _known)
    with opened(tmp_path / "s.db", backend, World(), by_key=False) as cloud:
        build(cloud)
        cloud.servers.create("a", nets=["v1n1"], groups=["g1"])
        cloud.groups.attach_network("g1")
        cloud.groups.create_eip("g1", bandwidth=5)
    monkeypatch.setattr("vipnet.stored._WORTH", 0)
    monkeypatch.setattr("vipnet.stored._FEW", 0)
    monkeypatch.setattr("vipnet.sqlsource.SqlSource.all", _refuse_to_read)
    monkeypatch.setattr("vipnet.plane.repair_plan", None)
    for verb in ONE_AT_A_TIME.values():
        with opened(tmp_path / "s.db", backend, World(), by_key=True) as cloud:
            assert verb(cloud)


def test_a_name_that_is_no_text_is_nobodys(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db", DictBackend(), World(), by_key=True) as cloud, pytest.raises(vipnet.ResourceNotFoundError):
        cloud.groups.show("--\udcff")


def test_a_file_that_goes_bad_while_it_is_read_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db", DictBackend(), World(), by_key=True) as cloud:
        with sqlite3.connect(tmp_path / "s.db") as sql:
            sql.execute("DROP TABLE hosts")
        with pytest.raises(vipnet.InputParameterError, match=r"s\.db cannot be used: no such table: hosts"):
            cloud.hosts.create("h")


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("SELECT * FROM eips WHERE name = 'x'", "eips_name"),
        ("SELECT * FROM memberships WHERE server_id = 'x'", "memberships_server_id"),
        ("SELECT * FROM vips WHERE network_id = 'x' AND vrid = 1", "vips_vrid_key"),
        ("SELECT * FROM addresses WHERE ip = 'x' AND version = 4", "addresses_address"),
        ("SELECT * FROM addresses WHERE state = 'leaving' AND until IS NULL", "addresses_leaving"),
        ("SELECT * FROM addresses WHERE network_id = 'x' AND version = 4 AND until IS NOT NULL", "addresses_until"),
    ],
)
def test_questions_are_answered_by_index(tmp_path: Path, question: str, index: str) -> None:
    open_store(f"sqlite:///{tmp_path}/s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as sql:
        plan = " ".join(row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {question}"))
    assert index in plan
