"""What every backend owes the core, beside packets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipnet.backend import Backend, BackendContext
from vipnet.errors import InputParameterError
from vipnet.intents import Intent
from vipnet.plan import diff
from vipnet.testing import Network, Scene, clear, converge, standard_scene
from vipnet.testing.strategies import scenes


@given(data=st.data())
@settings(deadline=None)
def test_entries_of_a_set_are_the_union_of_each_ones(compiler: Backend[Any], data: st.DataObject) -> None:
    intents = data.draw(scenes()).intents()
    together = compiler.compile(intents)
    alone = [compiler.compile([intent]) for intent in intents]
    assert together == {key: entry for entries in alone for key, entry in entries.items()}
    assert len(together) == sum(len(entries) for entries in alone)


@given(data=st.data())
@settings(deadline=None)
def test_the_order_of_intents_is_nothing(compiler: Backend[Any], data: st.DataObject) -> None:
    intents: list[Intent] = data.draw(scenes()).intents()
    shuffled = data.draw(st.permutations(intents))
    assert compiler.compile(intents) == compiler.compile(shuffled)


def test_keys_are_the_entries_own(compiler: Backend[Any]) -> None:
    entries = compiler.compile(standard_scene().intents())
    assert all(entry.key == key and entry.target and entry.text for key, entry in entries.items())


def test_unknown_options_are_refused(compiler: Backend[Any]) -> None:
    with pytest.raises(InputParameterError, match="no_such_option"):
        type(compiler)(BackendContext(options={"no_such_option": 1}))


def _is_converged(network: Network) -> bool:
    desired = network.backend.compile(network.scene.intents())
    return not diff(network.backend.audit(desired), desired)


def _changes(scene: Scene) -> list[Scene]:
    return [
        scene.without_eip("203.0.113.100"),
        scene.with_eip("203.0.113.100", "blue").without_eip("203.0.113.101"),
        scene.with_members("red", "b"),
        scene.with_members("red", "c", "b", "a"),
        scene.with_members("red"),
        scene,
    ]


def test_the_second_apply_is_empty(network: Network) -> None:
    for scene in _changes(standard_scene()):
        network.become(scene)
        assert _is_converged(network), str(diff(network.backend.read(), network.backend.compile(scene.intents())))


def test_applying_twice_is_applying_once(network: Network) -> None:
    for scene in _changes(standard_scene()):
        before, after = (network.backend.compile(one.intents()) for one in (network.scene, scene))
        network.become(scene)
        for step in network.backend.steps(diff(before, after)):
            assert not network.backend.apply(step)
        assert _is_converged(network)


def test_a_plan_and_its_inverse_leave_what_was(network: Network) -> None:
    network.become(standard_scene())
    before = network.backend.read()
    network.become(standard_scene().without_eip("203.0.113.101").with_members("red", "b", "c"))
    network.become(standard_scene())
    assert network.backend.read() == before


def test_nothing_is_left(network: Network) -> None:
    clear(network.backend)
    left = network.backend.read()
    converge(network.backend, network.scene)
    assert not left


def test_a_restarted_simulator_knows_its_own(tmp_path: Path) -> None:
    from vipnet_simulator import SimulatorBackend

    context = BackendContext(state=tmp_path / "state")
    converge(SimulatorBackend(context), standard_scene())
    assert not converge(SimulatorBackend(context), standard_scene())
