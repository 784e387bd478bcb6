"""After any sequence of verbs the two roads give the same, what changes have left installed is what a resync would install;
and the model keeps its invariants."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walk import CONFIG, build, controller, more_verbs, verbs

import vipnet
from vipnet.config import Config
from vipnet.derive import Scope, all_scopes, derive
from vipnet.intents import Intent
from vipnet.invariants import check_topology
from vipnet.topology import Topology


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_change_and_resync_agree(seed: int) -> None:
    chance = random.Random(seed)
    count = itertools.count().__next__
    cloud, backend = controller(seed)
    build(cloud)
    done = 0
    for _ in range(60):
        operation = chance.choice([*verbs(chance, count), *more_verbs(chance, count)])
        before = cloud.topology
        try:
            operation(cloud)
            done += 1
        except vipnet.RefusedError:
            assert cloud.topology is before
        desired = backend.compile(derive(cloud.topology, CONFIG, all_scopes(cloud.topology)).values())
        assert backend.installed == desired
        check_topology(cloud.topology)
    assert done
    assert not cloud.plan()


def test_a_transaction_over_a_whole_life_leaves_nothing_to_do() -> None:
    cloud, backend = controller()
    build(cloud)
    installed = dict(backend.installed)
    with cloud.transaction() as tx:
        tx.servers.create("a", nets=["v1n1"])
        tx.groups.bind_guests("g1", ["a"])
        tx.groups.attach_network("g1")
        tx.groups.create_eip("g1", bandwidth=1)
        tx.groups.dissociate_eip("g1", auto_delete=True)
        tx.groups.detach_network("g1")
        tx.servers.delete("a")
    assert not tx.plan
    assert backend.installed == installed


@pytest.mark.parametrize("verb", ["mutate", "transaction"])
def test_only_what_was_touched_is_derived(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, _ = controller()
    build(cloud)
    for number in range(20):
        cloud.servers.create(f"s{number}", nets=[f"v2n{number % 2 + 1}"])
    cloud.servers.create("a", nets=["v1n1"])
    seen: list[int] = []

    def counting(topology: Topology, config: Config, scopes: set[Scope]) -> dict[str, Intent]:
        seen.append(len(scopes))
        return derive(topology, config, scopes)

    monkeypatch.setattr("vipnet.reconcile.derive", counting)
    if verb == "mutate":
        cloud.groups.bind_guests("g1", ["a"])
    else:
        with cloud.transaction() as tx:
            tx.groups.bind_guests("g1", ["a"])
    assert max(seen) <= 3
