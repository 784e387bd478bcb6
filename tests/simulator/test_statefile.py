"""Entries in a file: persistent, private, and whatever people do to it, seen and repaired."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipnet.backend import BackendContext
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.errors import DataplaneError, InputParameterError
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan, diff
from vipnet.store import open_store
from vipnet.testing import Faults, FaultyBackend, converge, standard_scene
from vipnet_simulator import DamagedLine, Installed, SimulatorBackend, statefile
from vipnet_simulator.codec import decode, encode
from vipnet_simulator.entry import SimulatorEntry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "state"
    converge(_backend(file), standard_scene())
    return file


def _backend(path: Path) -> SimulatorBackend:
    return SimulatorBackend(BackendContext(state=path))


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """The file as a person with the sqlite3 tool has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        yield sql


def _edit(path: Path, statement: str, *values: object) -> None:
    with _opened(path) as sql:
        assert sql.execute(statement, values).rowcount == 1


def _rows(path: Path) -> list[tuple[bytes, bytes]]:
    with _opened(path) as sql:
        sql.text_factory = bytes
        return sql.execute("SELECT key, line FROM entries").fetchall()


def _plan_size(path: Path) -> int:
    backend = _backend(path)
    return len(diff(backend.read(), backend.compile(standard_scene().intents())))


def test_file_is_private_and_sorted(path: Path) -> None:
    keys = [key for key, _ in _rows(path)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys == sorted(keys)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_reading_and_planning_write_nothing(tmp_path: Path) -> None:
    backend = _backend(tmp_path / "state")
    assert backend.read() == {}
    assert not backend.changed()
    assert not list(tmp_path.iterdir())


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"50%41?mode=ro#\xff")
    converge(_backend(file), standard_scene())
    assert [os.fsencode(other.name) for other in tmp_path.iterdir()] == [b"50%41?mode=ro#\xff"]
    assert _plan_size(file) == 0


def test_every_entry_survives_its_line() -> None:
    entries = _backend(Path("unused")).compile(standard_scene().intents())
    assert [decode(*encode(entry)) for entry in entries.values()] == list(entries.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("192.168.7.246", "192.168.7.245"),
        ("192.168.7.246", "192.168.7.999"),
        ('"kind":"vip"', '"kind":"wip"'),
        ('"bandwidth":null', '"bandwidth":true'),
        ('"masquerade":true', '"masquerade":1'),
        ('"mode":"none"', '"mode":"nine"'),
        ('"vlan_id":0', '"vlan_id":0,"extra":0'),
        ('"members":[', '"members":[null,'),
        ("tap-q", "tap-\\u0000"),
        ('"kind":"eip"', ""),
    ],
)
def test_an_edit_shows_in_the_plan_and_is_repaired(path: Path, old: str, new: str) -> None:
    rows = _rows(path)
    _edit(
        path,
        "UPDATE entries SET line = replace(line, ?1, ?2) WHERE key = (SELECT min(key) FROM entries WHERE instr(line, ?1))",
        old,
        new,
    )
    assert _rows(path) != rows
    assert _plan_size(path) == 1
    plan = converge(_backend(path), standard_scene())
    assert str(plan).isprintable() or "\n" in str(plan)
    assert _rows(path) == rows


@pytest.mark.parametrize(
    ("statement", "size"),
    [
        ("DELETE FROM entries WHERE key = (SELECT max(key) FROM entries)", 1),
        ("UPDATE entries SET key = 'pie' WHERE key = (SELECT max(key) FROM entries)", 2),
        ("INSERT INTO entries (key, line) SELECT 'twice', line FROM entries LIMIT 1", 1),
        ("INSERT INTO entries (key, line) VALUES (1, 2)", 1),
    ],
)
def test_rows_that_go_or_come_are_seen_and_repaired(path: Path, statement: str, size: int) -> None:
    rows = _rows(path)
    _edit(path, statement)
    assert _plan_size(path) == size
    converge(_backend(path), standard_scene())
    assert _rows(path) == rows


