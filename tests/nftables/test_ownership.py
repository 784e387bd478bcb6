"""Nobody but who watches changes our tables, and everybody may again when the watch is over, by whatever end."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from systems import NftablesSystem

from vipnet.controller import Controller
from vipnet.errors import DataplaneError, OwnedError
from vipnet.lab import Lab, netns
from vipnet.store import open_store
from vipnet.testing import Answer, clear, standard_scene
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.promises import EIP, WORLD, settle, within
from vipnet.testing.watching import Seen
from vipnet_kernel import names

pytestmark = pytest.mark.root

COMMAND = [sys.executable, "-m", "vipnet"]


def nft(space: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", "netns", "exec", space, "nft", *words], check=False, capture_output=True, text=True)


class Place:
    """A namespace for a host, and configurations for it, each with a store of its own."""

    def __init__(self, space: str, folder: Path) -> None:
        self.space = space
        self._folder = folder

    def config(self, store: str = "s", *, own: bool = True) -> Path:
        path = self._folder / f"{store}-{own}.toml"
        url = f"sqlite:///{self.store(store)}"
        options = f'namespace = "{self.space}"\nown = {str(own).lower()}\n'
        path.write_text(f'store = "{url}"\nbackend = "nftables"\n[backends.nftables]\n{options}')
        return path

    def store(self, name: str = "s") -> Path:
        return self._folder / f"{name}.db"

    @contextmanager
    def opened(self, store: str = "s", *, own: bool = True) -> Generator[Controller]:
        with Controller.open(self.config(store, own=own)) as cloud:
            yield cloud

    def command(self, *words: str, store: str = "s") -> subprocess.CompletedProcess[str]:
        argv = [*COMMAND, "--config", str(self.config(store)), *words]
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)

    @contextmanager
    def watching(self) -> Generator[subprocess.Popen[str]]:
        """A process that watches; it is killed in the end if it has not ended."""
        argv = [*COMMAND, "--config", str(self.config()), "-o", "json", "watch"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["event"] == "watching"
                assert within(5, lambda: _is_owned(self.space))
                yield process
            finally:
                process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    space = f"{os.environ.get('VIPNET_LAB_PREFIX', 'own')}-{os.urandom(3).hex()}"
    netns.add(space)
    one = Place(space, tmp_path)
    try:
        with one.opened() as cloud:
            cloud.vpcs.create("prod", "192.168.0.0/16", external_access_mode="none")
            cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
            cloud.servers.create("s", nets=["web"], devices=["tap9"])
        yield one
        with one.opened() as cloud:
            clear(cloud.backend)
    finally:
        netns.delete(space)


def router(cloud: Controller, vpc: str = "prod") -> str:
    return names.router_namespace(cloud.vpcs.show(vpc).id)


def _tables(space: str) -> str:
    return nft(space, "list", "ruleset").stdout


def _is_owned(space: str) -> bool:
    return "flags owner" in _tables(space)


def _guards(space: str) -> str:
    return nft(space, "list", "set", "bridge", "vipnet", "vn_ports").stdout


def _is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0 and "Operation not permitted" in done.stderr


def _spoil(space: str, table: str, chain: str) -> None:
    """All that another process can try."""
    before = nft(space, "list", "table", *table.split()).stdout
    assert nft(space, "flush", "ruleset").returncode == 0  # it leaves alone what is owned
    assert _is_refused(nft(space, "delete", "table", *table.split()))
    assert _is_refused(nft(space, "insert", "rule", *table.split(), chain, "drop"))
    assert _is_refused(nft(space, "flush", "table", *table.split()))
    assert nft(space, "list", "table", *table.split()).stdout == before != ""


def test_while_watching_nobody_else_changes_our_tables(place: Place) -> None:
    seen = Seen()
    with place.opened() as cloud:
        with cloud.watch(seen.events.append):
            _spoil(place.space, "bridge vipnet", "vn_prerouting")
            _spoil(router(cloud), "ip vipnet", "vn_arrive")
            cloud.vpcs.create("late", "192.168.0.0/16", external_access_mode="none")
            _spoil(router(cloud, "late"), "ip vipnet", "vn_arrive")
            cloud.vpcs.delete("late")
        assert seen.words() == ["watching"], seen.events
        assert not cloud.plan()


def test_afterwards_everybody_may_again_and_a_new_watch_adopts(place: Place) -> None:
    with place.opened() as cloud:
        for _ in range(2):
            with cloud.watch():
                _spoil(place.space, "bridge vipnet", "vn_prerouting")
                _spoil(router(cloud), "ip vipnet", "vn_arrive")
            assert not cloud.plan()
            for space, table, chain in ((place.space, "bridge", "vn_prerouting"), (router(cloud), "ip", "vn_arrive")):
                assert nft(space, "insert", "rule", table, "vipnet", chain, "drop").returncode == 0
            assert cloud.plan()


def test_the_host_lists_tables_as_before(place: Place) -> None:
    """Of a table that persists without an owner nft 1.0.6 makes broken JSON."""
    before = _listed(place.space)
    with place.opened() as cloud, cloud.watch():
        assert _listed(place.space)
    assert _listed(place.space) == before


def _listed(space: str) -> str:
    """All but the numbers of objects, which are others in new tables."""
    text = nft(space, "-j", "list", "ruleset").stdout
    assert json.loads(text)["nftables"]
    return re.sub(r'"handle": \d+', "", text)


def test_a_killed_watch_leaves_the_tables_and_the_next_one_adopts_them(place: Place) -> None:
    with place.watching() as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert within(5, lambda: not _is_owned(place.space))
    assert "tap9" in _guards(place.space)
    with place.opened() as cloud:
        assert not cloud.plan()
        with cloud.watch():
            _spoil(place.space, "bridge vipnet", "vn_prerouting")
            _spoil(router(cloud), "ip vipnet", "vn_arrive")
        assert nft(place.space, "flush", "ruleset").returncode == 0
        assert cloud.plan()


def test_others_tables_cause_no_look_and_hinder_no_verb(place: Place) -> None:
    with place.opened() as cloud, cloud.watch():
        space = router(cloud)
        looks = Looks(cloud)
        for number in range(5):
            for where in (place.space, space):
                assert nft(where, "add", "table", "inet", f"theirs{number}").returncode == 0
            cloud.servers.create(f"more{number}", nets=["web"], devices=[f"tap1{number}"])
        cloud.apply()
        assert looks.count == 0
        assert all(f"tap1{number}" in _guards(place.space) for number in range(5))
        assert not cloud.plan()


class Looks:
    """How often everything, or a place, was read back."""

    def __init__(self, cloud: Controller) -> None:
        self.count = 0
        for name in ("audit", "recheck"):
            setattr(cloud.backend, name, self._counting(getattr(cloud.backend, name)))

    def _counting(self, inner: Any) -> Any:
        def outer(*args: Any) -> Any:
            self.count += 1
            return inner(*args)

        return outer


def test_a_namespace_that_others_delete_is_made_anew_and_owned_again(place: Place) -> None:
    seen = Seen()
    with place.opened() as cloud, cloud.watch(seen.events.append):
        space = router(cloud)
        netns.delete(space)
        seen.wait_for("repaired")
        assert within(5, lambda: not cloud.plan())
        _spoil(space, "ip vipnet", "vn_arrive")


def test_maps_grow_while_others_commit(place: Place) -> None:
    """The batch that brings larger maps needs no generation where nobody else can change them."""
    with place.opened() as cloud, cloud.watch():
        backend, space = cloud.backend, router(cloud)
        with ThreadPoolExecutor(1) as others:
            noise = others.submit(lambda: [nft(space, "add", "table", "inet", f"t{number}") for number in range(40)])
            while not noise.done():
                backend._rules.grow(space)  # type: ignore[attr-defined]
                backend._memory.committed(space, None)  # type: ignore[attr-defined]
        _spoil(space, "ip vipnet", "vn_arrive")


def test_it_leaves_no_file_and_no_lock(place: Place) -> None:
    with place.opened() as cloud:
        for _ in range(5):
            cloud.apply()  # it opens what it keeps open
        before = len([*Path("/proc/self/fd").iterdir()])
        for _ in range(3):
            with cloud.watch():
                assert stat.S_IMODE(Path(f"{place.store()}.watch").stat().st_mode) == 0o600
        assert len([*Path("/proc/self/fd").iterdir()]) == before
        other = open_store(f"sqlite:///{place.store()}")
        assert other.watcher() is None
        other.close()


def test_a_verb_of_another_process_is_programmed_when_it_returns(place: Place) -> None:
    with place.opened() as cloud, cloud.watch():
        looks = Looks(cloud)
        done = place.command("server-create", "other", "--net", "web", "--device", "tap77")
        assert done.returncode == 0, done.stderr
        assert "tap77" in _guards(place.space)
        assert cloud.servers.show("other").name == "other"
        assert place.command("server-delete", "other").returncode == 0
        assert "tap77" not in _guards(place.space)
        assert looks.count == 0  # as the change that it is, not by comparing everything
        assert not cloud.plan()


def test_many_processes_and_threads_at_once(place: Place) -> None:
    def verb(number: int) -> int:
        return place.command("server-create", f"p{number}", "--net", "web", "--device", f"tap5{number}").returncode

    with place.opened() as cloud, cloud.watch(), ThreadPoolExecutor(4) as pool:
        codes = pool.map(verb, range(8))
        for number in range(20):
            cloud.servers.create(f"t{number}", nets=["web"], devices=[f"tap6{number:02}"])
        assert set(codes) == {0}
        guards = _guards(place.space)
        assert all(f"tap5{number}" in guards for number in range(8))
        assert all(f"tap6{number:02}" in guards for number in range(20))
        assert not cloud.plan()


def test_apply_in_another_process_has_it_repaired(place: Place) -> None:
    """A setting changes in silence: only who looks at everything finds it."""
    with place.opened() as cloud, cloud.watch():
        space = router(cloud)
        netns.call_in(space, lambda: Path("/proc/sys/net/ipv4/fwmark_reflect").write_text("0"))
        found = place.command("-o", "json", "apply", "--audit")
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)["changed"] == 1, found.stdout
        again = place.command("-o", "json", "apply", "--audit")
        assert json.loads(again.stdout)["changed"] == 0, again.stdout


def test_what_the_data_plane_refuses_reaches_who_asked(place: Place) -> None:
    with place.opened() as cloud, cloud.watch(), place.opened() as other:
        inner = cloud.backend.apply

        def refuse(step: Any) -> Any:
            bad = {entry.key: "no room" for entry in step.create if "tap66" in entry.key}
            return bad or inner(step)

        cloud.backend.apply = refuse  # type: ignore[method-assign]
        with pytest.raises(DataplaneError, match="no room; nothing has changed") as refused:
            other.servers.create("bad", nets=["web"], devices=["tap66"])
        assert not refused.value.pending
        for one in (cloud, other):
            assert [server.name for server in one.servers.list()] == ["s"]
        other.servers.create("good", nets=["web"], devices=["tap65"])
        assert "tap65" in _guards(place.space)


def test_a_watch_that_dies_leaves_it_to_who_waits(place: Place) -> None:
    with place.watching() as process, place.opened() as cloud:
        _stop(process, place)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(lambda: cloud.servers.create("late", nets=["web"], devices=["tap44"]))
            time.sleep(0.3)
            assert not asked.done()
            process.kill()
            process.wait(10)
            assert asked.result(10).name == "late"
        assert "tap44" in _guards(place.space)


def test_a_watch_that_hangs_is_named(place: Place) -> None:
    with place.watching() as process, place.opened() as cloud:
        _stop(process, place)
        with pytest.raises(DataplaneError, match=rf"process {process.pid}, which watches, has not programmed") as late:
            cloud.servers.create("late", nets=["web"], devices=["tap44"])
        assert late.value.pending
        process.send_signal(signal.SIGCONT)
        assert within(5, lambda: not cloud.status().pending)
        assert "tap44" in _guards(place.space)


def _stop(process: subprocess.Popen[str], place: Place) -> None:
    """Let a process stand still, at a moment at which it holds no lock."""
    with Path(f"{place.store()}.lock").open("rb") as lock:
        while True:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)


def test_another_store_is_refused_and_told_whose_it_is(place: Place) -> None:
    with place.watching() as process:
        before = _tables(place.space), _links(place.space)
        done = place.command("vpc-create", "x", "192.168.0.0/16", store="other")
        assert done.returncode == 3
        assert place.space in done.stderr
        assert f"process {process.pid} (" in done.stderr
        assert "end that process, or use its store" in done.stderr
        with place.opened("other") as cloud:
            assert cloud.vpcs.list() == [] or [vpc.name for vpc in cloud.vpcs.list()] == ["default"]
            with pytest.raises(OwnedError), cloud.watch():
                pass
        assert (_tables(place.space), _links(place.space)) == before


def test_who_is_overtaken_by_another_owner_changes_nothing(place: Place) -> None:
    """Between the look and the transaction somebody with another store has begun to own."""
    with place.opened() as cloud:
        cloud.servers.create("first", nets=["web"], devices=["tap30"])
        with place.opened("other") as other:
            other.backend._ownership.begin([place.space])  # type: ignore[attr-defined]
            other.backend._keeper.adopt()  # type: ignore[attr-defined]
            before = _tables(place.space), _links(place.space)
            cloud.backend.changed = lambda: False  # type: ignore[method-assign]
            with pytest.raises(OwnedError, match=f"process {os.getpid()} ") as refused:
                cloud.servers.create("second", nets=["web"], devices=["tap31"])
            del cloud.backend.changed
            assert not refused.value.pending
            assert (_tables(place.space), _links(place.space)) == before
        assert "second" not in [server.name for server in cloud.servers.list()]
        cloud.servers.create("second", nets=["web"], devices=["tap31"])
        assert not cloud.plan()


def _links(space: str) -> str:
    return subprocess.run(["ip", "-n", space, "-o", "link"], check=True, capture_output=True, text=True).stdout


def test_a_second_watch_lets_the_first_program_and_takes_over(place: Place) -> None:
    with place.watching() as first, place.opened() as cloud, cloud.watch():
        cloud.servers.create("mine", nets=["web"], devices=["tap20"])
        assert "tap20" in _guards(place.space)
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
        assert within(5, lambda: _is_owned(place.space))
        cloud.servers.create("yours", nets=["web"], devices=["tap21"])
        _spoil(place.space, "bridge vipnet", "vn_prerouting")
        _spoil(router(cloud), "ip vipnet", "vn_arrive")
    assert not _is_owned(place.space)


def test_without_owning_others_may_and_it_is_repaired(place: Place) -> None:
    seen = Seen()
    with place.opened(own=False) as cloud, cloud.watch(seen.events.append):
        assert nft(place.space, "flush", "ruleset").returncode == 0
        seen.wait_for("repaired")
        assert within(5, lambda: not cloud.plan())


def test_tables_that_do_not_persist_are_listened_to(place: Place) -> None:
    """As those of another version, or made without owning; the host's are made anew."""
    with place.opened(own=False) as cloud:
        clear(cloud.backend)
        cloud.apply(audit=True)
    seen = Seen()
    with place.opened() as cloud, cloud.watch(seen.events.append):
        _spoil(place.space, "bridge vipnet", "vn_prerouting")
        assert nft(router(cloud), "flush", "ruleset").returncode == 0
        seen.wait_for("repaired")
        assert within(5, lambda: not cloud.plan())
        assert within(5, lambda: _is_owned(router(cloud)))  # they were made anew


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlledNetwork]:
    with NftablesSystem(tmp_path_factory.mktemp("system")) as system, ControlledNetwork(system, standard_scene()) as one:
        yield one


def test_packets_go_on_whatever_others_try(network: ControlledNetwork) -> None:
    assert isinstance(network.system, NftablesSystem)
    lab: Lab = network.system.lab
    settle(network)
    spaces = [key.partition(" ")[2] for key in network.cloud.backend.read() if key.startswith("namespace vn-")]
    with network.cloud.watch():
        for space in (lab.host, *spaces):
            assert nft(space, "flush", "ruleset").returncode == 0
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
    assert not network.cloud.plan()
