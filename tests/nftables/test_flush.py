"""What lived by an EIP or a membership ends with it: connections and neighbours, read in the router itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from socket import socket

import pytest

from tests.nftables.conftest import OUTSIDE, Lab, ask_udp, connect, ip, ip_batch, mapping, say
from tests.nftables.rule_scene import EIP, SILENCE, SPARE, VIP, Scene
from vipnet.intents import EipMapping, Released

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="not installed: conntrack (Debian package conntrack)"),
]

BYSTANDER = "203.0.113.102"
MOVES: dict[str, Callable[[Scene], list[EipMapping]]] = {
    "dissociated": lambda _: [],
    "moved within the VPC": lambda scene: [replace(scene.mappings[0], vip=ip(SPARE))],
    "moved to another VPC": lambda scene: [replace(scene.mappings[0], vpc_id=scene.blue)],
}


@pytest.fixture
def scene(lab: Lab) -> Scene:
    """The EIP of red's VIP, and beside it in the same router that of c."""
    scene = Scene(lab)
    del scene.intents[scene.intents.index(scene.mappings[1])]  # so that blue's VIP is free to get another one
    scene.intents.append(mapping(scene.red, BYSTANDER, scene.c.ip))
    lab.apply(scene.intents)
    return scene


def _tuples(scene: Scene, eip: str) -> list[str]:
    """The lines of the router's connections that name an EIP, in either direction."""
    argv = ["ip", "netns", "exec", scene.router, "conntrack", "-L"]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if {f"src={eip}", f"dst={eip}"} & set(line.split())]


@contextmanager
def _connected(scene: Scene) -> Generator[list[socket]]:
    """Connections to the EIP, from outside and from beside the holder."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(_open(space, EIP))) for space in (scene.lab.outside, scene.c.space)]


def _open(space: str, eip: str) -> socket:
    one = connect(space, eip)
    assert one is not None
    assert say(one)
    one.settimeout(SILENCE)
    return one


@pytest.mark.parametrize("how", MOVES)
def test_connections_of_an_eip_end_with_its_mapping(lab: Lab, scene: Scene, how: str) -> None:  # P4, P5
    old, new = scene.mappings[0], MOVES[how](scene)
    gone = Released(vpc_id=scene.red, network_id=scene.web.id, ip=ip(VIP), eip=ip(EIP))
    with _connected(scene) as connections, closing(_open(lab.outside, BYSTANDER)) as bystander:
        assert ask_udp(scene.a.space, OUTSIDE, source=VIP) == [lab.outside, EIP]
        before = _tuples(scene, BYSTANDER)
        assert len(_tuples(scene, EIP)) == 3
        lab.change([old], new, [gone])
        assert _tuples(scene, EIP) == []
        assert [_ends(line) for line in _tuples(scene, BYSTANDER)] == [_ends(line) for line in before] != []
        assert say(bystander) == [scene.c.space, OUTSIDE]
        assert [say(one) for one in connections] == [[], []]
    lab.change(new, [old])


def _ends(line: str) -> list[str]:
    """Addresses and ports, without the time that is left."""
    return [word for word in line.split() if word.partition("=")[0] in ("src", "dst", "sport", "dport")]


def test_who_is_unbound_is_the_neighbour_no_more(lab: Lab, scene: Scene) -> None:  # P6
    assert ask_udp(lab.outside, EIP)[:1] == [scene.a.space]
    assert scene.a.mac in _neighbour(scene, VIP)
    assert ask_udp(scene.d.space, scene.a.ip)
    left = Released(vpc_id=scene.red, network_id=scene.web.id, ip=ip(VIP), eip=None)
    lab.change([scene.a.security(VIP, SPARE, peers=[scene.b])], [scene.a.security(SPARE, peers=[scene.b])], [left])
    assert scene.a.mac not in _neighbour(scene, VIP)
    assert scene.a.mac in _neighbour(scene, scene.a.ip)
    assert not ip_batch(scene.b.space, [f"address add {VIP}/32 dev eth0"])  # it does not even announce itself
    assert ask_udp(lab.outside, EIP)[:1] == [scene.b.space]


def _neighbour(scene: Scene, address: str) -> str:
    argv = ["ip", "-n", scene.router, "neigh", "show", address]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
