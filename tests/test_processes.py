"""Several processes on one store, some of them killed in the middle of whatever they are doing."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from vipnet.controller import Controller
from vipnet.filelock import locked
from vipnet.invariants import check_topology
from vipnet.model import Address, Eip, Nic, Vip

WORKER = """
import random, sys
import vipnet
url, seed, verbs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
with vipnet.Controller.open(store=url, backend="simulator") as cloud:
    print("ready", flush=True)
    for number in range(verbs):
        group = f"g{chance.randrange(6)}"
        verb = chance.choice([
            lambda: cloud.groups.attach_network(group, network_id="web"),
            lambda: cloud.groups.create_eip(group, bandwidth=5, auto_dellocate=True),
            lambda: cloud.groups.dissociate_eip(group),
            lambda: cloud.groups.detach_network(group),
            lambda: cloud.servers.create(f"s{seed}-{number}", nets=["web"], groups=[group]),
            lambda: cloud.servers.delete(chance.choice(cloud.servers.list()).name),
        ])
        try:
            verb()
        except (vipnet.RefusedError, IndexError):
            pass
print("done", flush=True)
"""

ALLOCATOR = """
import sys
import vipnet
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with vipnet.Controller.open(store=url, backend="simulator") as cloud:
    for number in range(count):
        print(cloud.eips.create(f"{name}-{number}", network="pub", bandwidth=1).ip_addr, flush=True)
"""


DOOMED = """
import os, signal, sys
from pathlib import Path
from vipnet import process
from vipnet.filelock import locked
from vipnet.invariants import check_topology
start = process._start
def die(*args, **options):
    start(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
process._start = die
with locked(Path(sys.argv[1])):
    process.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], stdin="line\\n" * 100_000)
"""
SLOW = """
import pathlib, sys, time
text = sys.stdin.read()
time.sleep(0.5)
pathlib.Path(sys.argv[1]).write_text(text)
"""


@contextmanager
def started(script: str, *arguments: tuple[object, ...]) -> Generator[list[subprocess.Popen[str]], None, None]:
    processes = [
        subprocess.Popen([sys.executable, "-c", script, *map(str, words)], stdout=subprocess.PIPE, text=True)
        for words in arguments
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/s.db"
    with Controller.open(store=url, backend="simulator") as cloud, cloud.transaction() as tx:
        tx.vpcs.create("prod", "192.168.0.0/16")
        tx.networks.create("web", "192.168.4.0/22", vpc="prod")
        tx.networks.create("pub", "203.0.64.0/19", server_type="eip")
        for number in range(6):
            tx.groups.create(f"g{number}")
    return url


@pytest.mark.parametrize("verbs", [60, pytest.param(500, marks=pytest.mark.long)])
def test_killed_processes_leave_nothing_half_done(url: str, verbs: int) -> None:
    chance = random.Random(7)
    with started(WORKER, *((url, seed, verbs) for seed in range(4))) as processes:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes[:2]:
            time.sleep(chance.uniform(0.05, 0.3))
            process.send_signal(signal.SIGKILL)
        assert [process.communicate()[0] for process in processes[2:]] == ["done\n", "done\n"]
    with Controller.open(store=url, backend="simulator") as cloud:
        cloud.apply()
        assert cloud.status().pending == ()
        assert not cloud.plan()
        owners = Counter((row.network_id, row.version, row.ip) for row in cloud.topology.all(Address) if row.state == "used")
        topology = cloud.topology
        held = [(nic.network_id, 4, nic.ip) for nic in topology.all(Nic)]
        held += [(vip.network_id, 4, vip.ip) for vip in topology.all(Vip)]
        held += [(eip.network_id, 4, eip.ip) for eip in topology.all(Eip)]
        assert owners == Counter(held)
        assert set(owners.values()) == {1}
        assert all(row.state != "leaving" for row in cloud.topology.all(Address))


def _answer(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate()[0].split()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("total", [160, pytest.param(5000, marks=pytest.mark.long)])
def test_processes_that_allocate_at_once_get_different_addresses(url: str, total: int) -> None:
    begin = time.monotonic()
    arguments = [(url, name, total // 8) for name in "abcdefgh"]
    with started(ALLOCATOR, *arguments) as processes, ThreadPoolExecutor(len(processes)) as readers:
        answers = list(readers.map(_answer, processes))
    seconds = time.monotonic() - begin
    given = [ip for answer in answers for ip in answer]
    sys.stdout.write(f"{total} addresses in {seconds:.1f} s, {total / seconds:.0f} a second; by process: ")
    sys.stdout.write(f"{[len(answer) for answer in answers]}\n")
    assert len(given) == len(set(given)) == total
    with Controller.open(store=url, backend="simulator") as cloud:
        assert sorted(eip.ip_addr for eip in cloud.eips.list()) == sorted(given)
        assert cloud.networks.show("pub").used_count == total
        assert not cloud.plan()
        check_topology(cloud.topology)


def test_a_program_outlives_its_starter_with_all_its_input_and_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    assert subprocess.run([sys.executable, "-c", DOOMED, str(path), SLOW], check=False).returncode == -signal.SIGKILL
    with locked(path):
        assert path.read_text() == "line\n" * 100_000


def test_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    end, start = os.pipe()
    with locked(tmp_path / "s.db"):
        child = os.fork()
        if child == 0:
            os.close(start)
            os.read(end, 1)
            os._exit(0)
    try:
        with (tmp_path / "s.db.lock").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(start)
        os.waitpid(child, 0)
        os.close(end)
