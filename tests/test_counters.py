"""What the core makes of a backend's counters, and what it tells a backend so that none passes for whole that is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from plane import DictBackend

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.intents import EipMapping, Intent, Released
from vipnet.model import Eip
from vipnet.plan import Plan, TargetPlan
from vipnet.store import MemoryStore, Store, open_store
from vipnet.views import Counters

NONE = Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=False)
ONE = Counters(rx_packets=1, rx_bytes=28, tx_packets=2, tx_bytes=56, lost=False)
LOST = Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=True)


@dataclass(frozen=True, slots=True)
class Count:
    """What a router counts of an EIP, as an entry that the mapping brings and the last step takes away."""

    vpc_id: str
    eip: int
    target: str = "counts"

    @property
    def key(self) -> str:
        return f"count:{self.vpc_id}:{self.eip}"

    @property
    def text(self) -> str:
        return self.key


class CountingBackend(DictBackend):
    """Counts ONE in each mapping when it comes, and remembers which entries it was told to be installed once more."""

    def __init__(self) -> None:
        super().__init__()
        self.again: set[str] = set()
        self.counts_kept: dict[str, Counters] = {}
        self.unreachable = False
        self.asked = 0

    def compile(self, intents: Iterable[Intent]) -> dict[str, Any]:
        intents = list(intents)
        mappings = [intent for intent in intents if isinstance(intent, EipMapping)]
        counts = {count.key: count for count in (Count(one.vpc_id, one.eip) for one in mappings)}
        return {**super().compile(intents), **counts}

    def steps(self, plan: Plan[Any]) -> Iterable[TargetPlan[Any]]:
        for target in plan.targets:
            yield replace(target, delete=()) if target.target == "counts" else target
        yield from (replace(target, create=(), last=True) for target in plan.targets if target.target == "counts")

    def apply(self, step: TargetPlan[Any]) -> Mapping[str, str]:
        if step.fresh is not None:
            self.again |= {entry.key for entry in step.create} - step.fresh
        refused = super().apply(step)
        if step.target == "counts" and not refused:
            for entry in step.delete:
                self.counts_kept.pop(entry.key, None)
            for entry in step.create:
                again = step.fresh is not None and entry.key not in step.fresh
                self.counts_kept.setdefault(entry.key, LOST if again else ONE)
        return refused

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        return {mapping.eip_id: self._count(mapping.vpc_id, mapping.eip) for mapping in mappings}

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:
        there = [(item.eip_id, item.vpc_id, item.eip) for item in ended]
        return {id: self._count(vpc_id, eip) for id, vpc_id, eip in there if id is not None and eip is not None}

    def _count(self, vpc_id: str, eip: int) -> Counters:
        self.asked += 1
        if self.unreachable:
            raise vipnet.DataplaneError("the switch does not answer")
        return self.counts_kept.get(Count(vpc_id, eip).key, LOST)


@pytest.fixture
def plane() -> CountingBackend:
    return CountingBackend()


@pytest.fixture(params=["memory", "sqlite", "by key"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = f"sqlite:///{tmp_path}/s.db"
    return MemoryStore() if request.param == "memory" else open_store(url, by_key=request.param == "by key")


@pytest.fixture
def cloud(plane: CountingBackend, store: Store) -> Controller:
    return make(plane, store)


def make(plane: CountingBackend, store: Store) -> Controller:
    """Group `web` has a VIP and the EIP `front`; group `bare`, and `far` in another VPC, have a VIP alone."""
    cloud = Controller(config=Config(), store=store, backend=plane)
    cloud.vpcs.create("prod", "192.168.0.0/16")
    cloud.vpcs.create("other", "192.168.0.0/16")
    cloud.networks.create("far", "192.168.4.0/24", vpc="other")
    cloud.groups.create("far")
    cloud.groups.attach_network("far", network_id="far")
    cloud.networks.create("net", "192.168.4.0/24", vpc="prod")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    for name in ("web", "bare"):
        cloud.groups.create(name)
        cloud.groups.attach_network(name, network_id="net")
    cloud.eips.create("front", network="pub", charge_type="traffic")
    cloud.groups.associate_eip("web", eip_id="front")
    return cloud


def test_counters_of_an_eip(cloud: Controller) -> None:
    assert cloud.eips.show("front").counters == cloud.counters("web") == ONE
    cloud.eips.create("spare", network="pub", charge_type="traffic")
    assert cloud.eips.show("spare").counters is None


def test_a_group_without_eip_has_none(cloud: Controller) -> None:
    with pytest.raises(vipnet.InvalidStatusError, match="bare has no EIP"):
        cloud.counters("bare")
    with pytest.raises(vipnet.ResourceNotFoundError, match="nobody"):
        cloud.counters("nobody")


def test_a_transaction_has_none(cloud: Controller) -> None:
    with cloud.transaction() as tx:
        assert tx.eips.show("front").counters is tx.counters("web") is None
        assert cloud.counters("web") == ONE


def test_an_eip_is_shown_though_nobody_can_read_its_counters(cloud: Controller, plane: CountingBackend) -> None:
    plane.unreachable = True
    shown = cloud.eips.show("front")
    assert (shown.counters, shown.warnings) == (None, ("counters cannot be read: the switch does not answer",))
    with pytest.raises(vipnet.DataplaneError, match="the switch does not answer"):
        cloud.counters("web")


def test_what_is_not_programmed_yet_is_not_counted(cloud: Controller, plane: CountingBackend) -> None:
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.create_eip("bare", charge_type="traffic")
    assert cloud.eips.show("eip-for-grp-bare").counters is None
    plane.lose_after = None
    cloud.apply()
    assert cloud.counters("bare") == ONE


def test_the_simulator_counts_nothing() -> None:
    with vipnet.Controller.open(store="memory:", backend="simulator") as cloud:
        cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
        cloud.eips.create("front", network="pub", bandwidth=1)
        assert cloud.eips.show("front").counters is None


def test_only_what_was_there_is_installed_again(cloud: Controller, plane: CountingBackend) -> None:
    all_of_it = set(plane.installed)
    assert plane.again == set()
    plane.installed.clear()
    plane.touched = True
    cloud.apply()
    assert plane.again == all_of_it
    plane.again.clear()
    cloud.groups.create_eip("bare", charge_type="traffic")
    assert plane.again == set()


def test_what_is_taken_back_is_installed_again(cloud: Controller, plane: CountingBackend) -> None:
    spare = cloud.networks.create("spare", "192.168.5.0/24", vpc="prod").id
    plane.refuse = lambda key: "no" if key.startswith("eip:") else None
    with pytest.raises(vipnet.DataplaneError), cloud.transaction() as tx:
        tx.networks.delete("spare")  # target links, changed before rules
        tx.groups.create_eip("bare", charge_type="traffic")
    assert plane.again == {f"switch:{spare}", f"subnet:{spare}"}


def times(number: int) -> Counters:
    return sum((ONE for _ in range(number)), NONE)


def move(cloud: Controller, group: str, to: str) -> None:
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip(group)
        tx.groups.associate_eip(to, eip_id="front")


def test_counters_outlive_their_mappings(cloud: Controller, plane: CountingBackend) -> None:
    cloud.groups.dissociate_eip("web")
    assert cloud.eips.show("front").counters == ONE
    assert plane.counts_kept == {}
    cloud.groups.associate_eip("web", eip_id="front")
    assert cloud.counters("web") == times(2)
    move(cloud, "web", "bare")  # of one router: it goes on counting
    assert cloud.counters("bare") == times(2)
    move(cloud, "bare", "far")
    assert cloud.counters("far") == times(3)
    assert len(plane.counts_kept) == 1
    assert cloud.eips.show("front").counters == times(3)


def test_an_account_goes_with_its_eip(cloud: Controller, plane: CountingBackend, store: Store) -> None:
    front = cloud.eips.show("front").id
    cloud.groups.dissociate_eip("web")
    assert store.account(front) is not None
    cloud.eips.delete("front")
    assert store.account(front) is None
    cloud.eips.create("front", network="pub", charge_type="traffic")
    cloud.groups.associate_eip("web", eip_id="front")
    front = cloud.eips.show("front").id
    plane.asked = 0
    cloud.groups.dissociate_eip("web", auto_delete=True)
    assert store.account(front) is None
    assert plane.asked == 0


def test_a_mapping_ended_costs_one_question(cloud: Controller, plane: CountingBackend) -> None:
    plane.asked = 0
    cloud.groups.create("more")
    cloud.eips.change_bandwidth("front", 7)
    move(cloud, "web", "bare")
    assert plane.asked == 0
    move(cloud, "bare", "far")
    assert plane.asked == 1


def test_what_was_lost_stays_lost(cloud: Controller, plane: CountingBackend) -> None:
    plane.counts_kept.clear()
    cloud.groups.dissociate_eip("web")
    assert cloud.eips.show("front").counters == LOST
    cloud.groups.associate_eip("web", eip_id="front")
    assert cloud.counters("web") == ONE + LOST


def test_a_vpc_goes_with_what_was_counted_in_it(cloud: Controller, plane: CountingBackend) -> None:
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip("web")
        for group in ("web", "bare"):
            tx.groups.delete(group)
        tx.networks.delete("net")
        tx.vpcs.delete("prod")
        tx.groups.associate_eip("far", eip_id="front")
    assert cloud.counters("far") == times(2)
    assert len(plane.counts_kept) == 1


def test_a_move_taken_back_has_counted_on(cloud: Controller, plane: CountingBackend) -> None:
    plane.refuse = lambda key: "no" if key.startswith("eip:") else None
    with pytest.raises(vipnet.DataplaneError, match="refused"):
        move(cloud, "web", "far")
    assert cloud.counters("web") == ONE
    plane.refuse = lambda _key: None
    move(cloud, "web", "far")
    assert cloud.counters("far") == times(2)


def test_a_closing_that_cannot_be_read_is_done_later(cloud: Controller, plane: CountingBackend) -> None:
    plane.unreachable = True
    with pytest.raises(vipnet.DataplaneError, match="does not answer") as caught:
        cloud.groups.dissociate_eip("web")
    assert caught.value.pending
    plane.unreachable = False
    assert cloud.eips.show("front").counters is None  # nobody knows yet
    cloud.groups.create("next")
    assert cloud.eips.show("front").counters == ONE
    assert plane.counts_kept == {}


class Killed(BaseException):
    """Stands for SIGKILL: nothing behind it is carried out."""


@pytest.mark.parametrize("point", range(8))
@pytest.mark.parametrize("by_key", [True, False])
def test_a_process_that_dies_loses_and_doubles_nothing(
    plane: CountingBackend, tmp_path: Path, point: int, by_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before or after each step that the world outside sees, the end of the way included."""
    url = f"sqlite:///{tmp_path}/s.db"
    with make(plane, open_store(url)):
        pass
    store = open_store(url, by_key=by_key)
    doomed = Controller(config=Config(), store=store, backend=plane)
    doomed.apply()
    left = point

    def mortal(inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return inner(*args, **options)

        return outer

    with monkeypatch.context() as patch:
        for owner, name in ((plane, "apply"), (plane, "flush"), (plane, "closed"), (store, "finish")):
            patch.setattr(owner, name, mortal(getattr(owner, name)))
        with suppress(Killed):
            move(doomed, "web", "far")
    assert left == (-1 if point < 7 else 0)
    doomed.close()
    for _ in range(2):  # what is found is added once
        with Controller(config=Config(), store=open_store(url, by_key=by_key), backend=plane) as other:
            other.apply()
            assert other.counters("far") == times(2)
            assert len(plane.counts_kept) == 1
            assert not other.plan()


def test_a_finish_of_unknown_outcome_adds_once(cloud: Controller, plane: CountingBackend, store: Store) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("it has no outcome that could be unknown")
    finish = store.finish

    def answer_lost(*args: Any) -> None:
        finish(*args)
        raise vipnet.InputParameterError("disk I/O error")

    store.finish = answer_lost  # type: ignore[assignment, method-assign]
    with pytest.raises(vipnet.DataplaneError) as lost:
        cloud.groups.dissociate_eip("web")
    assert lost.value.pending
    store.finish = finish  # type: ignore[method-assign]
    store.moved = lambda: True  # type: ignore[method-assign]
    plane.changed = lambda: False  # type: ignore[method-assign]
    cloud.apply()  # it takes away what was kept to be counted
    assert not cloud.plan()
    assert not plane.counts_kept
    cloud.groups.associate_eip("web", eip_id="front")
    assert cloud.counters("web") == times(2)


def test_a_reader_that_is_behind_counts_nothing_twice(plane: CountingBackend, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with make(plane, open_store(url)) as one, Controller(config=Config(), store=open_store(url), backend=plane) as other:
        front = other.read().topology.by(Eip, "name", "front")[0]
        move(one, "web", "far")
        assert other.counted(front) == times(2)
        move(one, "far", "bare")
        assert other.counted(front) == times(3)
        one.groups.dissociate_eip("bare")
        assert other.counted(front) == times(3)


def test_a_store_of_the_first_schema_has_no_accounts_yet(plane: CountingBackend, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with make(plane, open_store(f"sqlite:///{path}")):
        pass
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript("DROP TABLE accounts; UPDATE meta SET value = '1' WHERE key = 'schema'")
    with Controller(config=Config(), store=open_store(f"sqlite:///{path}"), backend=plane) as cloud:
        assert cloud.counters("web") == ONE
        cloud.groups.dissociate_eip("web")
        assert cloud.eips.show("front").counters == ONE
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall() == [("2",)]


def test_what_is_exported_has_no_accounts(cloud: Controller) -> None:
    cloud.groups.dissociate_eip("web")
    document = cloud.export()
    with Controller(config=Config(), store=MemoryStore(), backend=CountingBackend()) as other:
        other.import_topology(document)
        assert other.eips.show("front").counters is None


def test_what_is_pending_may_never_have_been_there(cloud: Controller, plane: CountingBackend) -> None:
    front = f"eip:{cloud.eips.show('front').id}"
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.create_eip("bare", charge_type="traffic")
    plane.lose_after = None
    plane.installed.clear()
    cloud.apply()
    assert front in plane.again
    assert f"eip:{cloud.eips.show('eip-for-grp-bare').id}" not in plane.again
