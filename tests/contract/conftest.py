"""The systems under the contract: the simulator always, the others where this machine has what they need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from vipnet.backend import Backend, BackendContext
from vipnet.controller import Controller
from vipnet.errors import DataplaneError
from vipnet.lab import Lab
from vipnet.registry import available_backends, load_backend
from vipnet.testing import Network, clear, standard_scene
from vipnet.testing.controlled import ControlledNetwork, build, nic_ids, scene_config
from vipnet.testing.real import RealProbe
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.probe import SimulatedProbe

PREFIX = os.environ.get("VIPNET_LAB_PREFIX", "contract")
SYSTEMS = [pytest.param("simulator"), pytest.param("nftables", marks=pytest.mark.root)]


@pytest.fixture(scope="module", params=["simulator", "nftables"])
def compiler(request: pytest.FixtureRequest) -> Iterator[Backend[Any]]:
    """A backend of which only the pure part is used; root is not needed."""
    name: str = request.param
    try:
        backend = load_backend(name)(BackendContext())
    except DataplaneError as error:
        if name in _required(request):
            raise
        pytest.skip(error.details)
    yield backend
    backend.close()


@pytest.fixture(scope="module", params=SYSTEMS)
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The standard scene on each system; what it installed is taken away at the end."""
    name: str = request.param
    with ExitStack() as stack:
        if name == "simulator":
            yield _simulated()
            return
        _skip_unless_usable(name, required=_required(request))
        yield _real(name, stack)


def _simulated() -> Network:
    backend, scene = SimulatorBackend(BackendContext()), standard_scene()
    return Network(backend, SimulatedProbe(backend, scene), scene)


def _real(name: str, stack: ExitStack) -> Network:
    scene = standard_scene()
    lab = stack.enter_context(Lab(prefix=PREFIX))
    probe = stack.enter_context(RealProbe(lab, scene))
    backend = load_backend(name)(BackendContext(options={"namespace": lab.host}))
    stack.callback(backend.close)
    stack.callback(clear, backend)
    return Network(backend, probe, scene)


@pytest.fixture(scope="module", params=SYSTEMS)
def controlled(request: pytest.FixtureRequest) -> Iterator[ControlledNetwork]:
    """The standard scene, made and changed by the verbs of a Controller."""
    name: str = request.param
    with ExitStack() as stack:
        if name != "simulator":
            _skip_unless_usable(name, required=_required(request))
        yield _controlled(name, stack)


def _controlled(name: str, stack: ExitStack) -> ControlledNetwork:
    scene = standard_scene()
    if name == "simulator":
        cloud = stack.enter_context(Controller.open(scene_config(scene, name=name)))
        build(cloud, scene)
        return ControlledNetwork(cloud, SimulatedProbe(cloud.backend, scene, nics=dict(nic_ids(cloud))), scene)
    lab = stack.enter_context(Lab(prefix=PREFIX))
    probe = stack.enter_context(RealProbe(lab, scene))
    cloud = stack.enter_context(Controller.open(scene_config(scene, name=name, namespace=lab.host)))
    stack.callback(clear, cloud.backend)
    build(cloud, scene)
    return ControlledNetwork(cloud, probe, scene)


def _required(request: pytest.FixtureRequest) -> list[str]:
    return request.config.getoption("--require-backend", default=None) or []


def _skip_unless_usable(name: str, *, required: list[str]) -> None:
    found = {info.name: info for info in available_backends()}.get(name)
    reason = "not installed" if found is None else "" if found.usable else found.reason
    if reason and name in required:
        pytest.fail(f"backend {name} is required: {reason}")
    if reason:
        pytest.skip(f"backend {name}: {reason}")
