"""The simulator is the oracle: whoever asks whatever of whomever, a real network answers the same."""

from __future__ import annotations

import random

import pytest
from systems import NftablesSystem

from vipnet.backend import BackendContext
from vipnet.testing import Network, NetworkUnderTest, Scene, SystemTests, standard_scene
from vipnet.testing.probe import OUTSIDE, Answer, Probe
from vipnet.testing.promises import settle
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.probe import SimulatedProbe

Question = tuple[str, str | None, str]


def _questions(scene: Scene) -> list[Question]:
    """Everybody, from its own address or from a VIP that it holds, to every address there is that is not its own."""
    own = {server.name: {server.ip} for server in scene.servers} | {OUTSIDE: {scene.outside}}
    held = {"a": scene.group("red").vip, "e": scene.group("spare").vip, "x": scene.group("blue").vip}
    held["p"] = scene.group("green").vip
    for server, vip in held.items():
        own[server].add(vip)  # what a machine asks itself is no matter of the network
    sources = [*((sender, None) for sender in own), *held.items()]
    public = [eip.ip for eip in scene.eips] + [scene.outside, scene.uplink_address.partition("/")[0], "203.0.113.150"]
    private = {*(s.ip for s in scene.servers), *(g.vip for g in scene.groups), *(s.gateway_ip for s in scene.segments)}
    return [(sender, src, dst) for sender, src in sources for dst in (*public, *sorted(private)) if dst not in own[sender]]


def _differences(real: Probe, oracle: Probe, questions: list[Question]) -> list[tuple[Question, Answer | None, Answer | None]]:
    asked = [(question, real.udp(question[0], question[2], src=question[1])) for question in questions]
    expected = [oracle.udp(sender, dst, src=src) for sender, src, dst in questions]
    return [(question, got, want) for (question, got), want in zip(asked, expected, strict=True) if got != want]


def _check(network: NetworkUnderTest, questions: list[Question]) -> None:
    backend = SimulatorBackend(BackendContext())
    oracle = Network(backend, SimulatedProbe(backend, standard_scene()), standard_scene())
    settle(network)
    settle(oracle)
    differences = _differences(network.probe, oracle.probe, questions)
    assert not differences, "\n".join(["question, answer, oracle:", *map(str, differences)])


@pytest.mark.root
class TestNftables(SystemTests):
    system = NftablesSystem

    def test_a_sample(self, network: NetworkUnderTest) -> None:
        _check(network, random.Random(20).sample(_questions(standard_scene()), 30))

    @pytest.mark.long
    def test_everything(self, network: NetworkUnderTest) -> None:
        _check(network, _questions(standard_scene()))
