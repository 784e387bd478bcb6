"""One vipnet beside others: what it says over time, what it takes over from another process, who comes and goes meanwhile."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.nftables.conftest import Lab, Subnet, Tap, arp, ip_batch, mapping, uplink_in_use
from tests.nftables.test_driver import EIP, EIP2, Site, nft
from vipnet.backend import BackendContext
from vipnet.model import DEFAULT_VPC
from vipnet.plan import diff
from vipnet_kernel.names import bridge
from vipnet_kernel.netlink import ruleset_generation
from vipnet_kernel.sockets import Sockets
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables import NftablesBackend
from vipnet_nftables.wire.links import linked

pytestmark = pytest.mark.root


@pytest.fixture
def site(lab: Lab) -> Site:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents()])
    return site


def announcements(lab: Lab, site: Site, eip: str, seconds: float) -> int:
    wanted = arp(site.routing.mac, eip, eip)[14:42]
    count = 0
    with Tap(lab.outside) as tap:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            count += sum(frame[14:42] == wanted for frame in tap.frames())
    return count


def test_an_eip_is_announced_three_times_a_second_apart(lab: Lab, site: Site) -> None:
    second = mapping(site.vpc, EIP2, "192.168.4.11")
    with Tap(lab.outside) as tap:
        lab.change([], [second])
        wanted = arp(site.routing.mac, EIP2, EIP2)[14:42]
        first = sum(frame[14:42] == wanted for frame in tap.frames())
    assert (first, announcements(lab, site, EIP2, 2.4)) == (1, 2)


def test_who_ends_at_once_has_announced_each_of_many(lab: Lab, site: Site) -> None:
    eips = [f"203.0.113.{last}" for last in range(110, 140)]
    added = lab.backend.compile([mapping(site.vpc, eip, f"192.168.4.{eip[-3:]}") for eip in eips])
    with Tap(lab.outside) as tap, closing(NftablesBackend(BackendContext(options={"namespace": lab.host}))) as other:
        for step in other.steps(diff({}, added)):
            assert not other.apply(step)
        other.close()
        heard = {frame[14:42] for frame in tap.frames()}
    assert heard >= {arp(site.routing.mac, eip, eip)[14:42] for eip in eips}


def test_an_eip_that_has_gone_is_not_announced_again(lab: Lab, site: Site) -> None:
    second = mapping(site.vpc, EIP2, "192.168.4.11")
    lab.change([], [second])
    nft(site.router, "delete", "element", "arp", "vipnet", "vn_eips", f'{{ "up0" . {EIP2} }}')  # as another process would
    assert announcements(lab, site, EIP2, 2.4) == 0


def test_another_process_takes_over_what_is_stamped(lab: Lab, site: Site) -> None:
    stamp = lab.backend.stamp()
    other = NftablesBackend(BackendContext(options={"namespace": lab.host}))
    try:
        assert other.changed()
        assert other.adopt(stamp)
        assert not other.changed()
        assert other.stamp() == stamp
        assert not other.adopt(stamp.replace(stamp[:4], "0000"))
        assert not other.adopt("")
        nft(site.router, "add", "element", "ip", "vipnet", "vn_vip_out", "{ 192.168.4.11 : 0x1 }")
        assert other.changed()
        assert not other.adopt(stamp)
    finally:
        other.close()


def test_a_change_on_an_adopted_state_needs_no_reading(lab: Lab, site: Site) -> None:
    other = NftablesBackend(BackendContext(options={"namespace": lab.host}))
    try:
        assert other.adopt(lab.backend.stamp())
        entries = other.compile([mapping(site.vpc, EIP2, "192.168.4.11")])
        for step in other.steps(diff({}, entries)):
            assert other.apply(step) == {}
        assert entries.items() <= other.read().items()
    finally:
        other.close()
    assert lab.backend.changed()


@pytest.mark.usefixtures("site")
def test_namespaces_of_others_that_come_and_go_disturb_no_reading(lab: Lab) -> None:
    stop = threading.Event()
    name = "vn-fffffffffff0"

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["ip", "netns", "add", name], check=True)
            stop.wait(0.005)
            subprocess.run(["ip", "netns", "del", name], check=True)
            stop.wait(0.005)

    expected = lab.backend.read()
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(40):
            assert lab.backend.read() == expected
    finally:
        stop.set()
        thread.join()
    assert not Path("/run/netns", name).exists()


def test_what_is_installed_can_be_announced_again(lab: Lab, site: Site) -> None:
    elsewhere = mapping(site.vpc, EIP2, "192.168.4.11")
    with Tap(lab.outside) as tap:
        lab.backend.announce([site.mapping, elsewhere])
        said = [frame[14:42] for frame in tap.frames()]
    assert arp(site.routing.mac, EIP, EIP)[14:42] in said
    assert arp(site.routing.mac, EIP2, EIP2)[14:42] not in said


def test_a_bridge_that_somebody_left_half_made_is_finished(lab: Lab) -> None:
    net = Subnet(DEFAULT_VPC)
    assert not ip_batch(lab.host, [f"link add name {bridge(net.id)} type bridge"])
    lab.apply(net.intents()[:1])
    setting = f"ipv6/conf/{bridge(net.id)}/disable_ipv6"
    assert read_sysctls(lab.host, [setting]) == {setting: "1"}


def test_the_hosts_rules_go_with_the_last_bridge_in_one_transaction(lab: Lab, sockets: Sockets) -> None:
    net = Subnet(DEFAULT_VPC)
    lab.apply(net.intents()[:1])
    with linked(sockets, lab.host) as link:
        before = ruleset_generation(link)
        lab.apply([])
        assert ruleset_generation(link) == before + 1
    assert not nft(lab.host, "list", "ruleset")


def test_announcements_make_no_neighbours_of_the_router(lab: Lab, site: Site) -> None:
    """They come back to it from the bridge."""
    eips = [f"203.0.113.{last}" for last in range(110, 140)]
    lab.change([], [mapping(site.vpc, eip, f"192.168.4.{eip[-3:]}") for eip in eips])
    assert announcements(lab, site, eips[-1], 1.5) >= 1
    known = subprocess.run(["ip", "-n", site.router, "neigh", "show", "dev", "up0"], check=True, capture_output=True, text=True)
    assert not [line for line in known.stdout.splitlines() if line.split()[0] in eips]
