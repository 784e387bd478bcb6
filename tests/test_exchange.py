"""Export and import: exact there and back, all or nothing, what the data plane refuses of it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plane import DictBackend
from small import document, empty, fill, row
from walk import build, controller, more_verbs, verbs

import vipnet
from vipnet.documents import as_text, from_text
from vipnet.model import Address
from vipnet.rows import table_name
from vipnet.store import open_store
from vipnet.topology import KINDS, Topology


def everything(topology: Topology) -> dict[str, list[str]]:
    return {kind.__name__: sorted(map(repr, topology.all(kind))) for kind in KINDS}


class TestRoundTrip:
    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=40, deadline=None)
    def test_is_exact_after_any_verbs(self, seed: int) -> None:
        chance, count = random.Random(seed), itertools.count().__next__
        cloud, backend = controller(seed)
        build(cloud)
        for _ in range(60):
            operation = chance.choice([*verbs(chance, count), *more_verbs(chance, count)])
            try:
                operation(cloud)
            except vipnet.RefusedError:
                continue
        for format in ("json", "yaml"):
            text = as_text(cloud.export(), format)
            plane = DictBackend()
            other = empty(backend=plane)
            other.import_topology(from_text(text, name="text"))
            assert as_text(other.export(), format) == text
            assert everything(other.topology) == everything(cloud.topology)
            assert plane.installed == backend.installed

    @pytest.mark.parametrize("format", ["json", "yaml"])
    def test_between_stores(self, tmp_path: Path, format: str) -> None:
        first = empty(open_store(f"sqlite:///{tmp_path}/a.db"))
        fill(first)
        first.networks.reserve_ip("n", "größe: \N{SNOWMAN} 'no' # 1e3", ["10.1.0.21"], duration="1D")
        first.servers.delete("b")
        text = as_text(first.export(), format)
        plane = DictBackend()
        second = empty(open_store(f"sqlite:///{tmp_path}/b.db"), plane)
        second.import_topology(from_text(text, name="text"))
        second.close()
        third = empty(open_store(f"sqlite:///{tmp_path}/b.db"), plane)
        assert as_text(third.export(), format) == text
        assert everything(third.topology) == everything(first.topology)
        states = {address.state for address in third.topology.all(Address)}
        assert states == {"used", "reserved", "resting"}
        assert not third.plan()
        first.close()
        third.close()

    def test_rows_are_in_the_stated_order(self) -> None:
        model = document()
        assert list(model) == ["vipnet", *(table_name(kind) for kind in KINDS)]
        assert [one["name"] for one in model["networks"]] == ["m", "n", "pub"]
        assert [one["ip"] for one in model["addresses"] if one["version"] == 4] == [
            "10.1.0.9", "10.1.0.10", "10.1.0.20", "10.1.0.100", "10.1.0.101", "203.0.113.2", "203.0.113.3",
        ]  # fmt: skip

    def test_an_address_that_is_leaving_is_written_as_what_it_becomes(self, tmp_path: Path) -> None:
        plane = DictBackend()
        cloud = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
        fill(cloud)
        plane.lose_after = 0
        with pytest.raises(vipnet.DataplaneError), cloud.transaction() as tx:
            tx.servers.delete("a")
            tx.groups.detach_network("k")
        told = cloud.export()
        cloud.close()
        again = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
        assert {address.state for address in again.topology.all(Address)} == {"used", "reserved", "leaving"}
        assert again.export() == told
        assert row(told, "addresses", ip="10.1.0.9")["state"] == "resting"
        assert not [one for one in told["addresses"] if one["ip"] == "10.1.0.101"]
        empty().import_topology(told)
        again.close()


class TestAllOrNothing:
    def test_only_into_an_empty_model(self) -> None:
        cloud = empty()
        fill(cloud)
        with pytest.raises(vipnet.ConflictError) as caught:
            cloud.import_topology(document())
        assert caught.value.details == (
            "import needs an empty model and this one has 1 vpcs, 3 networks, 1 hosts, 2 servers, 2 nics, 2 instancegroups, "
            "2 memberships, 2 vips, 2 eips, 7 addresses; import into a new store (--store sqlite:///PATH), "
            "or delete what is here first"
        )

    def test_in_a_transaction_with_other_verbs(self) -> None:
        cloud = empty()
        broken = document()
        row(broken, "nics", ip="10.1.0.10")["ip"] = "10.1.0.9"
        with cloud.transaction() as tx:
            with pytest.raises(vipnet.InputParameterError):
                tx.import_topology(broken)
            assert tx.import_topology(document()).servers == 2
            tx.servers.delete("b")
            assert [one["name"] for one in tx.export()["servers"]] == ["a"]
        assert [server.name for server in cloud.servers.list()] == ["a"]

    def test_a_refused_verb_of_a_transaction_leaves_nothing(self) -> None:
        cloud = empty()
        fill(cloud)
        with cloud.transaction() as tx:
            with pytest.raises(vipnet.InputParameterError):
                tx.servers.create("c", nets=["n:10.9.9.9"])
            tx.hosts.create("h2")
        assert [server.name for server in cloud.servers.list()] == ["a", "b"]

    def test_a_dry_run_changes_nothing(self) -> None:
        cloud = empty()
        with cloud.transaction(dry_run=True) as tx:
            tx.import_topology(document())
        assert len(tx.plan) > 3
        assert not cloud.servers.list()


class TestDataPlane:
    @pytest.mark.parametrize("tells_which", [True, False])
    def test_what_it_refuses_is_set_aside(self, tells_which: bool) -> None:
        plane = DictBackend()
        plane.tells_which = tells_which
        model = document()
        refused = f"port:{row(model, 'nics', ip='10.1.0.9')['id']}"
        plane.refuse = lambda key: "Operation not supported" if key == refused else None
        cloud = empty(backend=plane)
        reason = "Operation not supported" if tells_which else "batch refused"
        assert cloud.import_topology(model).warnings == (f"port a was set aside: {reason}; apply tries it again",)
        assert ("port a", reason) in [(one.object, one.reason) for one in cloud.status().quarantined]
        assert cloud.export() == model
        plane.refuse = lambda _key: None
        assert cloud.apply(audit=True).created == 1
        assert cloud.status().quarantined == ()

    def test_what_it_cannot_do_is_set_aside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = document()
        monkeypatch.setattr(DictBackend, "capabilities", frozenset({"ipv4", "classic", "distgw"}))
        cloud = empty()
        (warning,) = cloud.import_topology(model).warnings
        assert warning == (
            "eip eip-for-grp-g was set aside: eip eip-for-grp-g needs eip, limits, which backend dict cannot do; leave it out, "
            "or use another backend; apply tries it again"
        )
        assert len(cloud.eips.list()) == 2

    @pytest.mark.parametrize("stored", [True, False])
    def test_a_lost_answer_leaves_it_pending(self, tmp_path: Path, stored: bool) -> None:
        plane = DictBackend()
        cloud = empty(open_store(f"sqlite:///{tmp_path}/a.db") if stored else None, plane)
        plane.lose_after = 1
        with pytest.raises(vipnet.DataplaneError) as caught:
            cloud.import_topology(document())
        assert caught.value.pending
        plane.lose_after = None
        assert cloud.apply().created
        assert cloud.export() == document()
        assert not cloud.plan()
        cloud.close()

    def test_a_pending_deletion_of_a_network_with_its_server_is_finished(self, tmp_path: Path) -> None:
        plane = DictBackend()
        cloud = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
        cloud.networks.create("office", "192.168.0.0/24")
        cloud.servers.create("a", nets=["office"])
        plane.lose_after = 0
        with pytest.raises(vipnet.DataplaneError), cloud.transaction() as tx:
            tx.servers.delete("a")
            tx.networks.delete("office")
        cloud.close()
        plane.lose_after = None
        again = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
        again.apply()
        assert again.networks.list() == []
        again.close()
