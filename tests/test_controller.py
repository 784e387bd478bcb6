"""Commit, failure, pending revisions, transactions, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from plane import DictBackend

import vipnet
from vipnet.accounts import Closing
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.model import Vip
from vipnet.operations.draft import World
from vipnet.store import MemoryStore, Store, open_store


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def make(
    store: Store | None = None, backend: DictBackend | None = None, clock: Clock | None = None
) -> tuple[Controller, DictBackend]:
    plane = backend or DictBackend()
    world = World(clock=clock) if clock else World()
    return Controller(config=Config(), store=store or MemoryStore(), backend=plane, world=world), plane


def sqlite(folder: Path) -> Store:
    return open_store(f"sqlite:///{folder / 'store.db'}")


def with_vip(cloud: Controller) -> None:
    cloud.vpcs.create("prod", "192.168.0.0/16")
    cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    for name, last in (("nginx-master", 247), ("nginx-slave", 248)):
        cloud.servers.create(name, nets=[f"web:192.168.7.{last}"])
    cloud.groups.create("nginx")
    cloud.groups.bind_guests("nginx", ["nginx-master", "nginx-slave"])
    cloud.groups.attach_network("nginx", ip_addr="192.168.7.246")


def test_a_refused_entry_takes_everything_back(tmp_path: Path) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    installed, topology = dict(plane.installed), cloud.topology
    plane.refuse = lambda key: "Operation not supported" if key.startswith("port:") else None
    with pytest.raises(vipnet.DataplaneError) as caught, cloud.transaction() as tx:
        tx.networks.create("app", "192.168.8.0/24", vpc="prod")  # target links, programmed before rules
        tx.servers.create("c", nets=["app"])
    assert not caught.value.pending
    assert "refused entry port c" in caught.value.details
    assert "Operation not supported" in caught.value.details
    assert plane.installed == installed
    assert cloud.topology is topology
    assert cloud.status().pending == ()
    cloud.close()
    again, _ = make(sqlite(tmp_path), plane)
    assert [network.name for network in again.networks.list()] == ["pub", "web"]
    again.close()


def test_a_lost_answer_leaves_the_change_pending_and_apply_finishes_it(tmp_path: Path) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError) as caught:
        cloud.groups.create_eip("nginx", bandwidth=30)
    assert caught.value.pending
    assert cloud.groups.show("nginx").status == "associate_eip"
    assert cloud.eips.list()[0].status == "associate"
    assert len(cloud.status().pending) == 1
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.detach_network("nginx")  # finishing the pending one fails again; nothing else is begun
    plane.lose_after = None
    report = cloud.apply()
    assert report.created == 1
    assert cloud.status().pending == ()
    assert cloud.groups.show("nginx").status == "init"
    assert cloud.eips.list()[0].status == "ready"
    assert not cloud.plan()
    cloud.close()


def _killed(revisions: Iterable[int], stamp: str, closing: Closing) -> None:
    raise KeyboardInterrupt(f"while finishing {revisions} at {stamp!r} with {closing}")


@pytest.mark.parametrize("when", ["before programming", "after programming", "before the flush"])
def test_a_process_that_dies_leaves_a_revision_that_the_next_one_finishes(tmp_path: Path, when: str) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    cloud.groups.create_eip("nginx", bandwidth=30)
    eip = cloud.groups.show("nginx").vip_eip
    if when == "before the flush":
        plane.lose_flush = True
    else:
        plane.lose_after = 0 if when == "before programming" else None
        cloud._store.finish = _killed  # type: ignore[method-assign]
    with pytest.raises((KeyboardInterrupt, vipnet.DataplaneError)):
        cloud.groups.dissociate_eip("nginx", auto_delete=True)
    cloud.close()
    plane.lose_after, plane.lose_flush, plane.flushed = None, False, []

    again, _ = make(sqlite(tmp_path), plane)
    with pytest.raises(vipnet.ConflictError), again.transaction(dry_run=True) as tx:  # not seen gone yet: not to be had
        tx.eips.create("x", network="pub", ip_addr=eip, bandwidth=1)
    assert len(again.status().pending) == 1
    again.apply()
    assert again.status().pending == ()
    assert [released.eip for released in plane.flushed if released.eip] == [0xCB007102]
    assert again.eips.create("x", network="pub", ip_addr=eip, bandwidth=1).ip_addr == eip
    assert not again.plan()
    again.close()


@pytest.mark.parametrize("tells_which", [True, False])
def test_a_resync_sets_refused_entries_aside_and_commits_the_rest(tells_which: bool) -> None:
    cloud, plane = make()
    with_vip(cloud)
    bad = f"vip:{next(iter(cloud.topology.all(Vip))).id}"
    expected = {key for key in plane.installed if key != bad}
    plane.installed.clear()
    plane.touched = True
    plane.refuse = lambda key: "no space left" if key == bad else None
    plane.tells_which = tells_which
    report = cloud.apply()
    assert set(plane.installed) == expected
    assert [(entry.object, entry.reason) for entry in report.quarantined] == [
        ("vip nginx", "no space left" if tells_which else "batch refused")
    ]
    assert cloud.status().quarantined


def test_drift_is_seen_and_repaired_before_the_next_verb() -> None:
    cloud, plane = make()
    with_vip(cloud)
    lost = next(key for key in plane.installed if key.startswith("port:"))
    del plane.installed[lost]
    plane.touched = True
    assert [entry.key for target in cloud.plan().targets for entry in target.create] == [lost]
    plane.touched = True
    cloud.hosts.create("h1")
    assert lost in plane.installed


def test_a_dry_run_plans_and_changes_nothing() -> None:
    cloud, plane = make()
    with_vip(cloud)
    installed, topology = dict(plane.installed), cloud.topology
    with cloud.transaction(dry_run=True) as tx:
        tx.groups.create_eip("nginx", bandwidth=30)
    assert [entry.key.partition(":")[0] for target in tx.plan.targets for entry in target.create] == ["eip"]
    assert plane.installed == installed
    assert cloud.topology is topology


def test_a_transaction_is_all_or_nothing() -> None:
    cloud, plane = make()
    with_vip(cloud)
    installed = dict(plane.installed)
    with pytest.raises(vipnet.ConflictError), cloud.transaction() as tx:
        tx.groups.create("g2")
        tx.groups.create("g2")
    assert [group.name for group in cloud.groups.list()] == ["nginx"]
    assert plane.installed == installed


def test_verbs_of_the_controller_inside_a_transaction_are_refused() -> None:
    cloud, _ = make()
    with cloud.transaction() as tx:
        tx.hosts.create("h1")
        with pytest.raises(vipnet.InvalidStatusError, match="a transaction is open in this thread"):
            cloud.hosts.create("h2")
        assert cloud.hosts.list() == []  # readers see the last committed state
        assert [host.name for host in tx.hosts.list()] == ["h1"]
    assert [host.name for host in cloud.hosts.list()] == ["h1"]


def test_a_transaction_that_has_ended_takes_no_verb() -> None:
    cloud, _ = make()
    with cloud.transaction() as tx:
        tx.hosts.create("h1")
    for verb in (tx.hosts.list, lambda: tx.hosts.create("h2")):
        with pytest.raises(vipnet.InvalidStatusError, match="the transaction has ended"):
            verb()
    assert [host.name for host in cloud.hosts.list()] == ["h1"]


def test_verbs_of_other_threads_run_before_or_after_a_transaction() -> None:
    cloud, _ = make()
    entered = threading.Event()

    def other() -> None:
        entered.set()
        cloud.hosts.create("other")

    with cloud.transaction() as tx:
        tx.hosts.create("h1")
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        thread.join(0.05)
        assert cloud.hosts.list() == []
    thread.join()
    assert [host.name for host in cloud.hosts.list()] == ["h1", "other"]


def test_many_threads_lose_no_verb() -> None:
    cloud, _ = make()

    def create(number: int) -> None:
        for index in range(20):
            cloud.hosts.create(f"h{number}-{index}")

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cloud.hosts.list()) == 160


def test_drift_that_was_shown_is_repaired() -> None:
    cloud, plane = make()
    with_vip(cloud)
    for look in (cloud.plan, cloud.status):
        plane.installed.popitem()
        plane.touched = True
        look()
        assert cloud.apply().created == 1
        assert not cloud.plan()


def test_what_leaves_is_flushed_with_its_old_place() -> None:
    cloud, plane = make()
    with_vip(cloud)
    cloud.groups.create_eip("nginx", bandwidth=30)
    plane.flushed.clear()
    cloud.groups.dissociate_eip("nginx")
    assert [(one.eip, one.ip) for one in plane.flushed] == [(0xCB007102, 0xC0A807F6)]
    plane.flushed.clear()
    cloud.groups.unbind_guests("nginx", ["nginx-master"])
    assert [(one.eip, one.ip) for one in plane.flushed] == [(None, 0xC0A807F6)]


def test_a_released_guest_address_rests_and_then_returns() -> None:
    clock = Clock()
    cloud, _ = make(clock=clock)
    with_vip(cloud)
    cloud.servers.create("a", nets=["web:192.168.7.253"])
    cloud.servers.delete("a")
    assert cloud.networks.show("web").used_count == 3
    assert cloud.servers.create("b", nets=["web"]).nics[0].ip_addr == "192.168.7.252"
    clock.now += 31
    assert cloud.servers.create("c", nets=["web"]).nics[0].ip_addr == "192.168.7.253"


def test_an_expired_reservation_is_free_and_not_counted() -> None:
    clock = Clock()
    cloud, _ = make(clock=clock)
    with_vip(cloud)
    assert cloud.networks.reserve_ip("web", "n", ["192.168.7.253"], duration="1H")[0].expired_at == "1970-01-12T14:46:40+00:00"
    used = cloud.networks.show("web").used_count
    clock.now += 3601
    assert cloud.networks.show("web").used_count == used - 1
    assert "192.168.7.253" not in [row.ip_addr for row in cloud.networks.addresses("web")]
    assert cloud.servers.create("c", nets=["web"]).nics[0].ip_addr == "192.168.7.253"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("office", "10.0.0.0/24"), "switch office needs classic, which backend dict cannot do"),
        (("six", "192.168.9.0/24", "prod6", "2001:db8::/64"), "subnet six needs ipv6, which backend dict cannot do"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_before_anything_is_touched(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DictBackend, "capabilities", frozenset({"ipv4", "eip"}))
    cloud, plane = make()
    cloud.vpcs.create("prod6", "192.168.0.0/16", cidr6="2001:db8::/48")
    installed, topology = dict(plane.installed), cloud.topology
    plane.log.clear()
    name, prefix, vpc, prefix6 = (*words, None, None)[:4]
    with pytest.raises(vipnet.DataplaneError) as caught:
        cloud.networks.create(str(name), str(prefix), vpc=vpc, prefix6=prefix6)
    assert caught.value.details == f"{said}; leave it out, or use another backend"
    assert not caught.value.pending
    assert (plane.log, plane.installed) == ([], installed)
    assert cloud.topology is topology


def test_who_opens_a_store_amid_a_change_that_is_refused_forgets_it(tmp_path: Path) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    others: list[Controller] = []

    def refuse(key: str) -> str | None:
        if key.startswith("eip:") and not others:
            others.append(make(sqlite(tmp_path), plane)[0])
            return "Operation not supported"
        return None

    plane.refuse = refuse
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.create_eip("nginx", bandwidth=30)
    (other,) = others
    other.hosts.create("h")
    assert not [key for key in plane.installed if key.startswith("eip:")]
    assert (other.eips.list(), cloud.eips.list(), bool(other.plan())) == ([], [], False)
    other.close()
    cloud.close()


def test_who_opens_a_store_amid_a_change_takes_it_for_done_when_it_is(tmp_path: Path) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    eip = cloud.groups.create_eip("nginx", bandwidth=30).vip_eip
    others: list[Controller] = []
    plane.refuse = lambda _key: others.append(make(sqlite(tmp_path), plane)[0]) if not others else None
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip("nginx", auto_delete=True)
        tx.networks.create("app", "192.168.8.0/24", vpc="prod")
    (other,) = others
    assert other.status().pending == ()
    assert other.eips.create("x", network="pub", ip_addr=eip, bandwidth=1).ip_addr == eip
    other.close()
    cloud.close()


def test_what_a_process_that_died_had_mapped_is_announced_by_the_next_one(tmp_path: Path) -> None:
    cloud, plane = make(sqlite(tmp_path))
    with_vip(cloud)
    for group in ("a", "b"):
        cloud.groups.create(group)
        cloud.groups.attach_network(group, network_id="web")
    cloud.eips.create("e", network="pub", bandwidth=1)
    cloud.groups.associate_eip("a", eip_id="e")
    cloud._store.finish = _killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), cloud.transaction() as tx:
        tx.groups.dissociate_eip("a")
        tx.groups.associate_eip("b", eip_id="e")
    cloud.close()
    assert plane.announced == []
    again, _ = make(sqlite(tmp_path), plane)
    assert again.eips.show("e").status == "associate"
    again.apply()
    assert [intent.id for intent in plane.announced] == [f"eip:{again.eips.show('e').id}"]
    again.close()
