"""P13: counters through moves, restarts and deaths, with packets on their way all the time."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dying
import pytest

from vipnet.controller import Controller
from vipnet.lab import Lab
from vipnet.model import Vpc
from vipnet.testing import clear, standard_scene
from vipnet.testing.controlled import EIP_NETWORK, build
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.promises import EIP, VIP, WORLD
from vipnet.testing.real import RealProbe
from vipnet.testing.traffic import PACKET, Flow, Load
from vipnet.views import Counters
from vipnet_kernel.names import router_namespace
from vipnet_kernel.namespaces import exists

pytestmark = pytest.mark.root

_CONFIG = """
store = "sqlite:///{folder}/s.db"
backend = "nftables"
[uplinks.pub]
device = "uplink0"
address = "203.0.113.2/24"
gateway = "{gateway}"
networks = ["{network}"]
[backends.nftables]
namespace = "{host}"
"""


class Stage:
    """The standard scene under a store in a file, for processes that come and go; blue has no EIP of its own."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        scene = standard_scene()
        lab = stack.enter_context(Lab(prefix="counting"))
        self.probe = stack.enter_context(RealProbe(lab, scene))
        self.config = folder / "vipnet.toml"
        self.config.write_text(_CONFIG.format(folder=folder, gateway=WORLD, network=EIP_NETWORK, host=lab.host))
        with Controller.open(self.config) as cloud:
            stack.callback(self._clear)
            build(cloud, scene)
            for holder in ("a", "x"):
                self.probe.hold(holder, VIP)
            cloud.groups.dissociate_eip("blue")

    def _clear(self) -> None:
        with Controller.open(self.config) as cloud:
            clear(cloud.backend)

    def run(self, move: str, point: int) -> int | None:
        """Move in another process, which may die on the way; return how many points it passed, if not."""
        argv = [sys.executable, dying.__file__, str(self.config), move, str(point)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        return int(done.stdout) if done.returncode == 0 else None

    def settled(self) -> Counters:
        """What a process that comes afterwards makes of it."""
        with Controller.open(self.config) as cloud:
            cloud.apply()
            assert not cloud.plan()
            found = cloud.eips.show(dying.PUBLIC).counters
            assert found is not None
            return found

    def back(self) -> None:
        """The EIP is red's, by one more process."""
        with Controller.open(self.config) as cloud, cloud.transaction() as tx:
            for group in ("blue", "red"):
                if tx.groups.show(group).vip_eip:
                    tx.groups.dissociate_eip(group)
            tx.groups.associate_eip("red", eip_id=dying.PUBLIC)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


def points(total: int, share: float) -> list[int]:
    return random.Random(7).sample(range(total), int(share * total))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("move", "share"),
    [("blue", 0.2), pytest.param("blue", 1.0, marks=pytest.mark.long), pytest.param("nowhere", 1.0, marks=pytest.mark.long)],
)
def test_whoever_dies_loses_and_doubles_no_count(stage: Stage, move: str, share: float) -> None:
    """One dies at each point of a move, the next finishes it, another one moves back; all the while packets come and go."""
    total = stage.run(move, -1)
    assert total is not None
    stage.back()
    outside, holders = stage.probe.node(OUTSIDE), ("a", "x")
    inwards = Flow("in", outside, EIP, [stage.probe.node(name) for name in holders], 200)
    outwards = [Flow(name, stage.probe.node(name), WORLD, [outside], 100, source=VIP) for name in holders]
    before = stage.settled()

    def trials() -> None:
        for point in points(total, share):
            assert stage.run(move, point) is None
            stage.settled()
            stage.back()

    with Load([inwards, *outwards]) as load:
        load.offer(1, [(0.2, trials)])
    after = stage.settled()
    came, left = len(inwards.arrived), sum(one.source == EIP for flow in outwards for one in flow.arrived)
    sys.stdout.write(f"in {came} of {len(inwards.sent)} sent, out {left}: {after}\n")
    assert min(came, left) > 100
    assert (after.rx_packets - before.rx_packets, after.rx_bytes - before.rx_bytes) == (came, PACKET * came)
    assert (after.tx_packets - before.tx_packets, after.tx_bytes - before.tx_bytes) == (left, PACKET * left)
    assert not after.lost


@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [0.2, pytest.param(1.0, marks=pytest.mark.long)])
def test_a_vpc_that_goes_leaves_its_counts(stage: Stage, share: float) -> None:
    """Whoever deletes it dies at each point of that; the router goes when its counters have been read."""
    seen, total, at = stage.settled().rx_packets, 0, [-1]
    while at:
        router = brief(stage)
        stage.probe.node(OUTSIDE).run("ip", "neigh", "flush", "dev", "eth0")
        for _ in range(3):  # there is nobody to answer, and still they come in
            stage.probe.udp(OUTSIDE, EIP)
        seen += 3
        assert stage.settled().rx_packets == seen
        passed = stage.run("brief", at.pop())
        if passed is not None:
            total = passed
            at = points(total, share)
        counted = stage.settled()
        assert (counted.rx_packets, counted.lost) == (seen, False)
        with Controller.open(stage.config) as cloud:
            assert exists(router) == (not cloud.groups.show("red").vip_eip)
            if exists(router):  # it died before it began
                dying.with_its_vpc(cloud)
        assert not exists(router)
    assert total > 10


def brief(stage: Stage) -> str:
    """A VPC for a while, with the EIP; the name of its router."""
    with Controller.open(stage.config) as cloud:
        with cloud.transaction() as tx:
            tx.groups.dissociate_eip("red")
            tx.vpcs.create("brief", "192.168.0.0/16")
            tx.networks.create("brief", "192.168.4.0/24", vpc="brief")
            tx.groups.create("brief")
            tx.groups.attach_network("brief", network_id="brief")
            tx.groups.associate_eip("brief", eip_id=dying.PUBLIC)
        return next(router_namespace(vpc.id) for vpc in cloud.topology.all(Vpc) if vpc.name == "brief")
