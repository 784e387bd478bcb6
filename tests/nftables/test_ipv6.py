"""What is of IPv6 alone: the router's legs, what the host does not say, what is read back, and neighbours that are forgotten."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.nftables.conftest import Lab, Subnet, Tap, ip, ip_batch, mac_bytes, ping6, routing, uplink_in_use, uuid
from vipnet.addresses import ip_of
from vipnet.intents import Intent, Released, SubnetRouting
from vipnet.model import DEFAULT_VPC
from vipnet.testing import frames
from vipnet_kernel.handles import Handles
from vipnet_kernel.names import router_namespace, subnet_leg
from vipnet_kernel.neighbours import forget_neighbours
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables.ruleset import TABLES, Kind, declaration

pytestmark = pytest.mark.root

GATEWAY6, VIP6 = "fd00:4::1", "fd00:4::100"


class Site:
    """A VPC with two dual-stack subnets: a and b in one, d in the other."""

    def __init__(self, lab: Lab) -> None:
        self.vpc = uuid()
        self.web = Subnet(self.vpc, gateway6=GATEWAY6)
        self.db = Subnet(self.vpc, "192.168.8.1", gateway6="fd00:8::1")
        self.a, self.b = (lab.server(self.web, f"192.168.4.{last}", f"fd00:4::{last}") for last in (10, 11))
        self.d = lab.server(self.db, "192.168.8.10", "fd00:8::10")

    @property
    def router(self) -> str:
        return router_namespace(self.vpc)

    @property
    def leg(self) -> str:
        return subnet_leg(self.web.id)

    def intents(self, *, vip6: bool = True) -> Iterator[Intent]:
        yield uplink_in_use()
        yield from (*self.web.intents(), *self.db.intents(), routing(self.vpc, "eip"))
        yield from (self.a.security(*([VIP6] if vip6 else [])), self.b.security(VIP6), self.d.security())


@pytest.fixture
def site(lab: Lab) -> Site:
    one = Site(lab)
    lab.apply(one.intents())
    return one


def reaches(space: str, address: str) -> bool:
    """Whether a ping is answered once the links, which come up within a second or so, are up."""
    return any(ping6(space, address) for _ in range(5))


def neighbours(space: str) -> str:
    return subprocess.run(["ip", "-6", "-n", space, "neigh"], check=True, capture_output=True, text=True).stdout


def test_the_gateway_answers_at_once(lab: Lab) -> None:
    """A second of duplicate address detection would be seen."""
    site = Site(lab)
    lab.apply(site.intents())
    shown = subprocess.run(["ip", "-6", "-n", site.router, "addr"], check=True, capture_output=True, text=True).stdout
    assert GATEWAY6 in shown
    assert "tentative" not in shown
    assert reaches(site.a.space, GATEWAY6)


def test_only_legs_in_subnets_have_ipv6(site: Site) -> None:
    shown = subprocess.run(["ip", "-6", "-br", "-n", site.router, "addr"], check=True, capture_output=True, text=True).stdout
    assert {line.split("@")[0] for line in shown.splitlines()} == {site.leg, subnet_leg(site.db.id)}
    names = [f"ipv6/conf/{site.leg}/{name}" for name in ("accept_dad", "addr_gen_mode", "forwarding", "disable_ipv6")]
    assert list(read_sysctls(site.router, names).values()) == ["0", "1", "1", "0"]


def test_the_router_advertises_nothing(site: Site) -> None:
    with Tap(site.a.space) as tap:
        asked = frames.icmp6("fe80::ff:fe00:1", "ff02::2", 133, bytes(4))
        packet = frames.ip6(58, "fe80::ff:fe00:1", "ff02::2", asked, hop_limit=255)
        tap.send(frames.ethernet(frames.multicast_mac("ff02::2"), mac_bytes(site.a.mac), 0x86DD, packet))
        heard = tap.frames(1.0)
    assert not [frame for frame in heard if frame[12:14] == b"\x86\xdd" and frame[54] == 134]


def test_a_host_that_forwards_says_nothing_to_servers(lab: Lab) -> None:
    assert not ip_batch(lab.host, ["link set lo up"])
    argv = ["ip", "netns", "exec", lab.host, "sysctl", "-wq", "net.ipv6.conf.all.forwarding=1"]
    subprocess.run(argv, check=True)
    site = Site(lab)
    known = {site.a.mac, site.b.mac, *(intent.mac for intent in site.web.intents() if isinstance(intent, SubnetRouting))}
    with Tap(site.a.space) as tap:
        lab.apply(site.intents())
        until, heard = time.monotonic() + 2.5, list[bytes]()
        while time.monotonic() < until:
            heard += tap.frames(0.3)
    assert {frame[6:12].hex(":") for frame in heard if frame[12:14] == b"\x86\xdd"} <= known


@pytest.mark.parametrize(
    "address", ["fd00:4::", "fd00:4:0:0:1::", "fd00:4:0:1:0:1:0:1", "fd00:4::ffff:ffff:ffff:ffff", "fd00:4::8000:0:0:0", "::5:7"]
)
def test_addresses_of_all_shapes_are_read_back(lab: Lab, address: str) -> None:
    net = Subnet(DEFAULT_VPC)
    one = replace(lab.server(net, "192.168.4.10"), ip6=address, mac="fe:ff:ff:ff:ff:ff")
    lab.apply([net.intents()[0], one.security()])  # sees that nothing is left to do


def test_a_lost_gateway_is_drift(lab: Lab, site: Site) -> None:
    for line in (f"address del {GATEWAY6}/64 dev {site.leg}", f"link set {site.leg} down"):
        assert not ip_batch(site.router, [line])
        assert lab.plan(site.intents())
        lab.apply(site.intents())
        assert reaches(site.d.space, site.a.ip6)


def test_a_new_holders_advertisement_counts_at_once(site: Site) -> None:
    assert reaches(site.d.space, site.a.ip6)
    assert reaches(site.d.space, site.b.ip6)
    for holder in (site.a, site.b, site.a):
        for one in (site.a, site.b):
            ip_batch(one.space, [f"address del {VIP6}/128 dev eth0"])
        assert not ip_batch(holder.space, [f"address add {VIP6}/128 dev eth0 nodad"])
        with Tap(holder.space) as tap:
            tap.send(frames.neighbour_advertisement(mac_bytes(holder.mac), VIP6, VIP6))
        assert ping6(site.d.space, VIP6)
        assert f"{VIP6} dev {site.leg} lladdr {holder.mac}" in neighbours(site.router)


def test_who_may_hold_a_vip_no_more_is_forgotten(lab: Lab, site: Site) -> None:
    assert not ip_batch(site.a.space, [f"address add {VIP6}/128 dev eth0 nodad"])
    assert reaches(site.d.space, VIP6)
    gone = Released(vpc_id=site.vpc, network_id=site.web.id, ip=ip_of(VIP6), eip=None, version=6)
    lab.change(site.intents(), site.intents(vip6=False), [gone])
    assert VIP6 not in neighbours(site.router)
    assert not ping6(site.d.space, VIP6)


def test_neighbours_of_both_families_are_forgotten(handles: Handles, space: str) -> None:
    name = f"d{secrets.token_hex(3)}"
    mac = "02:00:00:00:00:01"
    lines = [f"link add {name} type veth peer name {name}p", f"link set {name} up", "link set lo up"]
    lines += [f"neigh add {one} lladdr {mac} dev {name}" for one in ("192.0.2.1", "fd00::1", "fd00::2")]
    assert not ip_batch(space, lines)
    forget_neighbours(handles, space, [(4, ip("192.0.2.1"), None), (6, ip_of("fd00::1"), None), (6, ip_of("fd00::9"), None)])
    left = subprocess.run(["ip", "-n", space, "neigh"], check=True, capture_output=True, text=True).stdout
    assert "fd00::2" in left
    assert "192.0.2.1" not in left
    assert "fd00::1" not in neighbours(space)


def test_a_segment_without_ipv6_carries_none(lab: Lab) -> None:
    vpc = uuid()
    net = Subnet(vpc)
    a, b = (lab.server(net, f"192.168.4.{last}") for last in (10, 11))
    lab.apply([uplink_in_use(), *net.intents(), routing(vpc, "eip"), a.security(), b.security()])
    mac = mac_bytes(a.mac)
    with Tap(a.space) as mouth, Tap(b.space) as ear:
        for frame in (
            frames.neighbour_advertisement(mac, "fe80::ff:fe00:1", "fe80::ff:fe00:1"),
            frames.neighbour_solicitation(mac, "::", "fe80::ff:fe00:1"),
        ):
            mouth.send(frame)
        assert not [frame for frame in ear.frames() if frame[6:14] == mac + b"\x86\xdd"]


@pytest.mark.parametrize("kind", TABLES)
def test_what_nft_lists_it_takes_back(space: str, kind: Kind) -> None:
    """An operator may save and restore the rules of a machine."""
    nft = ["ip", "netns", "exec", space, "nft"]
    subprocess.run([*nft, "-f", "-"], input=declaration(kind), check=True, text=True)
    listed = subprocess.run([*nft, "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    subprocess.run([*nft, "-f", "-"], input=f"flush ruleset\n{listed}", check=True, text=True)
    assert subprocess.run([*nft, "list", "ruleset"], check=True, capture_output=True, text=True).stdout == listed
