"""A watch over servers with real keepalived: who holds the VIP, and what goes wrong with that."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import pytest

from vipnet.controller import Controller
from vipnet.events import WatchEvent
from vipnet.lab import Lab, LabServer, frames
from vipnet.lab.netns import ip
from vipnet.lab.node import wait_for
from vipnet.testing import clear
from vipnet.testing.watching import Noise, Seen

pytestmark = pytest.mark.root

VIP = "192.168.7.246"
_CONFIG = """
store = "memory:"
backend = "{backend}"
[backends.{backend}]
{options}
"""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Two members and a stranger, watched; `seen` has what was reported."""

    controller: Controller
    a: LabServer
    b: LabServer
    c: LabServer
    seen: Seen

    def start(self, server: LabServer, advert_int: float) -> None:
        config = self.controller.groups.keepalived_config("g", server.name, advert_int=advert_int, check="/bin/true")
        server.start_keepalived(config)

    def start_both(self, advert_int: float) -> None:
        """Until the first member holds the VIP, and the watch knows."""
        self.start(self.a, advert_int)
        wait_for(lambda: self.a.holds(VIP), "the first member to hold the VIP", timeout=15)
        self.start(self.b, advert_int)
        wait_for(lambda: self.changed("-> a"), "the watch to see it", timeout=5)
        time.sleep(3 * advert_int)  # the second member knows that it is the second
        self.seen.events.clear()

    def changed(self, detail: str) -> bool:
        return any(event.event == "holder-changed" and event.detail.endswith(detail) for event in self.seen.events)

    def of_the_vip(self) -> list[WatchEvent]:
        return [event for event in self.seen.events if event.object == "vip g"]


@pytest.fixture(params=["iptables", "nftables", "ovs"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(prefix="wlab"))
        config = lab.root / "vipnet.toml"
        options = "\n".join(f'{name} = "{value}"' for name, value in lab.options(request.param).items())
        config.write_text(_CONFIG.format(backend=request.param, options=options))
        controller = stack.enter_context(Controller.open(config))
        stack.callback(clear, controller.backend)
        controller.vpcs.create("prod", "192.168.0.0/16", external_access_mode="none")
        controller.networks.create("web", "192.168.4.0/22", vpc="prod")
        a, b, c = (_server(lab, controller, name, at) for at, name in enumerate("abc", 7))
        controller.groups.create("g")
        controller.groups.bind_guests("g", ["a", "b"])
        controller.groups.attach_network("g", ip_addr=VIP)
        seen = Seen()
        stack.enter_context(controller.watch(seen.events.append))
        yield Cloud(controller, a, b, c, seen)


def _server(lab: Lab, controller: Controller, name: str, at: int) -> LabServer:
    address, mac, device = f"192.168.7.24{at}", f"02:00:00:00:00:0{at}", f"vm{at}"
    server = lab.add_server(name, device=device, mac=mac, address=f"{address}/22", gateway="192.168.4.1")
    controller.servers.create(name, nets=[f"web:{address}"], macs=[mac], devices=[device])
    return server


def test_a_clean_stop_is_a_change_of_holder_and_no_split(cloud: Cloud) -> None:
    cloud.start_both(0.3)
    cloud.a.stop_keepalived()
    wait_for(lambda: cloud.changed("a -> b"), "the failover to be seen", timeout=10)
    assert cloud.b.holds(VIP)
    cloud.start(cloud.a, 0.3)
    wait_for(lambda: cloud.changed("b -> a"), "the return to be seen", timeout=20)
    time.sleep(2)
    assert [event.detail for event in cloud.of_the_vip()] == [f"{VIP}: a -> b", f"{VIP}: b -> a"]


def test_a_killed_keepalived_is_a_split_brain_within_3_s(cloud: Cloud) -> None:
    took = _time_to_split(cloud)
    if took > 3.0:
        took = _time_to_split(cloud)
    assert took <= 3.0, cloud.seen.events


def _time_to_split(cloud: Cloud) -> float:
    """Seconds from the death of the holder's keepalived to the event, without those that the machine took; then it is over.

    It dies in the middle between two advertisements: the second member waits for three of them after the last one it heard.
    """
    cloud.start_both(1.0)
    with closing(cloud.b.call(partial(socket.socket, socket.AF_INET, socket.SOCK_RAW, 112))) as ear:
        ear.settimeout(5)
        ear.recv(100)
        time.sleep(0.5)
    with Noise() as noise:
        cloud.a.stop_keepalived(signal.SIGKILL)
        began = time.monotonic()
        event = cloud.seen.wait_for("split-brain")
        took = time.monotonic() - began
    assert (cloud.a.holds(VIP), cloud.b.holds(VIP)) == (True, True)
    assert (event.object, event.detail) == ("vip g", f"{VIP}: a and b have it at once")
    ip(cloud.a.netns, [f"addr del {VIP}/22 dev eth0"])
    assert cloud.seen.wait_for("split-brain-over").detail == f"{VIP}: b has it now"
    assert [event.event for event in cloud.of_the_vip()] == ["holder-changed", "split-brain", "split-brain-over"]
    cloud.b.stop_keepalived()
    cloud.seen.events.clear()
    return took - noise.seconds


def test_a_holder_that_falls_silent(cloud: Cloud) -> None:
    cloud.start_both(0.3)
    cloud.b.stop_keepalived(signal.SIGKILL)
    cloud.a.stop_keepalived(signal.SIGKILL)
    event = cloud.seen.wait_for("holder-silent")
    assert event.object == "vip g"
    assert "no advertisement of a for" in event.detail
    assert cloud.a.holds(VIP)
    cloud.start(cloud.a, 0.3)
    cloud.seen.wait_for("holder-back", 20)


def test_a_holder_that_answers_no_more(cloud: Cloud) -> None:
    _hold(cloud.a)
    wait_for(lambda: cloud.changed("nobody -> a"), "the holder to be seen")
    ip(cloud.a.netns, [f"addr del {VIP}/32 dev eth0"])
    frames.announce(cloud.a, VIP)  # nothing changes by that, but who looks next sees it
    event = cloud.seen.wait_for("holder-silent", 25)
    assert event.detail == f"{VIP}: a answers no ARP, nor does another member"
    ip(cloud.a.netns, [f"addr add {VIP}/32 dev eth0"])
    assert cloud.seen.wait_for("holder-back").detail == f"{VIP}: a is heard again"


def test_a_holder_that_changes_all_the_time(cloud: Cloud) -> None:
    for server in (cloud.a, cloud.b) * 6:
        frames.announce(server, VIP)
        time.sleep(0.1)
    cloud.seen.wait_for("flapping")
    assert len([event for event in cloud.of_the_vip() if event.event == "holder-changed"]) <= 4
    assert len([event for event in cloud.of_the_vip() if event.event == "flapping"]) == 1


def test_who_is_no_member_holds_nothing(cloud: Cloud) -> None:
    frames.announce(cloud.c, VIP)
    frames.announce(cloud.b, "192.168.7.250")
    time.sleep(1)
    assert cloud.of_the_vip() == []


def test_a_question_leaves_no_trace_in_neighbour_tables(cloud: Cloud) -> None:
    _hold(cloud.a)
    wait_for(lambda: cloud.changed("nobody -> a"), "the holder to be seen")
    time.sleep(1.5)
    for server in (cloud.a, cloud.b):
        shown = server.run("ip", "neigh", "show", "dev", "eth0").stdout
        assert "0.0.0.0" not in shown
        assert VIP not in shown


def _hold(server: LabServer) -> None:
    ip(server.netns, [f"addr add {VIP}/32 dev eth0"])
    frames.announce(server, VIP)
