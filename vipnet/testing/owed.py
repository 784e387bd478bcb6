"""What a backend owes the core, beside packets: that it compiles, reads and applies as the core counts on."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vipnet.backend import Backend, BackendContext
from vipnet.errors import InputParameterError
from vipnet.intents import Intent
from vipnet.plan import Plan, diff
from vipnet.testing.network import able, clear, converge
from vipnet.testing.promises import EIP, EIP_BLUE
from vipnet.testing.scene import Scene, standard_scene
from vipnet.testing.strategies import scenes
from vipnet.testing.system import SystemNetwork

__all__ = ["CoreContract"]

SCENE = standard_scene()
CHANGES: tuple[Scene, ...] = (
    SCENE.without_eip(EIP),
    SCENE.with_eip(EIP, "blue").without_eip(EIP_BLUE),
    SCENE.with_members("red", "b"),
    SCENE.with_members("red", "c", "b", "a"),
    SCENE.with_members("red"),
    SCENE,
)


def _missing(network: SystemNetwork) -> Plan[Any]:
    desired = network.backend.compile(network.scene.intents())
    return diff(network.backend.audit(desired), desired)


def _content(plan: Plan[Any]) -> set[tuple[Any, ...]]:
    """What a plan does, in no order."""
    changes = ((step.target, *pair) for step in plan.targets for pair in step.replace)
    created = ((step.target, None, entry) for step in plan.targets for entry in step.create)
    deleted = ((step.target, entry, None) for step in plan.targets for entry in step.delete)
    return {*changes, *created, *deleted}


_OF_MANY: Final = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
"""Each class that inherits a test runs it, on a backend of its own: that is meant."""


class CoreContract:
    """Of a backend alone. `compiler` is an object of it of which only the pure part is used."""

    @given(data=st.data())
    @_OF_MANY
    def test_entries_of_a_set_are_the_union_of_each_ones(self, compiler: Backend[Any], data: st.DataObject) -> None:
        intents = data.draw(scenes(ipv6="ipv6" in compiler.capabilities)).intents()
        together = compiler.compile(intents)
        alone = [compiler.compile([intent]) for intent in intents]
        assert together == {key: entry for entries in alone for key, entry in entries.items()}
        assert len(together) == sum(len(entries) for entries in alone)

    @given(data=st.data())
    @_OF_MANY
    def test_the_order_of_intents_is_nothing(self, compiler: Backend[Any], data: st.DataObject) -> None:
        intents: list[Intent] = data.draw(scenes(ipv6="ipv6" in compiler.capabilities)).intents()
        shuffled = data.draw(st.permutations(intents))
        assert compiler.compile(intents) == compiler.compile(shuffled)

    def test_keys_are_the_entries_own(self, compiler: Backend[Any]) -> None:
        entries = compiler.compile(SCENE.intents())
        assert all(entry.key == key and entry.target and entry.text for key, entry in entries.items())

    def test_unknown_options_are_refused(self, compiler: Backend[Any]) -> None:
        with pytest.raises(InputParameterError, match="no_such_option"):
            type(compiler)(BackendContext(options={"no_such_option": 1}))

    def test_the_second_apply_is_empty(self, network: SystemNetwork) -> None:
        for scene in CHANGES:
            network.become(scene)
            assert not (left := _missing(network)), str(left)

    def test_applying_twice_is_applying_once(self, network: SystemNetwork) -> None:
        for scene in CHANGES:
            before, after = (network.backend.compile(one.intents()) for one in (network.scene, able(network.backend, scene)))
            network.become(scene)
            for step in network.backend.steps(diff(before, after)):
                assert not network.backend.apply(step)
            assert not (left := _missing(network)), str(left)

    def test_a_change_and_a_resync_have_one_plan(self, network: SystemNetwork) -> None:
        for scene in CHANGES:
            before, after = (network.backend.compile(one.intents()) for one in (network.scene, able(network.backend, scene)))
            assert _content(diff(before, after)) == _content(diff(network.backend.audit(after), after))
            network.become(scene)

    def test_a_change_and_a_resync_have_one_end(self, network: SystemNetwork) -> None:
        for scene in CHANGES[1:4:2]:
            network.become(scene)
            changed = network.backend.read()
            network.become(SCENE)
            assert converge(network.backend, able(network.backend, scene))
            resynced = network.backend.read()
            network.arrive(able(network.backend, scene))
            assert resynced == changed

    def test_a_plan_and_its_inverse_leave_what_was(self, network: SystemNetwork) -> None:
        network.become(SCENE)
        before = network.backend.read()
        network.become(SCENE.without_eip(EIP_BLUE).with_members("red", "b", "c"))
        network.become(SCENE)
        assert network.backend.read() == before

    def test_one_that_restarted_knows_its_own(self, network: SystemNetwork) -> None:
        network.become(SCENE)
        before = network.backend.read()
        network.restart()
        assert network.backend.read() == before
        assert not (left := _missing(network)), str(left)

    def test_what_is_counted_is_what_is_read(self, network: SystemNetwork) -> None:
        network.become(SCENE)
        assert sum(network.backend.counts().values()) == len(network.backend.read())

    def test_nothing_is_left(self, network: SystemNetwork) -> None:
        assert network.backend.read()
        clear(network.backend)
        left = network.backend.read()
        converge(network.backend, network.scene)
        assert not left
