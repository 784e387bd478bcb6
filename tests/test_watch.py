"""A watch over the simulator, in Python and on the command line; the kernel's is in tests/nftables and tests/lab."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from answers import misfits
from shell import Shell

from vipnet import Controller, DataplaneError, InvalidStatusError
from vipnet.cli.answers import shapes
from vipnet.cli.verbs import SECTIONS
from vipnet.config import Config
from vipnet.events import EVENTS, EventWord, WatchEvent
from vipnet.store import open_store
from vipnet.testing import Faults, FaultyBackend
from vipnet.testing.promises import within
from vipnet.testing.watching import Seen
from vipnet_simulator import SimulatorBackend

WATCH = next(verb for section in SECTIONS for verb in section.verbs if verb.name == "watch")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


@pytest.fixture
def cloud(path: Path) -> Iterator[Controller]:
    with Controller.open(store=f"sqlite:///{path}", backend="simulator") as one:
        one.vpcs.create("prod", "192.168.0.0/16")
        one.networks.create("web", "192.168.4.0/22", vpc="prod")
        yield one


def edit(path: Path) -> None:
    """Take an entry away, as somebody with an editor could."""
    with closing(sqlite3.connect(f"{path}.simulator.state")) as sql, sql:
        assert sql.execute("DELETE FROM entries WHERE key = (SELECT min(key) FROM entries)").rowcount == 1


def test_an_edited_file_is_repaired_within_2_s(cloud: Controller, path: Path) -> None:
    seen = Seen()
    with cloud.watch(seen.events.append):
        seen.wait_for("watching")
        edit(path)
        assert seen.wait_for("drift", 2.0).detail.startswith("1 missing")
        seen.wait_for("repaired", 2.0)
    assert seen.words() == ["watching", "drift", "repaired"]
    assert not cloud.plan()


def test_what_was_adrift_before_is_repaired_before_the_block(cloud: Controller, path: Path) -> None:
    edit(path)
    seen = Seen()
    with cloud.watch(seen.events.append):
        assert not cloud.plan()
    assert seen.words()[:2] == ["watching", "drift"]


def test_verbs_go_on_and_are_no_drift(cloud: Controller, path: Path) -> None:
    seen = Seen()
    with cloud.watch(seen.events.append), Controller.open(store=f"sqlite:///{path}", backend="simulator") as other:
        for number in range(5):
            cloud.groups.create(f"g{number}")
            other.networks.create(f"n{number}", f"192.168.{16 + number}.0/24", vpc="prod")
            time.sleep(0.15)
        with cloud.transaction() as tx:
            time.sleep(0.7)
            tx.groups.create("late")
    assert seen.words() == ["watching"]
    assert not cloud.plan()


def test_what_others_did_is_taken_in(cloud: Controller, path: Path) -> None:
    with cloud.watch(), Controller.open(store=f"sqlite:///{path}", backend="simulator") as other:
        before = cloud.topology
        other.groups.create("elsewhere")
        assert within(3.0, lambda: cloud.topology is not before)


def test_in_memory_there_is_nothing_to_see() -> None:
    seen = Seen()
    with Controller.open(store="memory:", backend="simulator") as cloud, cloud.watch(seen.events.append):
        cloud.groups.create("g")
        time.sleep(1.2)
    assert seen.words() == ["watching"]


def test_it_leaves_no_thread_and_no_file(cloud: Controller) -> None:
    threads, files = threading.active_count(), len([*Path("/proc/self/fd").iterdir()])
    for _ in range(3):
        with cloud.watch():
            assert threading.active_count() == threads + 2
    assert (threading.active_count(), len([*Path("/proc/self/fd").iterdir()])) == (threads, files)


def test_two_watches_on_one_controller_are_refused(cloud: Controller) -> None:
    with cloud.watch():
        with pytest.raises(InvalidStatusError, match="watched already"), cloud.watch():
            pass
        cloud.groups.create("g")
    with cloud.watch():
        pass


def test_several_controllers_are_watched_side_by_side(tmp_path: Path) -> None:
    first, second = (Controller.open(store=f"sqlite:///{tmp_path / name}", backend="simulator") for name in ("a.db", "b.db"))
    with first, second, first.watch(), second.watch():
        first.groups.create("g")
        second.groups.create("g")


def test_a_watch_inside_a_transaction_is_refused(cloud: Controller) -> None:
    with cloud.transaction(), pytest.raises(InvalidStatusError, match="transaction is open"), cloud.watch():
        pass


def test_a_controller_that_reads_by_key_cannot_be_watched(path: Path, cloud: Controller) -> None:
    del cloud
    with (
        Controller.open(store=f"sqlite:///{path}", backend="simulator", by_key=True) as one,
        pytest.raises(InvalidStatusError, match="by_key"),
        one.watch(),
    ):
        pass


def test_closing_the_controller_ends_the_watch(path: Path) -> None:
    threads = threading.active_count()
    with Controller.open(store=f"sqlite:///{path}", backend="simulator") as cloud, cloud.watch():
        cloud.close()
        assert threading.active_count() == threads


def test_what_the_function_raises_comes_out_of_the_block(cloud: Controller) -> None:
    def report(event: WatchEvent) -> None:
        raise RuntimeError(f"no time for {event.event}")

    with pytest.raises(RuntimeError, match="no time for watching"), cloud.watch(report) as watch:
        assert watch.wait(5)


class World:
    """A backend that fails on demand, under a watch."""

    def __init__(self, path: Path) -> None:
        self.faults = Faults()
        backend: FaultyBackend[Any] = FaultyBackend(SimulatorBackend(_context(path)), self.faults)
        self.cloud = Controller(config=Config(), store=open_store(f"sqlite:///{path}"), backend=backend)


def _context(path: Path) -> Any:
    from vipnet.backend import BackendContext

    return BackendContext(state=path.with_name(f"{path.name}.simulator.state"))


def test_a_repair_that_fails_is_said_once_and_tried_again(path: Path, cloud: Controller) -> None:
    del cloud
    world, seen = World(path), Seen()
    with world.cloud as one, one.watch(seen.events.append):
        seen.wait_for("watching")
        world.faults.unreadable = True
        edit(path)
        assert "nothing can be read" in seen.wait_for("repair-failed", 3.0).detail
        time.sleep(1.5)
        assert seen.words().count("repair-failed") == 1
        world.faults.unreadable = False
        seen.wait_for("repaired", 5.0)
        assert not one.plan()


def test_what_is_refused_is_said_once_and_tried_again(path: Path, cloud: Controller) -> None:
    del cloud
    world, seen = World(path), Seen()
    with world.cloud as one, one.watch(seen.events.append):
        seen.wait_for("watching")
        key = min(one.backend.read())
        world.faults.refuse[key] = "not today"
        edit(path)
        assert seen.wait_for("repair-failed", 3.0).detail == "not today"
        time.sleep(1.5)
        assert seen.words().count("repair-failed") == 1
        world.faults.refuse.clear()
        assert within(20.0, lambda: key in one.backend.read())


def test_what_cannot_be_watched_is_refused(path: Path, cloud: Controller) -> None:
    del cloud
    world, threads = World(path), threading.active_count()
    world.faults.unreadable = True
    with world.cloud as one:
        edit(path)
        with pytest.raises(DataplaneError), one.watch():
            pass
        world.faults.unreadable = False
        with one.watch():
            pass
    assert threading.active_count() == threads


# ---------------------------------------------------------------------------------------------------- the command


class Process:
    """`vipnet watch` in a process of its own; `lines` are what it has printed."""

    def __init__(self, path: Path, *words: str) -> None:
        argv = [sys.executable, "-m", "vipnet", "--store", f"sqlite:///{path}", "--backend", "simulator", *words, "watch"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_for(self, count: int) -> None:
        assert within(30, lambda: len(self.lines) >= count or self.process.poll() is not None)
        assert len(self.lines) >= count, self.process.stderr and self.process.stderr.read()

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        status = self.process.wait(30)
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            return status, self.process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_a_line_for_each_event_until_it_is_told_to_end(cloud: Controller, path: Path, number: int) -> None:
    watching = Process(path, "-o", "json")
    watching.wait_for(1)
    cloud.groups.create("g")
    edit(path)
    watching.wait_for(3)
    assert watching.end(number) == (0, "")
    events = [json.loads(line) for line in watching.lines]
    assert [event["event"] for event in events] == ["watching", "drift", "repaired"]
    assert all(list(event) == ["time", "event", "object", "detail"] for event in events)
    assert [misfits(event, shapes(WATCH)) for event in events] == [[], [], []]
    assert not cloud.plan()


def test_the_command_for_people(cloud: Controller, path: Path) -> None:
    del cloud
    watching = Process(path)
    watching.wait_for(1)
    assert watching.end(signal.SIGTERM) == (0, "")
    assert " watching          simulator: " in watching.lines[0]


def test_the_command_ends_when_nobody_reads_any_more(cloud: Controller, path: Path) -> None:
    del cloud
    argv = [sys.executable, "-m", "vipnet", "--store", f"sqlite:///{path}", "--backend", "simulator", "watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_the_command_has_no_dry_run(vipnet: Shell) -> None:
    answer = vipnet("--dry-run", "-o", "json", "watch")
    assert (answer.code, answer.error["class"]) == (1, "NotSupportedError")


def test_the_help_names_every_event(vipnet: Shell) -> None:
    from typing import get_args

    text = " ".join(vipnet("watch", "--help").out.split())
    assert set(EVENTS) == set(get_args(EventWord))
    assert all(f"{word} {meaning}" in text for word, meaning in EVENTS.items())


def test_the_page_names_every_event() -> None:
    page = (Path(__file__).parent.parent / "docs/watching.md").read_text(encoding="utf-8")
    assert all(f"| `{word}` | {meaning} |" in page for word, meaning in EVENTS.items())
