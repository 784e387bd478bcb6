"""Several processes on one store and one kernel, killed in the middle of whatever they are doing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import worker
from crowd import Crowd

from tests.nftables.conftest import Lab
from tests.nftables.shared_cloud import SharedCloud
from vipnet.controller import Controller
from vipnet.model import Vpc

pytestmark = pytest.mark.root

DEVICES = ("tap1", "tap2")


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("verbs", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_killed_processes_whose_changes_another_one_programs(lab: Lab, tmp_path: Path, verbs: int) -> None:
    """A watch stands by them, and is killed in the end itself."""
    cloud = SharedCloud(lab.host, tmp_path, worker.prepare, devices=worker.DEVICES)
    argv = [sys.executable, "-m", "vipnet", "--config", str(cloud.config), "-o", "json", "watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert '"watching"' in watch.stdout.readline()
        try:
            with Crowd(lambda number: [worker.__file__, str(cloud.config), str(number), "60"], 4, random.Random(5)) as crowd:
                crowd.run(verbs)
            assert watch.poll() is None
            with cloud.opened() as controller:
                controller.apply(audit=True)
                assert not controller.status().pending
        finally:
            watch.kill()
        said = watch.stdout.read()
    assert not {"repair-failed", "contested"} & {word for word in said.split('"') if word}, said
    assert not [words for words in crowd.said if words.startswith("broken")], crowd.said
    assert crowd.killed
    cloud.settle()


def prepare(cloud: Controller) -> None:
    """Two VPCs of one CIDR, a group in each with a member and a VIP, and the EIP of the first."""
    with cloud.transaction() as tx:
        tx.networks.create("pub", "203.0.113.0/24", server_type="eip")
        for vpc, device in zip(("red", "blue"), DEVICES, strict=True):
            tx.vpcs.create(vpc, "192.168.0.0/16")
            tx.networks.create(f"{vpc}-net", "192.168.4.0/24", vpc=vpc)
            tx.groups.create(vpc)
            tx.servers.create(f"{vpc}-server", nets=[f"{vpc}-net"], groups=[vpc], devices=[device])
            tx.groups.attach_network(vpc)
        tx.eips.create("front", network="pub", ip_addr="203.0.113.50", bandwidth=5)
        tx.groups.associate_eip("red", eip_id="front")


def holder(cloud: Controller) -> Vpc | None:
    """The VPC whose group has the EIP."""
    vpcs = (vpc for vpc in cloud.topology.all(Vpc) if vpc.name in ("red", "blue"))
    return next((vpc for vpc in vpcs if cloud.groups.show(vpc.name).vip_eip), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_commands_leave_nothing_half_done(lab: Lab, tmp_path: Path, rounds: int) -> None:
    cloud = SharedCloud(lab.host, tmp_path, prepare, devices=DEVICES)
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
