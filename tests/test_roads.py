"""The two roads give the same: what changes have left installed is what a resync would install, after any sequence of verbs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plane import DictBackend

import vipnet
from vipnet.config import Config, UplinkConfig
from vipnet.controller import Controller
from vipnet.derive import Scope, all_scopes, derive
from vipnet.intents import Intent
from vipnet.operations.draft import World
from vipnet.store import MemoryStore
from vipnet.topology import Topology

CONFIG = Config(uplinks={"pub": UplinkConfig(name="pub", device="up", address="203.0.113.2/24", gateway="203.0.113.1")})


def controller(seed: int = 0) -> tuple[Controller, DictBackend]:
    chance = random.Random(seed)
    world = World(random=chance.randrange, new_id=lambda: f"{chance.getrandbits(128):032x}")
    backend = DictBackend()
    return Controller(config=CONFIG, store=MemoryStore(), backend=backend, world=world), backend


def _world(cloud: Controller) -> None:
    for vpc in ("v1", "v2"):
        cloud.vpcs.create(vpc, "10.0.0.0/8")
        for number in (1, 2):
            cloud.networks.create(f"{vpc}n{number}", f"10.{number}.0.0/28", vpc=vpc)
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    for name in ("g1", "g2", "g3"):
        cloud.groups.create(name)


def _verbs(chance: random.Random, count: Callable[[], int]) -> list[Callable[[Controller], object]]:
    group, net = chance.choice(["g1", "g2", "g3"]), chance.choice(["v1n1", "v1n2", "v2n1", "v2n2"])
    server, nets = f"s{chance.randrange(6)}", [net] if chance.random() < 0.9 else ["v1n1", "v1n2"]
    name = f"x{count()}"
    return [
        lambda cloud: cloud.servers.create(server, nets=nets, groups=[group] if chance.random() < 0.5 else []),
        lambda cloud: cloud.servers.delete(server),
        lambda cloud: cloud.groups.bind_guests(group, [server]),
        lambda cloud: cloud.groups.bind_guests(group, ["s0", "s1", "s2"]),
        lambda cloud: cloud.groups.unbind_guests(group, [server]),
        lambda cloud: cloud.groups.attach_network(group, network_id=net),
        lambda cloud: cloud.groups.attach_network(group),
        lambda cloud: cloud.groups.detach_network(group),
        lambda cloud: cloud.groups.create_eip(group, bandwidth=5, auto_dellocate=chance.random() < 0.5),
        lambda cloud: cloud.groups.dissociate_eip(group),
        lambda cloud: cloud.groups.delete(group),
        lambda cloud: cloud.groups.create(group),
        lambda cloud: cloud.vpcs.create(name, "10.0.0.0/8"),
        lambda cloud: cloud.networks.create(name, f"10.{chance.randrange(3, 250)}.0.0/28", vpc="v1"),
        lambda cloud: cloud.vpcs.delete(name),
        lambda cloud: cloud.eips.create(name, network="pub", bandwidth=3),
        lambda cloud: cloud.groups.associate_eip(group, eip_id=cloud.eips.list()[0].id if cloud.eips.list() else "none"),
    ]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_change_and_resync_agree(seed: int) -> None:
    chance = random.Random(seed)
    numbers = itertools.count()
    cloud, backend = controller(seed)
    _world(cloud)
    done = 0
    for _ in range(40):
        operation = chance.choice(_verbs(chance, lambda: next(numbers)))
        before = cloud.topology
        try:
            operation(cloud)
            done += 1
        except vipnet.RefusedError:
            assert cloud.topology is before
        desired = backend.compile(derive(cloud.topology, CONFIG, all_scopes(cloud.topology)).values())
        assert backend.installed == desired
    assert done
    assert not cloud.plan()


def test_a_transaction_over_a_whole_life_leaves_nothing_to_do() -> None:
    cloud, backend = controller()
    _world(cloud)
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
    _world(cloud)
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
