"""Faults of store, lock and backend around one Controller: it ends as it may, goes on rightly, and so does another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from plane import DictBackend

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.intents import EipMapping
from vipnet.model import Eip
from vipnet.store import open_store
from vipnet.testing.injector import Injector, Kind, core_seams

KINDS = [kind for kind in get_args(Kind) if not kind.startswith("kill")]


def opened(folder: Path, backend: DictBackend) -> Controller:
    return Controller(config=Config(), store=open_store(f"sqlite:///{folder / 's.db'}"), backend=backend)


@pytest.fixture
def cloud(tmp_path: Path) -> Controller:
    """A group with a VIP, and an EIP that is mapped to nothing."""
    cloud = opened(tmp_path, DictBackend())
    with cloud.transaction() as tx:
        tx.vpcs.create("prod", "192.168.0.0/16")
        tx.networks.create("web", "192.168.4.0/22", vpc="prod")
        tx.networks.create("pub", "203.0.113.0/24", server_type="eip")
        tx.groups.create("nginx")
        tx.groups.attach_network("nginx", network_id="web")
        tx.eips.create("front", network="pub", bandwidth=5)
    return cloud


def plane(cloud: Controller) -> DictBackend:
    assert isinstance(cloud.backend, DictBackend)
    return cloud.backend


def associate(cloud: Controller) -> str:
    """How it ends."""
    try:
        cloud.groups.associate_eip("nginx", eip_id="front")
    except vipnet.RefusedError:
        return "refused"
    except vipnet.DataplaneError as error:
        return "pending" if error.pending else "taken back"
    except KeyboardInterrupt:
        return "interrupted"
    return "done"


def refuse_eips(key: str) -> str | None:
    return "no room" if key.startswith("eip:") else None


def points(change: Callable[[], object]) -> int:
    with Injector(core_seams()) as injector:
        change()
    return len(injector.passed)


def is_mapped(cloud: Controller) -> bool:
    return next(iter(cloud.topology.all(Eip))).vip_id is not None


def is_installed(backend: DictBackend) -> bool:
    return any(isinstance(entry.intent, EipMapping) for entry in backend.installed.values())


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_store_does_not_say_is_found_out(tmp_path: Path, cloud: Controller, kind: Kind, refused: bool) -> None:
    """At each commit and lock of a change, also of one that the data plane refuses; by the same Controller and by the next."""
    backend = plane(cloud)
    backend.refuse = refuse_eips if refused else lambda _key: None
    number = points(lambda: associate(cloud))
    assert number >= 3  # the lock, the change, its end
    for point in range(number):
        backend.refuse = lambda _key: None
        if is_mapped(cloud):
            cloud.groups.dissociate_eip("nginx")
        backend.refuse = refuse_eips if refused else lambda _key: None
        with Injector(core_seams(), point=point, kind=kind):
            end = associate(cloud)
        backend.refuse = lambda _key: None
        cloud.apply()
        with sqlite3.connect(tmp_path / "s.db") as store:
            assert store.execute("SELECT id FROM revisions WHERE state = 'pending'").fetchall() == []
        other = opened(tmp_path, backend)
        other.apply()
        assert (is_mapped(other), other.export()) == (is_mapped(cloud), cloud.export()), (point, end)
        assert is_installed(backend) == is_mapped(cloud), (point, end)
        assert end != "refused" or not is_mapped(cloud), (point, end)
        assert end != "done" or is_mapped(cloud), (point, end)
        other.close()
        cloud.groups.update("nginx", vrid=point + 1)  # a further change is made on top of it


def test_a_full_disk_before_it_is_stored_changes_nothing(cloud: Controller) -> None:
    with Injector(core_seams()) as injector:
        associate(cloud)
    cloud.groups.dissociate_eip("nginx")
    commits = [point for point, seam in enumerate(injector.passed) if seam == "store"]
    ends: list[str] = []
    for point in commits:
        with Injector(core_seams(), point=point, kind="fail"):
            ends.append(associate(cloud))
        cloud.apply()
        if is_mapped(cloud):
            cloud.groups.dissociate_eip("nginx")
    assert set(ends[:-1]) == {"refused"}
    assert ends[-1] == "pending"  # it was programmed, and could not be marked so


def test_what_was_taken_back_is_flushed(cloud: Controller) -> None:
    backend = plane(cloud)
    cloud.groups.associate_eip("nginx", eip_id="front")
    cloud.groups.dissociate_eip("nginx")
    backend.flushed.clear()
    backend.refuse = refuse_eips
    assert associate(cloud) == "taken back"
    assert [item.eip for item in backend.flushed] == [next(iter(cloud.topology.all(Eip))).ip]


def test_a_resync_that_fails_half_way_is_made_again(cloud: Controller) -> None:
    backend = plane(cloud)
    backend.installed.clear()
    backend.touched = True
    backend.lose_after = 1
    with pytest.raises(vipnet.DataplaneError):
        cloud.apply()
    backend.lose_after = None
    assert not backend.changed()
    assert cloud.apply().changed
    assert not cloud.plan()


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path, cloud: Controller) -> None:
    (tmp_path / "s.db.lock").unlink()
    (tmp_path / "s.db.lock").mkdir()
    with pytest.raises(vipnet.DataplaneError, match=r"s\.db\.lock cannot be opened: Is a directory") as caught:
        cloud.groups.create("g")
    assert not caught.value.pending
