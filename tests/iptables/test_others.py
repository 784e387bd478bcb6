"""Beside others' rules, and under attack: what is theirs stays as it is, and nothing of ours is ever open."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from systems import IptablesLegacySystem, IptablesSystem

from vipnet.errors import DataplaneError
from vipnet.plan import diff
from vipnet.process import run
from vipnet.testing.network import converge
from vipnet.testing.probe import Frame
from vipnet.testing.promises import settle
from vipnet.testing.scene import Scene, released, standard_scene
from vipnet.testing.system import SystemNetwork
from vipnet_iptables import tools

pytestmark = pytest.mark.root

EIP, BLUE, GREEN = "203.0.113.100", "203.0.113.101", "203.0.113.102"
UNMAPPED, WORLD = "203.0.113.110", "203.0.113.1"

DOCKER = """*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-I FORWARD 1 -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
FIREWALLD = """*mangle
:PRE_public - [0:0]
:PRE_public_deny - [0:0]
-A PREROUTING -i docker0 -g PRE_public
-A PRE_public -j PRE_public_deny
-A PRE_public_deny -s 198.51.100.66/32 -j DROP
COMMIT
*filter
:IN_public - [0:0]
-A INPUT -i docker0 -g IN_public
-A IN_public -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
COMMIT
"""
BY_HAND = """*nat
-I POSTROUTING 1 -s 198.51.100.0/24 -m comment --comment "by hand, before" -j ACCEPT
-A POSTROUTING -s 198.51.101.0/24 -m comment --comment "by hand, behind" -j ACCEPT
COMMIT
*mangle
-I PREROUTING 1 -s 198.51.100.67/32 -m comment --comment "VIPNET is not what begins here" -j MARK --set-xmark 0x40000/0x40000
-A FORWARD -s 198.51.100.68/32 -j DROP
COMMIT
"""
EBTABLES = """*filter
:theirs RETURN
-I FORWARD 1 -s 02:00:00:00:00:99 -j DROP
-A FORWARD -p IPv4 --ip-src 198.51.100.69 -j theirs
-A theirs -j DROP
*nat
-A PREROUTING -i other0 -j DROP
"""


@pytest.fixture(params=[IptablesSystem, IptablesLegacySystem])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SystemNetwork]:
    system: type[IptablesSystem] = request.param
    with system(tmp_path) as there, SystemNetwork(there, standard_scene()) as network:
        settle(network)
        yield network


def variant(network: SystemNetwork) -> str:
    assert isinstance(network.system, IptablesSystem)
    return network.system.variant


def routers(network: SystemNetwork) -> list[str]:
    return [key.partition(" ")[2] for key in network.backend.read() if key.startswith("namespace vn-")]


def inside(space: str, *command: str, stdin: str | None = None) -> str:
    return run(["ip", "netns", "exec", space, *command], stdin=stdin).stdout


def plant(network: SystemNetwork) -> None:
    program = f"iptables-{variant(network)}-restore"
    assert isinstance(network.system, IptablesSystem)
    for space in (network.system.lab.host, *routers(network)):
        for rules in (DOCKER, FIREWALLD, BY_HAND):
            inside(space, program, "--noflush", stdin=rules)
    inside(network.system.lab.host, "ebtables-nft-restore", "--noflush", stdin=EBTABLES)


def theirs(network: SystemNetwork) -> dict[str, list[str]]:
    """Every line of others, in the order in which they are listed."""
    assert isinstance(network.system, IptablesSystem)
    host = network.system.lab.host
    found = {f"{space} ip": inside(space, f"iptables-{variant(network)}-save") for space in (host, *routers(network))}
    found["host bridge"] = inside(host, "ebtables-nft-save")
    return {where: [line for line in said.splitlines() if is_theirs(line)] for where, said in found.items()}


BUILT_IN = (":INPUT", ":FORWARD", ":PREROUTING", ":POSTROUTING", ":OUTPUT")


def is_theirs(line: str) -> bool:
    ours = line.startswith((":VIPNET-", "-A VIPNET-")) or "-j VIPNET-" in line
    return not ours and not line.startswith(("#", "*", "COMMIT", *BUILT_IN))


