"""Faults on demand."""

from __future__ import annotations

import pytest

from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError
from vipnet.plan import Plan, diff
from vipnet.testing import Faults, FaultyBackend, standard_scene
from vipnet_simulator import SimulatorBackend, SimulatorEntry


def _faulty() -> tuple[FaultyBackend[SimulatorEntry], Plan[SimulatorEntry]]:
    backend = FaultyBackend(SimulatorBackend(BackendContext()), Faults())
    return backend, diff(backend.read(), backend.compile(standard_scene().intents()))


def test_it_goes_by_the_name_of_what_is_inside() -> None:
    backend, _ = _faulty()
    assert (backend.name, backend.capabilities) == (SimulatorBackend.name, SimulatorBackend.capabilities)
    assert not backend.changed()


def test_a_refused_step_does_nothing() -> None:
    backend, plan = _faulty()
    key = plan.targets[-1].create[0].key
    backend.faults.refuse[key] = "no room"
    assert backend.apply(plan.targets[-1]) == {key: "no room"}
    assert not backend.read()
    assert not backend.apply(plan.targets[-1].without(frozenset({key})))


@pytest.mark.parametrize("after", [False, True])
def test_an_answer_is_lost_once(after: bool) -> None:
    backend, plan = _faulty()
    backend.faults.fail_next(after=after)
    with pytest.raises(DataplaneError):
        backend.apply(plan.targets[0])
    assert bool(backend.read()) == after
    assert not backend.apply(plan.targets[0])


def test_unreadable() -> None:
    backend, _ = _faulty()
    backend.faults.unreadable = True
    with pytest.raises(DataplaneError):
        backend.read()
