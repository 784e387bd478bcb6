"""The program of nftables, and all contestants of the runner, at a scale that takes seconds: they end, have
figures, and leave nothing behind.

Together in one file, as each looks whether namespaces of a benchmark are left: those of another one, at the same time, would do.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from math import isfinite
from pathlib import Path

import pytest
from runner.catalogue import SCENARIOS
from runner.contest import Plan, held
from runner.presence import absence
from runner.records import Absence, Record
from runner.scenario import Contestant
from runner.worker import Worker

pytestmark = pytest.mark.root

_PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_nftables.py"
_PARTS = ["cold", "more", "memory", "flows", "growth", "vpcs", "resync", "verbs", "release"]
_FEW = 20
_PEERS = ("peers_", "reading_")
_ENTRANTS = {
    f"{scenario.id}, {one.name}": one
    for scenario in SCENARIOS.values()
    if scenario.group != "failover"  # they wait for keepalived, the demo's tests do so, too
    for one in scenario.contestants
    if not any(word in one.worker for word in _PEERS)
}


def _spaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("bench-*")}


@pytest.mark.parametrize("part", _PARTS)
def test_a_part_has_figures(part: str, tmp_path: Path) -> None:
    before = _spaces()
    words = [sys.executable, str(_PROGRAM), "--scale", "100", "--repeats", "1", "--only", part, "--json", str(tmp_path / "lines")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert {row["part"] for row in rows} == {part}
    assert any("p50" in row or "value" in row for row in rows)
    assert f"## {part}" in done.stdout
    assert _spaces() == before


def test_nothing_is_left_behind_when_it_is_ended() -> None:
    before = _spaces()
    words = [sys.executable, str(_PROGRAM), "--scale", "100", "--only", "more", "--repeats", "100000"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None and len(_spaces() - before) < 3:
            time.sleep(0.01)
        running.terminate()
        assert running.wait(30) != 0
    assert _spaces() == before


_GROUPS = ("nftables", "iptables-nft", "iptables-legacy", "ovs")
_SHARED = [f"{group}.{name}" for group in _GROUPS for name in ("program", "change")]


@pytest.mark.parametrize("id", [*_SHARED, "iptables-nft.read", "iptables-legacy.read"])
def test_peers_do_the_work_or_are_named(id: str) -> None:
    """Each reads back what it did, and who did less fails; who is not installed is no failure, and is named."""
    before, scenario = _spaces(), SCENARIOS[id]
    some = [one for one in scenario.contestants if any(word in one.worker for word in _PEERS)]
    plan = Plan(scenario=scenario, scale=20, contestants=some, rounds=1, seed=1, until=time.monotonic() + 100)
    found = list(held(plan, ()))
    missing = {one.name: reason for one in some if (reason := absence(one, 20))}
    assert {one.key.contestant: one.reason for one in found if isinstance(one, Absence)} == missing
    checked = {one.key.contestant: one.checked for one in found if isinstance(one, Record)}
    assert {*checked} == {one.name for one in some} - {*missing}
    assert all(checked.values())
    assert _spaces() <= before
    if away := [f"{name}: {reason}" for name, reason in missing.items() if reason.startswith("not installed")]:
        pytest.skip(f"tried: {', '.join(checked) or 'nobody'}; {'; '.join(away)}")


@pytest.fixture
def _leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left whose name was made up meanwhile, by this process: others may be at work beside it."""
    marks, genuine = list[str](), secrets.token_hex

    def noted(count: int | None = None) -> str:
        marks.append(genuine(count))
        return marks[-1]

    monkeypatch.setattr(secrets, "token_hex", noted)
    yield
    names = [path.name for path in Path("/run/netns").glob("*")]
    assert not [name for name in names if any(mark in name for mark in marks)]


def _made(one: Contestant, scale: int) -> Worker:
    module, _, name = one.worker.partition(":")
    kind: type[Worker] = getattr(import_module(module), name)
    return kind(scale, 1, **one.options)


def _worked(one: Contestant) -> None:
    with _made(one, _FEW) as worker:
        samples = worker.once()
        worker.check()
    assert samples
    assert all(map(isfinite, samples))


@pytest.mark.usefixtures("_leaves_nothing")
@pytest.mark.parametrize("name", [name for name in _ENTRANTS if not name.startswith("pure")])
def test_who_takes_part_does_the_work_and_it_is_read_back(name: str) -> None:
    if reason := absence(_ENTRANTS[name], _FEW):
        pytest.skip(reason)
    _worked(_ENTRANTS[name])


@pytest.mark.parametrize("name", [name for name in _ENTRANTS if name.startswith("pure")])
def test_so_does_who_asks_no_data_plane(name: str) -> None:
    if reason := absence(_ENTRANTS[name], _FEW):
        pytest.skip(reason)
    _worked(_ENTRANTS[name])


@pytest.mark.usefixtures("_leaves_nothing")
def test_a_failover_says_who_answered_when() -> None:
    (one, *_) = SCENARIOS["failover.TERM-0.1s"].contestants
    with _made(one, 1) as worker:
        (gap,) = worker.once()
        timeline = worker.timeline()
        worker.check()
    assert [seconds for seconds, _ in timeline] == sorted(seconds for seconds, _ in timeline)
    assert timeline[0][0] < 0 < gap
    assert list(dict.fromkeys(who for _, who in timeline if who)) == ["nginx-master", "nginx-slave"]
