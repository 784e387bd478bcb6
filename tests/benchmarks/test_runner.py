"""The runner of the benchmarks: turns, time, records, judgement, report. No test here asserts how long something takes."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import run as program
from runner.catalogue import SCENARIOS
from runner.contest import NO_TIME, Plan, held
from runner.judge import compared
from runner.page import write_report
from runner.plots import curves, ratios
from runner.records import COMPLETE, Absence, Key, Record, Series, environment, is_complete, read, series_of
from runner.scenario import PROFILES, Contestant, Profile, Scenario, Share
from runner.tables import tables
from runner.timelines import spells, timelines

SHARES: Mapping[Profile, Share] = {profile: Share((10,), 2) for profile in PROFILES}


@pytest.fixture(autouse=True)
def _workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def _contestant(name: str, worker: str = "Steady", **options: str) -> Contestant:
    return Contestant(name=name, worker=f"workers:{worker}", options={"name": name, "seconds": "1", **options})


def _scenario(*contestants: Contestant, group: str = "pure", reference: str = "") -> Scenario:
    return Scenario(
        name="work",
        group=group,
        about="some work",
        unit="ms",
        per="a piece",
        contestants=contestants,
        shares=SHARES,
        reference=reference,
        goals={"peer": 0.5},
    )


def _held(scenario: Scenario, *, rounds: int = 2, seconds: float = 60, done: Iterable[Key] = ()) -> list[Record | Absence]:
    until = time.monotonic() + seconds
    plan = Plan(scenario=scenario, scale=10, contestants=scenario.contestants, rounds=rounds, seed=1, until=until)
    return list(held(plan, {*done}))


def _records(key: Key, medians: Sequence[float], loops: Sequence[float]) -> list[Record]:
    pairs = enumerate(zip(medians, loops, strict=True), 1)
    return [Record(key=key, round=number, samples=(one, one, one), loop=loop, cpu=True) for number, (one, loop) in pairs]


# ------------------------------------------------------------------------------------------------------- contests


def test_contestants_take_turns_and_what_they_did_is_read_back(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    two = (_contestant(name, notes=str(notes), seconds=seconds) for name, seconds in (("a", "1"), ("b", "2")))
    found = _held(_scenario(*two, group="nftables"))
    assert notes.read_text().split("\n")[:6] == ["a turn", "b turn", "b turn", "a turn", "a turn", "b turn"]
    assert sorted(notes.read_text().split("\n")[6:8]) == ["a end", "b end"]
    records = [one for one in found if isinstance(one, Record)]
    assert [(one.key.contestant, one.round, one.samples) for one in records] == [
        (name, number, (seconds,) * 3) for name, seconds in (("a", 1.0), ("b", 2.0)) for number in (1, 2)
    ]
    assert [one.checked for one in records] == ["", "as it should be"] * 2
    assert all(one.loop > 0 for one in records)


def test_work_that_asks_no_data_plane_has_a_new_process_each_round(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    found = _held(_scenario(_contestant("a", notes=str(notes))))
    assert notes.read_text().split("\n")[:6] == ["a turn", "a end"] * 3
    assert [one.round for one in found if isinstance(one, Record)] == [1, 2]


@pytest.mark.parametrize(
    ("worker", "reason"),
    [("Dying", "ended with status 3"), ("Wrong", "ended with status 1"), ("Slow", "took more than")],
)
def test_who_fails_is_named_and_the_others_go_on(tmp_path: Path, worker: str, reason: str) -> None:
    two = _contestant("good", notes=str(tmp_path / "notes")), _contestant("bad", worker)
    found = _held(_scenario(*two, group="nftables"), seconds=4 if worker == "Slow" else 60)
    absent = {one.key.contestant: one.reason for one in found if isinstance(one, Absence)}
    assert reason in absent["bad"]
    assert worker == "Slow" or [one.round for one in found if isinstance(one, Record)] == [1, 2]


def test_who_is_not_installed_or_not_meant_for_it_is_named() -> None:
    absent = replace(_contestant("a"), programs=("no-such-program",), modules=("no_such_module",))
    small = replace(_contestant("b"), most=9)
    unable = replace(_contestant("c"), cannot="it has no hands")
    elsewhere = replace(_contestant("d"), environment="no-such-environment")
    found = _held(_scenario(absent, small, unable, elsewhere))
    assert [one.reason for one in found if isinstance(one, Absence)] == [
        "not installed: no-such-program, no_such_module",
        "does no more than 9",
        "cannot: it has no hands",
        "not installed: no-such-environment",
    ]


def test_it_is_said_how_to_get_who_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr("shutil.which", nothing)
    monkeypatch.setattr("importlib.util.find_spec", nothing)
    assert program.main(["--only", "nftables.change,ovs.change,iptables-legacy.change", "--list"]) == 0
    said = capsys.readouterr().out
    assert "    nft -f - (not installed: nft, pyroute2 (apt-get install nftables; pip install 'vipnet[bench]'))\n" in said
    assert "os-ken (not installed: ovs-vswitchd, ovs-ofctl, ovs, pyroute2, os_ken (apt-get install openvswitch-switch; " in said
    assert "python-iptables (not installed: iptables-legacy-restore, ebtables-nft, pyroute2, iptc (apt-get" in said
    assert "make bench-peers))" in said


def test_a_peer_may_do_less_in_the_quick_profile() -> None:
    one = replace(_contestant("a"), most=100, quick=10)
    assert [one.within(profile).most for profile in PROFILES] == [10, 100]
    assert [_contestant("b").within(profile).most for profile in PROFILES] == [None, None]


def test_a_peer_that_nobody_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--peer", "nobody", "--list"])
    assert "nobody; there are Neutron IptablesManager; " in capsys.readouterr().err


def test_no_round_begins_when_the_time_is_over(tmp_path: Path) -> None:
    found = _held(_scenario(_contestant("a", notes=str(tmp_path / "notes"))), rounds=1_000_000, seconds=3)
    assert 0 < sum(isinstance(one, Record) for one in found) < 1_000_000


def test_nobody_gets_ready_when_the_time_is_over(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (found,) = _held(_scenario(_contestant("a", notes=str(notes))), seconds=-1)
    assert isinstance(found, Absence)
    assert found.reason == NO_TIME
    assert not notes.exists()


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, file = tmp_path / "notes", tmp_path / "records.jsonl"
    scenario = _scenario(_contestant("vipnet", notes=str(notes)), _contestant("peer", notes=str(notes)))
    monkeypatch.setattr(program, "SCENARIOS", {scenario.id: scenario})
    words = ["--json", str(file), "--report", str(tmp_path), "--only", scenario.id]
    assert program.main(words) == 0
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if "peer" not in line and line != COMPLETE) + '\n{"kind": "rou')
    notes.unlink()
    assert program.main(words) == 0
    assert "vipnet" not in notes.read_text()
    assert {key.contestant for key in series_of(read(file)[1])} == {"vipnet", "peer"}
    assert is_complete(file)
    assert program.main(words) == 0
    assert (tmp_path / "records.jsonl.previous").exists()


# ------------------------------------------------------------------------------------------------------- records


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    key = Key(scenario="pure.work", scale=10, contestant="vipnet")
    record = Record(key=key, round=1, samples=(1.5, 2.5), loop=0.1, cpu=True, peak_mb=12.5, checked="all")
    seen = replace(record, round=2, timeline=((-0.5, "a"), (0.25, ""), (0.5, "b")))
    absence = Absence(key=key, reason="not there")
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join([environment(), record.line(), seen.line(), absence.line(), COMPLETE]) + "\n")
    machine, records, absences = read(file)
    assert (records, absences) == ([record, seen], [absence])
    assert "timeline" not in record.line()
    assert machine["cores"] >= 1
    assert machine["tools"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "no line of JSON"),
        ('{"kind": "round", "scenario": "x"}', "no record of a benchmark"),
        ('{"kind": "machine", "version": 99}', "this reads version 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(f"{environment()}\n{line}\n{COMPLETE}\n")
    with pytest.raises(ValueError, match=rf"records\.jsonl:2.*{words}"):
        read(file)


# ------------------------------------------------------------------------------------------------------- judgement


def _run(factor: float, machine: float, seed: int, *, noise: float = 0.02, rounds: int = 8) -> Mapping[Key, Series]:
    """A run in which vipnet takes `factor` times as long, on a machine that takes `machine` times as long for everything."""
    chance = random.Random(seed)

    def spread(value: float) -> list[float]:
        return [value * machine * chance.gauss(1, noise) for _ in range(rounds)]

    mine, floor = (Key(scenario="pure.work", scale=10, contestant=name) for name in ("vipnet", "floor"))
    loops = spread(0.05)
    return series_of([*_records(mine, spread(2.0 * factor), loops), *_records(floor, spread(1.0), loops)])


def _word(scenario: Scenario, before: Mapping[Key, Series], after: Mapping[Key, Series]) -> str:
    scenarios = {"pure.work": scenario}
    (verdict,) = compared(scenarios, before, after)
    assert verdict.text()
    return verdict.word


LOOPED = _scenario(_contestant("vipnet"))
BESIDE_FLOOR = _scenario(_contestant("vipnet"), _contestant("floor"), group="nftables", reference="floor")


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_slow_down_is_found_and_the_same_code_is_the_same(seed: int) -> None:
    for scenario, planted in ((LOOPED, 1.10), (BESIDE_FLOOR, 1.25)):
        before = _run(1, 1, seed)
        assert _word(scenario, before, _run(planted, 1.05, seed + 100)) == "slower"
        assert _word(scenario, before, _run(1, 0.95, seed + 200)) == "same"
        assert _word(scenario, before, _run(1 / planted / 1.05, 1, seed + 300)) == "faster"


def test_nothing_is_said_where_the_machine_is_another_or_little_is_known() -> None:
    for scenario in (LOOPED, BESIDE_FLOOR):
        assert _word(scenario, _run(1, 1, 1), _run(1.5, 1.3, 2)) == "unsaid"
        assert _word(scenario, _run(1, 1, 1), _run(1.5, 1, 2, rounds=2)) == "unsaid"


def test_bytes_are_compared_as_they_are_however_fast_the_machine_is() -> None:
    sized = replace(LOOPED, unit="B")
    assert _word(sized, _run(1, 1, 1, noise=0), _run(1.2, 1, 2, noise=0, rounds=1)) == "slower"
    key = Key(scenario="pure.work", scale=10, contestant="vipnet")
    before, after = (series_of(_records(key, [500.0], [loop])) for loop in (0.05, 0.5))
    assert _word(sized, before, after) == "same"


def test_noise_is_no_slow_down() -> None:
    found = [_word(LOOPED, _run(1, 1, seed, noise=0.3), _run(1, 1, seed + 50, noise=0.3)) for seed in range(20)]
    assert found.count("slower") <= 2


# ------------------------------------------------------------------------------------------------------- report


def _measured() -> tuple[Scenario, Mapping[Key, Series]]:
    scenario = _scenario(_contestant("vipnet"), _contestant("peer"))
    records: list[Record] = []
    for scale in (100, 1_000, 10_000):
        for name, factor in (("vipnet", 1), ("peer", 20)):
            key = Key(scenario=scenario.id, scale=scale, contestant=name)
            records += _records(key, [factor * scale / 1e6] * 3, [0.05] * 3)
    return scenario, series_of(records)


def test_tables_say_medians_ratios_goals_and_who_is_missing() -> None:
    scenario, series = _measured()
    missing = Absence(key=Key(scenario=scenario.id, scale=100_000, contestant="peer"), reason="not installed: peer")
    text = tables({scenario.id: scenario}, series, [missing])
    assert "| 10k | vipnet | 10 | 10 | 10 | 10 | 3 |  |  |" in text
    assert "| 10k | peer | 200 | 200 | 200 | 200 | 3 | 20 | >= 2 |" in text
    assert "peer at 100k: not installed: peer" in text


def test_pictures_are_pictures_and_the_same_each_time() -> None:
    scenario, series = _measured()
    for draw in (curves, ratios):
        first = draw(scenario, series, "light")
        assert first is not None
        assert ElementTree.fromstring(first).tag.endswith("svg")
        assert draw(scenario, series, "light") == first != draw(scenario, series, "dark")
        png = draw(scenario, series, "light", "png")
        assert png is not None
        assert png.startswith(b"\x89PNG")


def test_bytes_keep_their_unit() -> None:
    sized = replace(_scenario(_contestant("vipnet")), unit="KB")
    series = series_of(_records(Key(scenario=sized.id, scale=10, contestant="vipnet"), [2_500.0] * 3, [0.05] * 3))
    assert "| 10 | vipnet | 2.5 | 2.5 | 2.5 | 2.5 | 3 |" in tables({sized.id: sized}, series, [])


TIMELINE = ((-0.04, "a"), (-0.02, "a"), (0.0, "a"), (0.25, ""), (0.27, "b"), (0.29, "b"), (0.31, ""), (0.33, "b"), (0.45, "b"))


def test_a_spell_ends_where_an_answer_is_missing_or_late() -> None:
    found = [(one.who, one.first, one.last) for one in spells(TIMELINE)]
    assert found == [("a", -0.04, 0.0), ("b", 0.27, 0.29), ("b", 0.33, 0.33), ("b", 0.45, 0.45)]
    assert spells([(0.1, "")]) == []


def test_timelines_are_drawn_where_rounds_have_them() -> None:
    scenario, series = _measured()
    assert timelines(scenario, series, "light") is None
    key = Key(scenario=scenario.id, scale=10, contestant="vipnet")
    seen = series_of(replace(one, timeline=TIMELINE) for one in _records(key, [0.27] * 2, [0.05] * 2))
    first = timelines(scenario, seen, "light")
    assert first is not None
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert first.count(b"270 ms") == 2
    assert timelines(scenario, seen, "light") == first != timelines(scenario, seen, "dark")
    assert (timelines(scenario, seen, "light", "png") or b"").startswith(b"\x89PNG")


def _browsed(page: Path, *options: str) -> str:
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/profile", *options]
    return subprocess.run([*words, page.as_uri()], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(("setting", "paper"), [("0", "rgb(22, 24, 28)"), ("1", "rgb(255, 255, 255)")], ids=["dark", "light"])
def test_the_report_is_whole_in_a_browser(tmp_path: Path, setting: str, paper: str) -> None:
    scenario, series = _measured()
    page = write_report(tmp_path, {scenario.id: scenario}, {"cores": 2, "tools": {"nft": "1 < 2"}}, series, [])
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    asks = (
        "const seen=[...document.images].map(i=>i.complete&&i.naturalWidth>100&&i.currentSrc.length);"
        "document.title=JSON.stringify([seen,getComputedStyle(document.body).backgroundColor,"
        "document.documentElement.scrollWidth<=innerWidth])"
    )
    page.write_text(text.replace("</html>", f"<script>onload=()=>{{{asks}}}</script></html>"))
    shown = _browsed(page, f"--blink-settings=preferredColorScheme={setting}", "--dump-dom")
    title = shown.partition("<title>")[2].partition("</title>")[0]
    assert f'"{paper}",true]' in title
    assert "false" not in title.rpartition(",true]")[0]
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".html", ".png", ".png", ".svg", ".svg"]


def test_the_two_themes_have_pictures_of_their_own(tmp_path: Path) -> None:
    scenario, series = _measured()
    page = write_report(tmp_path, {scenario.id: scenario}, {}, series, [])
    assert page.read_text().count("prefers-color-scheme: dark") >= 1 + 2


# ------------------------------------------------------------------------------------------------------- catalogue


def test_every_scenario_is_whole() -> None:
    for id, scenario in SCENARIOS.items():
        names = [one.name for one in scenario.contestants]
        assert (scenario.id, len(names)) == (id, len({*names}))
        assert names[0].startswith("vipnet")
        assert not scenario.reference or scenario.reference in names
        assert {*scenario.goals} <= {*names}
        assert {*scenario.shares} == {*PROFILES}


def test_one_scenario_is_run_for_real(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--json", str(tmp_path / "r.jsonl"), "--report", str(tmp_path), "--only", "pure.import", "--peer", "netaddr"]
    assert program.main(words) == 0
    said = capsys.readouterr().out
    assert "| 1 | netaddr |" in said
    assert "sqlalchemy" not in said
    assert program.main([*words[:-2], "--scale", "100k"]) == 0
    assert "| 1 |" not in capsys.readouterr().out
    assert program.main([*words[:-4], "--only", "pure.import", "--list"]) == 0
    assert "netaddr" in capsys.readouterr().out
