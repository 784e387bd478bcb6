"""P16: what belongs to others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from vipnet.testing.network import clear, converge
from vipnet.testing.promises import EIP, EIP_BLUE
from vipnet.testing.scene import Scene, standard_scene
from vipnet.testing.system import SystemNetwork

__all__ = ["NeighbourPromises"]

STEPS, LISTED = 12, 4
CHANGES: tuple[Callable[[Scene, random.Random], Scene], ...] = (
    lambda scene, chance: scene.with_members("red", *chance.sample("abc", chance.randint(0, 3))),
    lambda scene, _: scene.with_eip(EIP, "spare").without_eip(EIP_BLUE),
    lambda scene, _: scene.with_eip(EIP, "blue").without_eip(EIP_BLUE),
    lambda scene, _: scene.without_eip(EIP),
    lambda scene, chance: _without_vpc(scene, chance.choice(("green", "grey", "black"))),
    lambda _, __: standard_scene(),
)


class NeighbourPromises:
    """P16, of a system beside things of others. What is listed is in the words of `System.others`."""

    def test_p16_what_is_others_stays_over_any_changes(self, network: SystemNetwork) -> None:
        before = network.before
        assert before, "nothing of others was planted"
        clear(network.backend)
        assert not network.backend.read(), "what is others' was read as ours"
        converge(network.backend, network.scene)
        chance = random.Random(16)  # noqa: S311 -- the same every time
        for step in range(STEPS):
            network.become(chance.choice(CHANGES)(network.scene, chance))
            if step % LISTED == LISTED - 1:
                assert not before - network.system.others(), f"step {step}"
        network.restart()
        clear(network.backend)
        after = network.system.others()
        converge(network.backend, network.scene)
        assert (sorted(before - after), sorted(after - before)) == ([], [])


def _without_vpc(scene: Scene, name: str) -> Scene:
    segments = tuple(segment for segment in scene.segments if segment.vpc != name)
    places = {segment.name for segment in segments}
    groups = tuple(group for group in scene.groups if group.segment in places)
    return replace(
        scene,
        vpcs=tuple(vpc for vpc in scene.vpcs if vpc.name != name),
        segments=segments,
        servers=tuple(server for server in scene.servers if server.segment in places),
        groups=groups,
        eips=tuple(eip for eip in scene.eips if eip.group in {group.name for group in groups}),
    )
