"""Several processes on one store and one kernel, killed in the middle of whatever they are doing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import mortal
import pytest
import worker
from crowd import Crowd

from tests.nftables.conftest import Lab, Tap, arp
from tests.nftables.shared_cloud import SharedCloud
from vipnet.controller import Controller
from vipnet.model import Vpc, mac_of

pytestmark = pytest.mark.root


@pytest.mark.timeout(600)
@pytest.mark.parametrize("verbs", [100, pytest.param(2000, marks=pytest.mark.long)])
def test_killed_processes_leave_nothing_half_done(lab: Lab, tmp_path: Path, verbs: int) -> None:
    cloud = SharedCloud(lab.host, tmp_path, worker.prepare, devices=worker.DEVICES)
    begin = time.monotonic()
    with Crowd(lambda number: [worker.__file__, str(cloud.config), str(number), "60"], 4, random.Random(11)) as crowd:
        crowd.run(verbs)
    seconds = time.monotonic() - begin
    settled = cloud.settle()
    kinds: Counter[str] = Counter()
    for words, times in crowd.said.items():
        kinds[words.partition(" ")[0]] += times
    assert not kinds["broken"], crowd.said
    sys.stdout.write(
        f"{kinds['done']} verbs done, {kinds['refused']} refused in {seconds:.1f} s, "
        f"{crowd.killed} of {crowd.started} processes killed, {kinds['pending'] + settled.pending} times found pending, "
        f"{settled.revision} revisions\n"
    )
    assert crowd.killed
    assert len([words for words in crowd.said if words.startswith("done")]) > 8


@contextmanager
def doomed(config: Path) -> Generator[subprocess.Popen[str], None, None]:
    argv = [sys.executable, mortal.__file__, str(config)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process
        process.communicate()


def die(process: subprocess.Popen[str], change: str, point: int) -> tuple[int, str]:
    """(points passed, how it ended)"""
    cast(IO[str], process.stdin).write(f"{change} {point}\n")
    passed, end = cast(IO[str], process.stdout).readline().split()
    return int(passed), end


def holder(cloud: Controller) -> Vpc | None:
    """The VPC whose group has the EIP."""
    vpcs = (vpc for vpc in cloud.topology.all(Vpc) if vpc.name in ("red", "blue"))
    return next((vpc for vpc in vpcs if cloud.groups.show(vpc.name).vip_eip), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [0.05, pytest.param(1.0, marks=pytest.mark.long)])
@pytest.mark.parametrize(("change", "undo"), [("forth", "back"), ("back", "forth")])
def test_a_change_cut_off_at_any_point_is_old_or_finished(lab: Lab, tmp_path: Path, change: str, undo: str, share: float) -> None:
    cloud = SharedCloud(lab, tmp_path, mortal.DEVICES, mortal.prepare)
    with doomed(cloud.config) as process:
        if change == "back":
            assert die(process, "forth", -1)[1] == "lived"
        last, end = die(process, change, -1)
        assert (end, last > 20) == ("lived", True)
        assert die(process, undo, -1)[1] == "lived"
        rest = random.Random(5).sample(range(2, last), int(share * (last - 2)))
        for point in (0, 1, *rest, last):
            check_death(lab, cloud, process, change, point, last)
            if point > 0:
                assert die(process, undo, -1)[1] == "lived"


def check_death(lab: Lab, cloud: SharedCloud, process: subprocess.Popen[str], change: str, point: int, last: int) -> None:
    with Tap(lab.outside) as outside:
        assert die(process, change, point) == (point, "died")
        assert cloud.settle().pending == (0 < point < last), f"point {point}"
        with cloud.opened() as controller:
            now = holder(controller)
            assert now is not None
        assert (now.name == "blue") == ((change == "forth") == (point > 0)), f"point {point}"
        said = [frame[:42] for frame in outside.frames()]
        if point > 0:  # upstream learns where the EIP is now, whoever finished
            assert arp(mac_of(now.id), mortal.EIP, mortal.EIP)[:42] in said, f"point {point}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_commands_leave_nothing_half_done(lab: Lab, tmp_path: Path, rounds: int) -> None:
    cloud = SharedCloud(lab, tmp_path, mortal.DEVICES, mortal.prepare)
    chance = random.Random(3)
    vipnet = [sys.executable, "-m", "vipnet", "--config", str(cloud.config)]
    verbs = (["instancegroup-dissociate-eip", "red"], ["instancegroup-associate-eip", "red", "--eip-id", "front"])
    killed, pending = 0, 0
    for number in range(rounds):
        with subprocess.Popen([*vipnet, *verbs[number % 2]], stdout=subprocess.DEVNULL) as one:
            while one.poll() is None and not cloud.pending():
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.03))
            one.kill()
            killed += one.wait() == -signal.SIGKILL
        pending += cloud.settle().pending
        with cloud.opened() as controller:
            assert (holder(controller) is None) == (number % 2 == 0)  # once it was pending, it is going to be
    assert subprocess.run([*vipnet, "plan", "--check"], check=False, stdout=subprocess.DEVNULL).returncode == 0
    sys.stdout.write(f"{killed} of {rounds} commands killed, {pending} found pending\n")
    assert killed
