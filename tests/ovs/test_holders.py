"""Who holds a VIP: the sequences that mislead a switch that learns by itself, and what holds while no agent is there."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
from systems import OvsSystem

from vipnet.intents import VipBinding
from vipnet.testing import Answer, Frame, SystemNetwork, SystemTests
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.promises import EIP, VIP, B, C, settle, within
from vipnet.testing.real import RealProbe
from vipnet_ovs.agent import Agent
from vipnet_ovs.switch import Switch

WORLD = "203.0.113.1"

# Pauses, in seconds, after each announcement: of a, until the last, which is of b.
SEQUENCES = ((0.05, 0.1, 0.05, 0.05), (0.1, 0.1), (0.1, 0.2), (0.1, 0.3), (0.0, 0.0), (0.05, 0.05, 0.0))


@pytest.mark.root
class TestHolders(SystemTests):
    system = OvsSystem

    @pytest.mark.parametrize("pauses", SEQUENCES, ids=str)
    def test_the_last_announcement_counts(self, network: SystemNetwork, pauses: tuple[float, ...]) -> None:
        settle(network)
        for pause in pauses:
            network.probe.hold("a", VIP)
            time.sleep(pause)
        network.probe.hold("b", VIP)
        for _ in range(8):  # a revalidator looks again every half second
            assert network.probe.udp(OUTSIDE, EIP) == Answer("b", WORLD)
            assert _holder(network) == network.scene.server("b").mac
            time.sleep(0.1)

    def test_a_mere_answer_moves_nothing(self, network: SystemNetwork) -> None:
        """A member that still has the address from before answers for it, and is believed by who asked, no further."""
        settle(network)
        assert _holder(network) == network.scene.server("a").mac
        assert network.probe.heard("b", Frame(proto="arp-reply", src=VIP, dst=C, onto="c")) == {"c"}
        assert network.probe.heard("b", Frame(proto="arp-request", src=VIP, dst=C))
        assert _holder(network) == network.scene.server("a").mac
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)

    def test_a_holder_stays_one_when_others_leave(self, network: SystemNetwork) -> None:
        settle(network)
        network.become(network.scene.with_members("red", "c", "a"))
        assert _holder(network) == network.scene.server("a").mac
        network.become(network.scene.with_members("red", "c", "b"))
        assert _holder(network) is None
        network.probe.hold("b", VIP)
        assert within(1.0, lambda: _holder(network) == network.scene.server("b").mac)

    def test_without_an_agent_every_member_gets_a_copy(self, network: SystemNetwork) -> None:
        settle(network)
        probe = network.probe
        assert isinstance(network.system, OvsSystem)
        assert isinstance(probe, RealProbe)
        network.backend.close()  # and with it the agent
        try:
            assert not _is_watched(network.system.switch.rundir / "vipnet0.mgmt")
            for server in ("b", "a"):
                node, other = probe.node(server), probe.node("a" if server == "b" else "b")
                other.run("ip", "address", "del", f"{VIP}/32", "dev", "eth0", check=False)
                node.run("ip", "address", "add", f"{VIP}/32", "dev", "eth0")  # and nobody is told
                assert within(0.05, partial(_answers, network, server))
        finally:
            network.backend = network.system.backend()
            network.become(network.scene.with_members("red", "a", "b", "c"))
            network.become(network.scene.with_members("red", "a", "b"))

    def test_one_agent_at_a_time_and_then_the_next(self, network: SystemNetwork) -> None:
        settle(network)
        system = network.system
        assert isinstance(system, OvsSystem)
        next_one = Agent(system.switch.rundir / "vipnet0.mgmt")
        next_one.start()
        try:
            network.backend.close()
            assert within(2.0, lambda: _is_watched(system.switch.rundir / "vipnet0.mgmt"))
            network.probe.hold("b", VIP)
            assert network.probe.udp(OUTSIDE, EIP) == Answer("b", WORLD)
        finally:
            next_one.close()
            network.backend = system.backend()
        assert not _is_watched(system.switch.rundir / "vipnet0.mgmt")
        assert network.probe.heard("b", Frame(proto="udp", src=B, dst=C, onto="c")) == {"c"}


def _answers(network: SystemNetwork, server: str) -> bool:
    return network.probe.udp(OUTSIDE, EIP) == Answer(server, WORLD)


def _holder(network: SystemNetwork) -> str | None:
    vip = next(one for one in network.scene.intents() if isinstance(one, VipBinding) and one.id == _red(network))
    found = network.backend.holder(vip, 4)
    return None if found is None else found.mac


def _red(network: SystemNetwork) -> str:
    return f"vip:{network.scene.group('red').vip_id}"


def _is_watched(socket: Path) -> bool:
    switch = Switch(socket)
    try:
        return any(True for _ in switch.rows(table="watched"))
    finally:
        switch.close()
