"""The demo: runs, cleans up when interrupted, is taken down when killed or kept, and disturbs no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from answers import misfits

from vipnet.cli.answers import shapes
from vipnet.cli.verbs.dataplane import DATA_PLANE
from vipnet.errors import DataplaneError, NotSupportedError
from vipnet.lab import demo as demo_module
from vipnet.lab.demo import run_demo, take_down
from vipnet.lab.machine import Machine, look
from vipnet.lab.node import wait_for
from vipnet.lab.record import Run, demos_root

pytestmark = pytest.mark.root

DECLARED = next(verb for verb in DATA_PLANE.verbs if verb.name == "demo")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path, None, None]:
    """Demos of a test are in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    for run in Run.all():  # of a test that failed
        run.clear()


@contextmanager
def demo(*options: str) -> Generator[subprocess.Popen[str], None, None]:
    """Run the command in a process group of its own."""
    # One who runs the tests in the background may have them ignore SIGINT, and a child would inherit that.
    python = ["env", "--default-signal=INT", sys.executable]
    command = [*python, "-m", "vipnet", "-o", "json", "demo", "--backend", "nftables", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def made() -> list[str]:
    """Everything that the demos of this test wrote down: namespaces, and folders whose names processes carry."""
    return [name for run in Run.all() for name in [run.folder.name, *run.named("namespace")]]


def picture(marks: list[str], cache: Path) -> Machine:
    return look(marks, cache)


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Read what the demo says until a line has these words in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"the demo ended without saying {words!r}")


def assert_nothing_of(marks: list[str], before: Machine, cache: Path) -> None:
    assert len(marks) > 5
    wait_for(lambda: picture(marks, cache) == before, f"nothing to be left: {picture(marks, cache)}")


@pytest.mark.parametrize("backend", ["iptables", "nftables", "ovs"])
def test_the_worked_example(cache: Path, backend: str) -> None:
    before = picture([], cache)
    said: list[str] = []
    report = run_demo(backend=backend, say=said.append)
    assert [check for check in report.checks if not check.ok] == []
    assert len(report.checks) == 10
    assert report.failover_ms is not None
    assert report.failover_ms < 1500
    machines = {"host", "client", "nginx-master", "nginx-slave", "outsider", *(["router"] if backend != "ovs" else [])}
    assert machines <= set(report.namespaces)
    assert any("MMM" in line and "sss" in line for line in said)
    assert picture(list(report.namespaces.values()), cache) == before


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("VPC prod", signal.SIGINT, None),
        ("EIP 203.0.113.100", signal.SIGINT, None),
        ("the check brings it back", signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
def test_an_interrupt_cleans_up(cache: Path, moment: str, number: signal.Signals, status: int | None) -> None:
    before = picture([], cache)
    with demo() as process:
        wait_for_line(process, moment)
        marks = made()
        os.killpg(process.pid, number)
        time.sleep(0.05)
        os.killpg(process.pid, number)  # one who is impatient
        process.communicate(timeout=30)
        assert process.returncode != 0
        assert status in (None, process.returncode)
    assert_nothing_of(marks, before, cache)


@pytest.mark.parametrize("moment", ["VPC prod", "EIP 203.0.113.100", "cannot claim the VIP"])
def test_a_killed_demo_is_taken_down(cache: Path, moment: str) -> None:
    before = picture([], cache)
    with demo() as process:
        wait_for_line(process, moment)
        marks = made()
        process.kill()
        process.wait()
    assert picture(marks, cache) != before
    with demo("--down") as down:
        out, err = down.communicate(timeout=30)
        assert (down.returncode, err) == (0, "")
        assert misfits(json.loads(out), shapes(DECLARED)) == []
    assert_nothing_of(marks, before, cache)
    assert take_down() == []


def test_a_kept_demo_stands_until_it_is_taken_down(cache: Path) -> None:
    before = picture([], cache)
    assert DECLARED.example == "demo --keep"
    with demo("--keep") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert misfits(report, shapes(DECLARED)) == []
    marks = made()
    client = report["namespaces"]["client"]
    page = "import urllib.request; print(urllib.request.urlopen('http://203.0.113.100/', timeout=5).read().decode())"
    ask = ["ip", "netns", "exec", client, sys.executable, "-c", page]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "nginx-slave"
    assert len(take_down()) == 1
    assert_nothing_of(marks, before, cache)


def test_a_running_demo_is_left_alone_and_two_run_at_once() -> None:
    with demo() as one, demo() as other:
        wait_for_line(one, "EIP 203.0.113.100")
        assert take_down() == []
        for process in (one, other):
            out, err = process.communicate(timeout=90)
            assert process.returncode == 0, out + err
            assert all(check["ok"] for check in json.loads(out)["checks"])
    assert not demos_root().exists()


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotSupportedError, match="simulator moves no packets"):
        run_demo(backend="simulator", say=print)
    with monkeypatch.context() as patch:
        patch.setattr(demo_module, "missing", list[str])  # all of them
        with pytest.raises(DataplaneError, match="install the Debian packages iproute2 keepalived nftables nginx-light procps"):
            run_demo(say=print)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DataplaneError, match="run it as root"):
        run_demo(say=print)
    assert not demos_root().exists()