def test_entries_are_counted_by_target_without_reading_them(path: Path, tmp_path: Path) -> None:
    expected = Counter(entry.target for entry in _backend(path).read().values())
    assert _backend(path).counts() == expected
    assert len(expected) > 2
    assert _backend(tmp_path / "none").counts() == {}
    _edit(path, "INSERT INTO entries (key, line) VALUES ('x', 'y')")
    assert _backend(path).counts() == expected + Counter(damaged=1)
    with _opened(path) as sql:
        plan = sql.execute(f"EXPLAIN QUERY PLAN {statefile.COUNT}").fetchall()
    assert any("COVERING INDEX entries_target" in row[3] for row in plan)


def test_an_empty_table_is_an_empty_state(path: Path) -> None:
    rows = _rows(path)
    for statement in ("DELETE FROM entries", "DROP TABLE entries"):
        with _opened(path) as sql:
            sql.execute(statement)
        assert not _backend(path).read()
        converge(_backend(path), standard_scene())
        assert _rows(path) == rows


_KEYS = st.binary(max_size=40) | st.sampled_from([b"damaged:", b"damaged:zz", b"\x1b[31m", b"a\0b", b"\xff"])


@settings(deadline=None)  # disks wait
@given(rows=st.dictionaries(_KEYS, st.binary(max_size=60), min_size=1, max_size=4))
def test_garbage_in_rows_is_seen_and_removed_and_can_be_taken_back(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[bytes, bytes]
) -> None:
    file = tmp_path_factory.mktemp("state") / "state"
    _backend(file).apply(TargetPlan("vpc:v", create=(Installed(_eip(1)),)))
    with _opened(file) as sql:
        sql.execute("BEGIN")
        sql.execute("DELETE FROM entries")
        sql.executemany("INSERT INTO entries (key, line) VALUES (CAST(? AS TEXT), CAST(? AS TEXT))", rows.items())
        sql.execute("COMMIT")
    backend = _backend(file)
    plan = diff(backend.read(), {})
    assert len(plan) == len(rows)
    assert all(isinstance(entry, DamagedLine) and entry.key.isprintable() for entry in backend.read().values())
    for step in plan.targets:
        backend.apply(step)
    assert not _rows(file)
    for step in plan.targets:
        backend.apply(step.inverse())
    assert dict(_rows(file)) == rows


@pytest.mark.parametrize("row", [(b"\0", "x"), ("x", b"\0"), (None, "x"), ("x", None)])
def test_what_is_no_text_is_not_let_in(path: Path, row: tuple[object, object]) -> None:
    with _opened(path) as sql, pytest.raises(sqlite3.IntegrityError):
        sql.execute("INSERT INTO entries (key, line) VALUES (?, ?)", row)


@pytest.mark.parametrize("line", ["[" * 100_000, "1" * 5000, '{"kind":1}', '{"kind":"a"}', "null", '"x"', '{"kind":[]}'])
def test_hostile_lines_are_damaged_lines(line: str) -> None:
    entry = decode(b"a", line.encode())
    assert isinstance(entry, DamagedLine)
    assert entry.text.isprintable()


def _unusable(path: Path, words: str) -> None:
    """Nothing can be done with the file, the error says which and what to do, and it stays as it is."""
    found, backend = path.read_bytes(), _backend(path)
    with pytest.raises(DataplaneError, match=words) as reading:
        backend.read()
    assert str(path) in str(reading.value)
    with pytest.raises(DataplaneError, match=words):
        backend.apply(TargetPlan("classic", create=(Installed(_eip(1)),)))
    assert path.read_bytes() == found


