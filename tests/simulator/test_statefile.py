"""Entries in a file: persistent, private, and whatever people do to it, seen and repaired."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError, InputParameterError
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan, diff
from vipnet.testing import converge, standard_scene
from vipnet_simulator import DamagedLine, Installed, SimulatorBackend
from vipnet_simulator.codec import decode, encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "state.jsonl"
    converge(_backend(file), standard_scene())
    return file


def _backend(path: Path) -> SimulatorBackend:
    return SimulatorBackend(BackendContext(state=path))


def _plan_size(path: Path) -> int:
    backend = _backend(path)
    return len(diff(backend.read(), backend.compile(standard_scene().intents())))


def test_file_is_private_and_sorted(path: Path) -> None:
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys == sorted(keys)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_reading_and_planning_write_nothing(tmp_path: Path) -> None:
    backend = _backend(tmp_path / "state.jsonl")
    assert backend.read() == {}
    assert not list(tmp_path.iterdir())


def test_every_entry_survives_its_line() -> None:
    entries = _backend(Path("unused")).compile(standard_scene().intents())
    assert [decode(encode(entry)) for entry in entries.values()] == list(entries.values())


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
        ('"key":"eip', '"key":"pie'),
    ],
)
def test_an_edit_shows_in_the_plan_and_is_repaired(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert 1 <= _plan_size(path) <= 2
    plan = converge(_backend(path), standard_scene())
    assert str(plan).isprintable() or "\n" in str(plan)
    assert path.read_text() == text


@given(garbage=st.binary(min_size=1, max_size=60))
def test_garbage_is_seen_and_removed(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    file = tmp_path_factory.mktemp("state") / "state.jsonl"
    file.write_bytes(garbage)
    backend = _backend(file)
    found = backend.read()
    lines = [line for line in garbage.split(b"\n") if line.strip()]
    assert all(isinstance(entry, DamagedLine) for entry in found.values())
    assert bool(found) == bool(lines)
    assert {entry.line for entry in found.values() if isinstance(entry, DamagedLine)} == set(lines)
    for step in diff(found, {}).targets:
        backend.apply(step)
    assert not _backend(file).read()


@pytest.mark.parametrize("line", ["[" * 100_000, "1" * 5000, '{"key":1}', '{"key":"a"}', "null", '"x"', '{"key":"a","kind":[]}'])
def test_hostile_lines_are_damaged_lines(line: str) -> None:
    entry = decode(line.encode())
    assert isinstance(entry, DamagedLine)
    assert entry.text.isprintable()


def test_a_line_that_stands_twice_counts_once(path: Path) -> None:
    text = path.read_text()
    path.write_text(text + text.splitlines()[0] + "\n")
    assert _plan_size(path) == 1
    converge(_backend(path), standard_scene())
    assert path.read_text() == text


def test_a_truncated_file_is_repaired(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert _plan_size(path) > 1
    converge(_backend(path), standard_scene())
    assert path.read_text() == text


def test_damage_can_be_taken_back(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"mode":"none"', b'"mode":"nine"'))
    found, backend = path.read_bytes(), _backend(path)
    plan = diff(backend.read(), backend.compile(standard_scene().intents()))
    for step in plan.targets:
        backend.apply(step)
    for step in plan.targets:
        backend.apply(step.inverse())
    assert path.read_bytes() == found


def test_changed_tells_when_others_wrote(path: Path) -> None:
    backend = _backend(path)
    assert backend.changed()
    backend.read()
    assert not backend.changed()
    path.write_text(path.read_text())
    assert backend.changed()
    backend.audit({})
    converge(backend, standard_scene().without_eip("203.0.113.100"))
    assert not backend.changed()
    path.unlink()
    assert backend.changed()
    assert backend.read() == {}
    assert not SimulatorBackend(BackendContext()).changed()


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


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataplaneError, match=str(tmp_path)):
        _backend(tmp_path).read()
    with pytest.raises(DataplaneError, match="missing"):
        converge(_backend(tmp_path / "missing" / "state"), standard_scene())


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, backend = path.read_text(), _backend(path)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataplaneError, match="No space left"):
        converge(backend, standard_scene().without_eip("203.0.113.100"))
    monkeypatch.undo()
    assert path.read_text() == text
    assert len(converge(backend, standard_scene().without_eip("203.0.113.100"))) == 1


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
