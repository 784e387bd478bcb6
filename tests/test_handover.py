"""While one process watches and keeps others off the data plane, it programs what they store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from vipnet import Controller, DataplaneError, OwnedError
from vipnet.backend import BackendContext
from vipnet.config import Config
from vipnet.plan import Plan, TargetPlan
from vipnet.store import open_store
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.entry import SimulatorEntry


class Shared:
    """What several backends share: whose the data plane is, what it refuses, and how often everything was read."""

    def __init__(self) -> None:
        self.owner: object = None
        self.refused = ""
        self.unreachable = False
        self.reads = 0


class KeptBackend(SimulatorBackend):
    """A simulator that one Controller can have to itself."""

    def __init__(self, state: Path, shared: Shared) -> None:
        super().__init__(BackendContext(state=state))
        self._shared = shared

    def own(self) -> bool:
        self._shared.owner = self
        return True

    def disown(self) -> None:
        self._shared.owner = None

    def check(self, plan: Plan[SimulatorEntry]) -> None:
        assert plan
        self._check()

    def apply(self, step: TargetPlan[SimulatorEntry]) -> Mapping[str, str]:
        self._check()
        if self._shared.unreachable:
            raise DataplaneError("gone for a while")
        bad = {entry.key: "no room" for entry in step.create if self._shared.refused and self._shared.refused in repr(entry)}
        return bad or super().apply(step)

    def audit(self, expected: Mapping[str, SimulatorEntry]) -> dict[str, SimulatorEntry]:
        self._shared.reads += 1
        return super().audit(expected)

    def _check(self) -> None:
        if self._shared.owner not in (None, self):
            raise OwnedError("somebody else's: end that")


class Site:
    """Controllers on one store, or several, and one data plane."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.shared = Shared()
        self._folder, self._stack = folder, stack

    def opened(self, store: str = "s") -> Controller:
        backend = KeptBackend(self._folder / "state", self.shared)
        one = Controller(config=Config(), store=open_store(f"sqlite:///{self._folder}/{store}.db"), backend=backend)
        return self._stack.enter_context(one)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        one = Site(tmp_path, stack)
        cloud = one.opened()
        cloud.vpcs.create("prod", "192.168.0.0/16")
        cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
        yield one


def _servers(cloud: Controller) -> list[str]:
    return sorted(server.name for server in cloud.servers.list())


def test_a_change_is_programmed_as_a_change(site: Site) -> None:
    watching, other = site.opened(), site.opened()
    with watching.watch():
        reads = site.shared.reads
        began = time.monotonic()
        for number in range(5):
            other.servers.create(f"s{number}", nets=["web"], devices=[f"tap{number}"])
        with other.transaction() as tx:
            tx.servers.delete("s0")
            tx.servers.create("t", nets=["web"], devices=["tapt"])
        assert time.monotonic() - began < 5
        assert site.shared.reads == reads
        assert other.status().pending == ()
        assert _servers(watching) == _servers(other) == ["s1", "s2", "s3", "s4", "t"]
        assert not watching.plan()
    assert not other.plan()
    other.servers.delete("t")  # by itself again
    assert not other.plan()


def test_what_is_refused_is_taken_back_for_both(site: Site) -> None:
    watching, other = site.opened(), site.opened()
    site.shared.refused = "tapbad"
    with watching.watch():
        with pytest.raises(DataplaneError, match="no room; nothing has changed") as error:
            other.servers.create("bad", nets=["web"], devices=["tapbad"])
        assert not error.value.pending
        assert _servers(watching) == _servers(other) == []
        other.servers.create("good", nets=["web"], devices=["tapgood"])
        watching.servers.create("fine", nets=["web"], devices=["tapfine"])
        assert _servers(watching) == _servers(other) == ["fine", "good"]


def test_what_was_set_aside_is_no_success(site: Site) -> None:
    """What the watch programs by comparing everything, since somebody has been at the data plane."""
    watching, other = site.opened(), site.opened()
    site.shared.refused = "tapbad"
    with watching.watch():
        watching.backend.changed = lambda: True  # type: ignore[method-assign]
        with pytest.raises(DataplaneError, match=r"was set aside: no room.*stored as revision"):
            other.servers.create("bad", nets=["web"], devices=["tapbad"])
        assert _servers(watching) == _servers(other) == ["bad"]


def test_an_import_is_programmed_with_what_can_be(site: Site) -> None:
    watching, other = site.opened(), site.opened()
    other.servers.create("one", nets=["web"], devices=["tapone"])
    document = other.export()
    other.servers.delete("one")
    other.networks.delete("web")
    other.vpcs.delete("prod")
    with watching.watch():
        other.import_topology(document)
        assert _servers(watching) == ["one"]
        assert not watching.plan()


def test_apply_is_asked_of_who_watches(site: Site) -> None:
    watching, other = site.opened(), site.opened()
    with watching.watch():
        assert other.apply(audit=True).changed == 0
        watching.backend.changed = lambda: False  # type: ignore[method-assign]  # else it would be faster, now and then
        keys = list(watching.backend.read())[:1]
        super(KeptBackend, watching.backend).apply(  # type: ignore[misc]
            TargetPlan("", delete=tuple(watching.backend.read()[key] for key in keys))
        )
        report = other.apply(audit=True)
        assert (report.changed, report.quarantined) == (1, ())
        assert not watching.plan()
        assert other.apply(audit=True).changed == 0


def test_who_cannot_be_reached_now_is_reached_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vipnet.committer.PATIENCE", 0.5)
    watching, other = site.opened(), site.opened()
    with watching.watch():
        site.shared.unreachable = True
        with pytest.raises(DataplaneError, match="has not programmed revision") as error:
            other.servers.create("late", nets=["web"], devices=["taplate"])
        assert error.value.pending
        with pytest.raises(DataplaneError, match=r"has not programmed revision .*nothing else has changed"):
            other.servers.create("later", nets=["web"], devices=["taplater"])
        site.shared.unreachable = False
        monkeypatch.setattr("vipnet.committer.PATIENCE", 10.0)
        other.servers.create("last", nets=["web"], devices=["taplast"])
        assert _servers(other) == ["last", "late"]


def test_when_the_watch_ends_who_waits_goes_on_by_itself(site: Site) -> None:
    watching, other = site.opened(), site.opened()
    with ThreadPoolExecutor(1) as pool, watching.watch():
        watching._lock.acquire()  # pyright: ignore[reportPrivateUsage]
        try:
            asked = pool.submit(lambda: other.servers.create("s", nets=["web"], devices=["tap"]))
            time.sleep(0.2)
            assert not asked.done()
            watching._store.release()  # pyright: ignore[reportPrivateUsage]
            site.shared.owner = None
            assert asked.result(10).name == "s"
        finally:
            watching._lock.release()  # pyright: ignore[reportPrivateUsage]
    assert not other.plan()


def test_another_store_is_refused(site: Site) -> None:
    with site.opened().watch():
        other = site.opened("other")
        with pytest.raises(OwnedError, match="end that") as error:
            other.vpcs.create("x", "10.0.0.0/16")
        assert not error.value.pending
        assert [vpc.name for vpc in other.vpcs.list()] == ["default"]
    other.vpcs.create("x", "10.0.0.0/16")


def test_two_watches_on_one_store(site: Site) -> None:
    first, second = site.opened(), site.opened()
    with second.watch():
        with first.watch():
            assert site.shared.owner is second.backend
            first.servers.create("s", nets=["web"], devices=["tap"])
            second.servers.create("t", nets=["web"], devices=["tap2"])
        assert site.shared.owner is second.backend
    assert site.shared.owner is None
