"""vipnet's trace beside the switch's own, ofproto/trace: random packets among VPCs of the same addresses."""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from systems import OvsSystem

from vipnet.addresses import format_ip4, parse_ip4
from vipnet.intents import Intent, PortSecurity, VipBinding
from vipnet.packets import OUTSIDE, ROUTER, Delivered, Dropped, Packet, Verdict
from vipnet.packets.index import IntentIndex, Place
from vipnet.packets.journey import Journey
from vipnet.process import run
from vipnet.testing import Group, Scene, SceneEip, SystemNetwork, SystemTests, standard_scene
from vipnet.testing.promises import settle

EIPS, ASKED = 1000, 200
WORLD = "203.0.113.1"
NOBODY = "203.0.113.150"
"""On the uplink's segment, and no machine: the switch asks for it, and sends nothing yet."""
KINDS = {"udp": "udp,udp_src=4000,udp_dst=5000", "tcp": "tcp,tcp_src=4000,tcp_dst=5000", "icmp": "icmp,icmp_type=8,icmp_code=0"}
OUTPUT = re.compile(r"^ +(?:output:(\d+)|(IN_PORT))\n( +>> skipping)?", re.MULTILINE)
STATES = ["--ct-next", "trk,new"] * 6


class Asked(NamedTuple):
    """One packet."""

    sender: str
    kind: str
    src: str
    dst: str


def wide_scene() -> Scene:
    """The standard one, with a thousand EIPs more, each with a VIP of its own that `e` may hold."""
    scene = standard_scene(ipv6=False)
    vips = [f"192.168.{5 + number // 250}.{1 + number % 250}" for number in range(EIPS)]
    groups = [Group(name=f"more-{number}", segment="red-web", vip=vip, members=("e",)) for number, vip in enumerate(vips)]
    eips = [SceneEip(ip=f"198.18.{number // 250}.{1 + number % 250}", group=f"more-{number}") for number in range(EIPS)]
    return replace(scene, groups=(*scene.groups, *groups), eips=(*scene.eips, *eips))


@pytest.mark.root
class TestTrace(SystemTests):
    system = OvsSystem

    def test_both_say_the_same_of_random_packets(self, network: SystemNetwork) -> None:
        settle(network)
        network.become(wide_scene())
        seed = 0 if os.environ.get("CI") else secrets.randbelow(1 << 32)
        world = World(network)
        told = [(one, world.expected(one), world.traced(one)) for one in asked(network.scene, seed)]
        assert {expected.kind for _, expected, _ in told} >= {"port", "outside", "router", "nobody"}
        wrong = [f"{one}: {expected} but {traced}" for one, expected, traced in told if not expected.allows(traced)]
        assert not wrong, f"seed {seed}: " + "\n".join(wrong)


class Expected(NamedTuple):
    """Where a packet goes; of those in `maybe` each may have a copy, since nobody is known to hold the VIP."""

    kind: str
    ports: frozenset[int]
    maybe: frozenset[int] = frozenset()

    def allows(self, traced: frozenset[int]) -> bool:
        return self.ports <= traced <= self.ports | self.maybe


