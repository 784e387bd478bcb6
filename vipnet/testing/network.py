"""A network under test: a backend that programs it, and a probe that asks it."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from vipnet.backend import Backend
from vipnet.plan import Entry, Plan, diff
from vipnet.testing.probe import Probe
from vipnet.testing.scene import Scene, released

__all__ = ["Network", "NetworkUnderTest", "able", "clear", "converge"]

E = TypeVar("E", bound=Entry)


def converge(backend: Backend[E], scene: Scene) -> Plan[E]:
    """Make what is installed that of `scene`, whatever it was; return what there was to do."""
    plan = diff(backend.read(), backend.compile(scene.intents()))
    _apply(backend, plan)
    return plan


def clear(backend: Backend[Any]) -> None:
    """Take away everything of the backend's that is installed."""
    _apply(backend, diff(backend.read(), {}))


def able(backend: Backend[Any], scene: Scene) -> Scene:
    """A scene as far as a backend can do it: in IPv4 alone, maybe."""
    return scene if "ipv6" in backend.capabilities else scene.without_ipv6()


class NetworkUnderTest(Protocol):
    """What the promises are asked of. `scene` is what is programmed now."""

    scene: Scene
    probe: Probe

    def become(self, scene: Scene) -> None:
        """Change to another scene."""
        ...


class Network:
    """A backend alone, without Controller and store."""

    def __init__(self, backend: Backend[Any], probe: Probe, scene: Scene) -> None:
        self.backend = backend
        self.probe = probe
        scene = able(backend, scene)
        converge(backend, scene)
        self.arrive(scene)

    def become(self, scene: Scene) -> None:
        """Change to another scene, by the difference alone, as one verb does."""
        scene = able(self.backend, scene)
        _apply(self.backend, diff(self.backend.compile(self.scene.intents()), self.backend.compile(scene.intents())))
        self.backend.flush(released(self.scene, scene))
        self.arrive(scene)

    def arrive(self, scene: Scene) -> None:
        """Take notice that the network has become that of another scene."""
        self.scene = scene
        self.probe.refresh(scene)


def _apply(backend: Backend[E], plan: Plan[E]) -> None:
    for step in backend.steps(plan):
        refused = backend.apply(step)
        assert not refused, f"{backend.name} refused {dict(refused)}"
