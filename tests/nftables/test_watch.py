"""The nftables backend under a watch: the promises, and what only a kernel can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.nftables.vandal import KernelVandal
from vipnet.controller import Controller
from vipnet.lab import Lab
from vipnet.testing import clear, standard_scene
from vipnet.testing.controlled import ControlledNetwork, build, scene_config
from vipnet.testing.real import RealProbe
from vipnet.testing.watching import WatchingPromises

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(prefix="watch") as one:
        yield one


@pytest.fixture(scope="module")
def network(lab: Lab) -> Iterator[ControlledNetwork]:
    scene = standard_scene()
    with ExitStack() as stack:
        probe = stack.enter_context(RealProbe(lab, scene))
        cloud = stack.enter_context(Controller.open(scene_config(scene, name="nftables", namespace=lab.host)))
        stack.callback(clear, cloud.backend)
        build(cloud, scene)
        yield ControlledNetwork(cloud, probe, scene)


@pytest.fixture
def vandal(lab: Lab) -> KernelVandal:
    return KernelVandal(lab.host)


class TestWatching(WatchingPromises):
    """See `vandal` for what is done to it."""