@settings(deadline=None)  # disks wait
@given(garbage=st.binary(min_size=2, max_size=600) | st.just(b'{"key":"eip:1","kind":"eip"}\n' * 100))
def test_a_file_that_is_no_database_is_left_alone(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    file = tmp_path_factory.mktemp("state") / "state"
    file.write_bytes(garbage)
    _unusable(file, "move it away")


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    for name, statement in (("theirs", "CREATE TABLE mine (a)"), ("like ours", "CREATE TABLE entries (key, line)")):
        with _opened(tmp_path / name) as sql:
            sql.execute(statement)
        _unusable(tmp_path / name, "not of the simulator's making; move it away")


def test_a_torn_file_is_told_and_one_moved_away_is_built_anew(path: Path) -> None:
    rows = _rows(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _unusable(path, "malformed.*move it away")
    path.rename(path.with_name("away"))
    converge(_backend(path), standard_scene())
    assert _rows(path) == rows


def test_damage_can_be_taken_back(path: Path) -> None:
    _edit(path, """UPDATE entries SET line = replace(line, '"none"', '"nine"') WHERE instr(line, '"mode":"none"')""")
    found, backend = _rows(path), _backend(path)
    plan = diff(backend.read(), backend.compile(standard_scene().intents()))
    assert plan
    for step in plan.targets:
        backend.apply(step)
    for step in plan.targets:
        backend.apply(step.inverse())
    assert _rows(path) == found


def test_changed_tells_when_others_wrote(path: Path) -> None:
    backend = _backend(path)
    assert backend.changed()
    backend.read()
    assert not backend.changed()
    path.write_bytes(path.read_bytes())
    assert backend.changed()
    backend.audit({})
    converge(backend, standard_scene().without_eip("203.0.113.100"))
    assert not backend.changed()
    path.unlink()
    assert backend.changed()
    assert backend.read() == {}
    assert not SimulatorBackend(BackendContext()).changed()


def test_an_edit_within_one_tick_of_the_clock_is_seen(path: Path) -> None:
    def identity() -> statefile.Identity | None:
        found = statefile.identity(path)
        return found and replace(found, modified=0, changed=0)  # as with a clock that stands still

    before = identity()
    _edit(path, "UPDATE entries SET line = upper(line) WHERE key = (SELECT min(key) FROM entries)")
    assert identity() != before


def test_a_state_that_is_as_stamped_is_known_without_reading(path: Path) -> None:
    stamp, backend = _stamp(path), _backend(path)
    assert backend.stamp() == ""
    assert not backend.adopt("")
    assert backend.adopt(stamp)
    assert not backend.changed()
    backend.apply(TargetPlan("vpc:v", create=(Installed(_eip(1)),)))
    assert not backend.changed()
    assert not _backend(path).adopt(stamp)
    assert _backend(path).adopt(backend.stamp())
    assert len(diff(backend.read(), backend.compile(standard_scene().intents()))) == 1


def _stamp(path: Path) -> str:
    backend = _backend(path)
    backend.read()
    return backend.stamp()


def test_a_missing_file_is_known_too(tmp_path: Path) -> None:
    stamp, backend = _stamp(tmp_path / "state"), _backend(tmp_path / "state")
    assert backend.adopt(stamp)
    (tmp_path / "state").touch()
    assert not _backend(tmp_path / "state").adopt(stamp)
    assert not backend.apply(TargetPlan("vpc:v", create=(Installed(_eip(1)),)))
    assert not backend.changed()


def test_an_edit_just_before_a_change_stays_and_does_not_pass_for_known(path: Path) -> None:
    backend = _backend(path)
    backend.read()
    _edit(path, "INSERT INTO entries (key, line) VALUES ('x', 'y')")
    backend.apply(TargetPlan("vpc:v", create=(Installed(_eip(1)),)))
    assert backend.changed()
    assert not backend.stamp()
    assert {"x", _eip(1).id} <= backend.read().keys()
    assert not backend.changed()


def test_two_instances_see_each_other(path: Path) -> None:
    one, other = _backend(path), _backend(path)
    one.read()
    converge(other, standard_scene().without_eip("203.0.113.100"))
    assert one.read() == other.read()


def test_option_wins_over_the_place_beside_the_store(tmp_path: Path) -> None:
    options = {"state": str(tmp_path / "mine")}
    converge(SimulatorBackend(BackendContext(options=options, state=tmp_path / "beside")), standard_scene())
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(InputParameterError):
        SimulatorBackend(BackendContext(options={"state": 1}))


def test_drift_in_the_file_is_planned_and_repaired_by_the_next_verb(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/s.db", tmp_path / "s.db.simulator.state"
    with Controller.open(store=url) as cloud:
        cloud.vpcs.create("prod", "192.168.0.0/16")
        cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
    rows = _rows(file)
    _edit(file, "DELETE FROM entries WHERE key = (SELECT min(key) FROM entries)")
    with Controller.open(store=url) as cloud:
        assert len(cloud.plan()) == 1
        cloud.hosts.create("h")
    assert _rows(file) == rows


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_only_a_regular_file_is_used(path: Path, kind: str) -> None:
    found, place = path.read_bytes(), path.with_name("place")
    match kind:
        case "link":
            place.symlink_to(path)
        case "dangling link":
            place.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(place)
        case _:
            place.mkdir()
    before = place.lstat()
    with pytest.raises(DataplaneError, match=str(place)):
        _backend(place).read()
    with pytest.raises(DataplaneError, match=str(place)):
        _backend(place).apply(TargetPlan("vpc:v", create=(Installed(_eip(1)),)))
    with pytest.raises(DataplaneError, match=str(place)):
        _backend(place).adopt("")
    assert (place.lstat(), path.read_bytes()) == (before, found)


def test_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataplaneError, match="missing"):
        converge(_backend(tmp_path / "missing" / "state"), standard_scene())
    for name in ("a\0b", "\ud800"):
        with pytest.raises(DataplaneError, match="cannot be used"):
            _backend(Path(name)).read()


def _eips(count: int) -> dict[str, Any]:
    return {entry.key: entry for n in range(count) if (entry := Installed(_eip(n)))}


def _eip(n: int) -> EipMapping:
    return EipMapping(
        eip_id=f"{n:032x}", vpc_id="v", network_id="n", eip=(203 << 24) + n, vip=(10 << 24) + n, bandwidth=30, uplink=None
    )


@pytest.mark.long
def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    backend, entries = _backend(tmp_path / "state"), _eips(100_000)
    backend.apply(TargetPlan("vpc:v", create=tuple(entries.values())))
    assert _backend(tmp_path / "state").read() == entries


def test_a_new_process_looks_only_when_something_moved_or_was_set_aside(tmp_path: Path) -> None:
    """The simulator notices everything, so plan, apply and status of a new process need not read it."""
    faults = Faults()

    def opened() -> Controller:
        inner = SimulatorBackend(BackendContext(state=tmp_path / "state"))
        backend: FaultyBackend[SimulatorEntry] = FaultyBackend(inner, faults)
        return Controller(config=Config(), store=open_store(f"sqlite:///{tmp_path}/s.db"), backend=backend)

    with opened() as cloud:
        cloud.vpcs.create("v", "10.0.0.0/8")
        network = cloud.networks.create("n", "10.0.0.0/24", vpc="v")
    faults.unreadable = True
    with opened() as cloud:
        assert not cloud.plan()
        assert cloud.apply().changed == 0
    faults.unreadable = False
    with opened() as cloud:
        assert cloud.status().drift is False
    _edit(tmp_path / "state", "DELETE FROM entries WHERE key = ?", f"subnet:{network.id}")
    faults.refuse[f"subnet:{network.id}"] = "no room"
    with opened() as cloud:
        assert len(cloud.plan()) == 1
        assert [one.reason for one in cloud.apply().quarantined] == ["no room"]
    faults.refuse.clear()
    with opened() as cloud:
        assert cloud.apply().created == 1