def changes(draw: random.Random, count: int) -> Iterator[Scene]:
    """Scenes, each a change or two away from the standard one."""
    acts: Sequence[Callable[[Scene], Scene]] = (
        lambda scene: scene.without_eip(EIP),
        lambda scene: scene.without_eip(BLUE),
        lambda scene: scene.with_members("red", "a", "b", "c"),
        lambda scene: scene.with_members("red", "a"),
        lambda scene: scene.without_eip(BLUE).without_eip(EIP).with_eip(EIP, "blue"),
        lambda scene: scene,
    )
    for _ in range(count):
        scene = standard_scene()
        for act in draw.sample(acts, k=2):
            scene = act(scene)
        yield scene


def changed_at_random(network: SystemNetwork, count: int) -> None:
    plant(network)
    before = theirs(network)
    assert all(len(lines) > 10 for where, lines in before.items() if where.endswith(" ip"))
    draw = random.Random(count)
    for number, scene in enumerate(changes(draw, count)):
        network.become(scene)
        if number % 10 == 0:
            assert theirs(network) == before
    assert theirs(network) == before
    converge(network.backend, standard_scene())
    settle(network)
    assert network.probe.udp("outside", EIP) is not None


def test_what_is_others_stays_to_the_byte(network: SystemNetwork) -> None:
    changed_at_random(network, 20)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_is_others_stays_to_the_byte_for_long(network: SystemNetwork) -> None:
    changed_at_random(network, 500)


def is_closed(network: SystemNetwork) -> bool:
    """Whether nothing gets in that is not mapped, nor out as what it is not."""
    probe = network.probe
    doors = [eip for eip in (EIP, BLUE, GREEN) if probe.resolves("outside", eip)]
    if network.scene.eips[0].ip not in doors:  # by which it is told that a frame was dealt with
        doors = []
    into = [(door, dst) for door in doors for dst in ("192.168.7.246", UNMAPPED)]
    heard = [probe.heard("outside", Frame(proto="udp", src=WORLD, dst=dst, onto=door)) for door, dst in into]
    heard.append(probe.heard("d", Frame(proto="udp", src="192.168.7.246", dst=WORLD)))
    return not any(heard) and not probe.resolves("outside", UNMAPPED)


def test_a_restore_that_is_killed_leaves_nothing_open_and_is_whole_after_the_next_apply(
    network: SystemNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs die at random moments, those that are to take it back too; then everything is read and compared anew."""
    draw = random.Random(7)
    killed = list[int]()

    def dying(argv: Sequence[str], **options: Any) -> Any:
        if "-restore" not in argv[0]:
            return run(argv, **options)
        done = run(["timeout", "-s", "KILL", f"{draw.uniform(0.0005, 0.008):.4f}", *argv], **options)
        killed.append(done.returncode)
        return done

    for scene in changes(draw, 12):
        monkeypatch.setattr(tools, "run", dying)
        wanted = network.backend.compile(scene.intents())
        plan = diff(network.backend.read(), wanted)
        for step in network.backend.steps(plan):
            try:
                if network.backend.apply(step):
                    break
            except DataplaneError:
                break
        monkeypatch.setattr(tools, "run", run)
        assert is_closed(network)
        network.restart()
        converge(network.backend, scene)
        network.backend.flush(released(network.scene, scene))
        network.arrive(scene)
        assert not diff(network.backend.audit(wanted), wanted)
        assert is_closed(network)
    assert 137 in killed or -9 in killed
    assert 0 in killed


def test_what_is_flushed_is_closed_at_once(network: SystemNetwork) -> None:
    """Policies of routers are to drop, and what is not translated is the router's own, which takes nothing from an uplink."""
    for router in routers(network):
        for table in ("filter", "mangle", "nat"):
            inside(router, f"iptables-{variant(network)}", "-t", table, "-F")
            assert network.probe.heard("outside", Frame(proto="udp", src=WORLD, dst="192.168.7.246", onto=EIP)) == frozenset()
    converge(network.backend, standard_scene())
    settle(network)
    assert network.probe.udp("outside", EIP) is not None
