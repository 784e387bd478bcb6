"""The store: what is written comes back, who may open it, what it refuses."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from plane import DictBackend

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.model import Address
from vipnet.store import Pending, StaleError, open_store
from vipnet.topology import KINDS
from vipnet.working import Change


def controller(path: Path, config: Config | None = None) -> Controller:
    return Controller(config=config or Config(), store=open_store(f"sqlite:///{path}"), backend=DictBackend())


def fill(cloud: Controller) -> None:
    cloud.vpcs.create("v", "10.0.0.0/8", cidr6="2001:db8::/32")
    cloud.networks.create("n", "10.1.0.0/24", vpc="v", prefix6="2001:db8:1::/64")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip", gateway="203.0.113.10")
    cloud.hosts.create("h")
    cloud.servers.create("a", nets=["n:10.1.0.9,2001:db8:1::9"], host="h", macs=["02:00:00:00:00:0A"])
    cloud.servers.create("gone", nets=["n"])
    cloud.servers.delete("gone")
    cloud.groups.create("g", vrid=7)
    cloud.groups.bind_guests("g", ["a"])
    cloud.groups.attach_network("g", require_ipv6=True)
    cloud.groups.create_eip("g", bandwidth=10)
    cloud.networks.reserve_ip("n", "ü note", ["10.1.0.20", "2001:db8:1::20"], duration="1D")


def test_everything_comes_back(tmp_path: Path) -> None:
    cloud = controller(tmp_path / "s.db")
    fill(cloud)
    kept = {kind: sorted(map(repr, cloud.topology.all(kind))) for kind in KINDS}
    cloud.close()
    again = controller(tmp_path / "s.db")
    assert {kind: sorted(map(repr, again.topology.all(kind))) for kind in KINDS} == kept
    assert all(kept.values())
    again.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    cloud = controller(tmp_path / "folder" / "s.db")
    fill(cloud)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folder").iterdir()}
    assert set(modes.values()) == {0o600}
    cloud.close()


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    controller(tmp_path / "s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as sql:
        sql.execute("UPDATE meta SET value = '7' WHERE key = 'schema'")
    sql.close()
    before = (tmp_path / "s.db").read_bytes()
    with pytest.raises(vipnet.InputParameterError) as caught:
        controller(tmp_path / "s.db")
    expected = f"store sqlite:///{tmp_path}/s.db has schema 7; this vipnet knows schemas up to 2; use a newer vipnet"
    assert caught.value.details == expected
    assert (tmp_path / "s.db").read_bytes() == before


def test_a_store_is_bound_to_its_backend_and_host(tmp_path: Path) -> None:
    cloud = controller(tmp_path / "s.db")
    cloud.hosts.create("h1")
    cloud.close()
    with pytest.raises(vipnet.InputParameterError) as caught:
        controller(tmp_path / "s.db", Config(host="h1"))
    assert caught.value.details == (
        f"store sqlite:///{tmp_path}/s.db is bound to backend 'dict' and host '', not to backend 'dict' and host 'h1'; "
        "use those, or another store"
    )


def test_two_on_one_store_see_what_the_other_did(tmp_path: Path) -> None:
    one, two = controller(tmp_path / "s.db"), controller(tmp_path / "s.db")
    fill(one)
    assert [vip.vips for vip in two.groups.list()] == [vip.vips for vip in one.groups.list()]
    two.eips.create("x", network="pub", ip_addr="203.0.113.50", bandwidth=1)
    with pytest.raises(vipnet.ConflictError, match=r"ip_addr 203\.0\.113\.50 of network pub is held by eip x"):
        one.eips.create("y", network="pub", ip_addr="203.0.113.50", bandwidth=1)
    one.groups.delete(two.groups.create("short-lived").id)
    two.groups.list()
    assert {kind: sorted(map(repr, two.topology.all(kind))) for kind in KINDS} == {
        kind: sorted(map(repr, one.topology.all(kind))) for kind in KINDS
    }
    one.close()
    two.close()


def test_one_who_slept_longer_than_the_log_reads_everything_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vipnet.sqlstore.KEPT_REVISIONS", 3)
    one, two = controller(tmp_path / "s.db"), controller(tmp_path / "s.db")
    for number in range(9):
        one.hosts.create(f"h{number}")
    assert [host.name for host in two.hosts.list()] == [f"h{number}" for number in range(9)]
    one.close()
    two.close()


def test_a_change_too_large_for_the_log_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vipnet.sqlstore.MOST_LOGGED", 2)
    one, two = controller(tmp_path / "s.db"), controller(tmp_path / "s.db")
    with one.transaction() as tx:
        for number in range(3):
            tx.hosts.create(f"h{number}")
    one.hosts.create("last")
    with sqlite3.connect(tmp_path / "s.db") as sql:
        assert sql.execute("SELECT object FROM changes").fetchall() == [(one.hosts.list()[-1].id,)]
    assert [host.name for host in two.hosts.list()] == ["h0", "h1", "h2", "last"]
    one.close()
    two.close()


def test_the_store_is_the_last_word_where_no_lock_was_held(tmp_path: Path) -> None:
    cloud = controller(tmp_path / "s.db")
    fill(cloud)
    revision = cloud.status().revision
    (row,) = [row for row in cloud.topology.all(Address) if row.ip == 0x0A010009]
    cloud.close()
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    with pytest.raises(StaleError):
        store.begin([], Pending(revision=revision))
    with pytest.raises(vipnet.ConflictError, match="changed by another process"):
        store.begin([Change(None, row)], Pending(revision=revision + 1))
    assert store.load().revision == revision
    store.close()


@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "file.db"])
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(vipnet.InputParameterError, match="use memory:, sqlite:///PATH"):
        open_store(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("this is no database, it only looks like a file of some length\n" * 20)
    with pytest.raises(vipnet.InputParameterError, match=r"store sqlite:///.*s\.db cannot be used"):
        controller(tmp_path / "s.db")