class World:
    """What is programmed, as both sides know it."""

    def __init__(self, network: SystemNetwork) -> None:
        assert isinstance(network.system, OvsSystem)
        self._network, self._scene, self._switch = network, network.scene, network.system.switch
        self._intents = self._scene.intents()
        self._index = IntentIndex(self._intents)
        self._numbers = _numbers(network)
        self._ports = {one.nic_id: self._numbers[one.device] for one in self._intents if isinstance(one, PortSecurity)}
        self._holders = dict(_holders(network, self._intents))

    def expected(self, one: Asked) -> Expected:
        """What vipnet's trace says."""
        packet = Packet(src=_ip(one.src), dst=_ip(one.dst), proto=one.kind)  # type: ignore[arg-type]
        from_ = OUTSIDE if one.sender == OUTSIDE else self._scene.server(one.sender).nic_id
        return self._of(Journey(self._index, self._holders.get, packet).follow(from_), one)

    def _of(self, verdict: Verdict, one: Asked) -> Expected:
        match verdict:
            case Delivered() if ROUTER in verdict.to:
                return Expected("router", frozenset({0}))
            case Delivered() if OUTSIDE in verdict.to:
                out = frozenset({self._numbers[self._scene.uplink_device]})
                return Expected("outside", frozenset(), out) if one.dst == NOBODY else Expected("outside", out)
            case Delivered():
                return Expected("port", frozenset(self._ports[nic] for nic in verdict.to))
            case Dropped(reason="no-holder"):
                return Expected("nobody", frozenset(), frozenset(self._ports.values()))
            case Dropped(reason="other-vpc"):  # out there nobody has it
                return Expected("nobody", frozenset(), frozenset({self._numbers[self._scene.uplink_device]}))
            case Dropped():
                return Expected("nobody", frozenset())
        raise AssertionError(one)

    def traced(self, one: Asked) -> frozenset[int]:
        """What the switch says: the ports that it goes out by, 0 for back to where it came from."""
        ends = f"nw_src={one.src},nw_dst={one.dst},nw_ttl=64"
        flow = f"in_port={self._in_port(one)},vlan_tci=0,{self._macs(one)},{KINDS[one.kind]},{ends}"
        control = f"{self._switch.rundir}/ovs-vswitchd.ctl"
        said = run(["ovs-appctl", "-t", control, "ofproto/trace", "vipnet0", flow, *STATES]).stdout
        return frozenset(0 if back else int(port) for port, back, skipped in OUTPUT.findall(said) if not skipped)

    def _in_port(self, one: Asked) -> int:
        device = self._scene.uplink_device if one.sender == OUTSIDE else self._scene.server(one.sender).device
        return self._numbers[device]

    def _macs(self, one: Asked) -> str:
        if one.sender == OUTSIDE:
            return "dl_src=02:00:00:00:0f:01,dl_dst=02:00:00:00:0f:02"
        server = self._scene.server(one.sender)
        segment = self._scene.segment(server.segment)
        there = {other.ip: other.mac for other in self._scene.servers if other.segment == server.segment}
        there |= {format_ip4(ip): self._mac(nic) for (network, _, ip), nic in self._holders.items() if network == segment.id}
        return f"dl_src={server.mac},dl_dst={there.get(one.dst, segment.mac)}"

    def _mac(self, nic_id: str) -> str:
        return next(server.mac for server in self._scene.servers if server.nic_id == nic_id)


def asked(scene: Scene, seed: int) -> list[Asked]:
    """Packets from everywhere to everywhere."""
    chance = random.Random(seed)
    near = [eip.ip for eip in scene.eips[:3]] + [WORLD, "8.8.8.8", NOBODY, "203.0.113.2"]
    inside = [server.ip for server in scene.servers] + [segment.gateway_ip for segment in scene.segments] + ["192.168.7.246"]
    packets: list[Asked] = []
    while len(packets) < ASKED:
        server = chance.choice((None, *scene.servers))
        many = [chance.choice(scene.eips).ip, chance.choice(scene.groups).vip]
        dst = chance.choice(chance.choice((near, inside, many)))
        kind = chance.choice(list(KINDS))
        if server is None:
            packets.append(Asked(OUTSIDE, kind, chance.choice((WORLD, "8.8.8.8", "192.168.7.10")), dst))
            continue
        vips = [group.vip for group in scene.groups if server.name in group.members]
        src = chance.choice([server.ip, server.ip, *vips[:2], "192.168.7.99"])
        if dst not in (server.ip, *vips):  # what is for itself a machine does not send
            packets.append(Asked(server.name, kind, src, dst))
    return packets


def _ip(text: str) -> int:
    return parse_ip4(text, what="an address of the test")


def _numbers(network: SystemNetwork) -> dict[str, int]:
    system = network.system
    assert isinstance(system, OvsSystem)
    columns = ["--columns=name,ofport", "--bare", "list", "interface"]
    said = run(["ovs-vsctl", f"--db={system.switch.database}", *columns]).stdout
    pairs = [block.split() for block in said.split("\n\n") if len(block.split()) == 2]
    return {name: int(number) for name, number in pairs}


def _holders(network: SystemNetwork, intents: Sequence[Intent]) -> Iterator[tuple[Place, str]]:
    """Who holds a VIP, as the backend knows it."""
    for vip in intents:
        if isinstance(vip, VipBinding) and (found := network.backend.holder(vip, 4)) is not None:
            yield (vip.network_id, 4, vip.ip), next(one.nic_id for one in vip.members if one.mac == found.mac)
