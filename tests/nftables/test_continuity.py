"""What a change must not touch even for a moment: found with a packet a millisecond, asked here for certain."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from tests.nftables.conftest import Lab, ask_udp, ip, uplink_in_use
from tests.nftables.test_driver import EIP, VIP, Site, nft
from vipnet.intents import Released
from vipnet_kernel.namespaces import entered

pytestmark = pytest.mark.root

_ROUTE_GROUP, _DELROUTE = 0x40, 25  # RTMGRP_IPV4_ROUTE, RTM_DELROUTE, <linux/rtnetlink.h>
_HEADER = struct.Struct("=IHHII")


@pytest.fixture
def site(lab: Lab) -> Site:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents()])
    return site


@contextmanager
def deleted_routes(space: str) -> Generator[list[bytes], None, None]:
    """The routes that go in a namespace meanwhile, as the kernel tells it."""
    found: list[bytes] = []
    with entered(space):
        told = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with told:
        told.bind((0, _ROUTE_GROUP))
        yield found
        with suppress(BlockingIOError):
            while message := told.recv(65536, socket.MSG_DONTWAIT):
                found += [message] if _HEADER.unpack_from(message)[1] == _DELROUTE else []


def handles(space: str, family: str) -> dict[str, str]:
    """The chains of our table with their handles: a chain that was made anew has another."""
    lines = nft(space, "-a", "list", "table", family, "vipnet").splitlines()
    return {line.split()[1]: line.split()[-1] for line in lines if line.startswith("\tchain ")}


def test_another_gateway_leaves_the_way_to_its_subnet(lab: Lab, site: Site) -> None:  # P14
    before = site.net.intents()
    after = replace(site.net, gateway="192.168.4.254").intents()
    with deleted_routes(site.router) as gone:
        lab.change(before, after)
    assert gone  # of the old address
    assert not [route for route in gone if socket.inet_aton("192.168.4.0") in route]
    assert not lab.plan([uplink_in_use(), *after, *site.intents()[len(before) :]])


@pytest.mark.parametrize("leaver", ["a", "b"])
def test_a_member_that_leaves_is_forgotten_and_no_other(lab: Lab, site: Site, leaver: str) -> None:  # P6, P14
    """A neighbour that goes takes the packets along that it holds."""
    assert ask_udp(lab.outside, EIP)  # from now on the router knows where the VIP is
    one = {"a": site.a, "b": site.b}[leaver]
    gone = Released(vpc_id=site.vpc, network_id=site.net.id, ip=ip(VIP), eip=None, mac=one.mac)
    lab.change([one.security(VIP)], [one.security()], [gone])
    known = subprocess.run(["ip", "-n", site.router, "neigh", "show", VIP], capture_output=True, text=True, check=True).stdout
    assert (site.a.mac in known) is (leaver == "b")


@pytest.mark.parametrize(
    "damage",
    [
        "add rule ip vipnet vn_forward counter",
        "add chain ip vipnet theirs { type filter hook forward priority 10; }",
        "add chain ip vipnet theirs; add rule ip vipnet vn_forward jump theirs",
        "add map ip vipnet theirs { type ipv4_addr : verdict; elements = { 192.0.2.1 : drop }; }",
        "add set ip vipnet theirs { type ipv4_addr; elements = { 192.0.2.1 }; }",
        "add counter ip vipnet theirs",
        "add chain ip vipnet vn_forward { policy accept; }",
        "delete rule ip vipnet vn_forward handle RULE; delete element ip vipnet vn_eip_vip { 203.0.113.100 }",
    ],
)
def test_no_chain_leaves_its_hook_when_rules_are_repaired(lab: Lab, site: Site, damage: str) -> None:  # P14
    """A chain that goes drops by its policy until it is off its hook, and has no rules by then."""
    rule = next(line for line in nft(site.router, "-a", "list", "table", "ip", "vipnet").splitlines() if "ip protocol" in line)
    before = handles(site.router, "ip")
    nft(site.router, damage.replace("RULE", rule.split()[-1]))
    lab.apply([uplink_in_use(), *site.intents()])
    assert handles(site.router, "ip") == before


def test_a_chain_on_another_hook_is_made_anew(lab: Lab, site: Site) -> None:
    before = handles(site.router, "ip")
    nft(site.router, "flush chain ip vipnet vn_leave; delete chain ip vipnet vn_leave")
    nft(site.router, "add chain ip vipnet vn_leave { type filter hook postrouting priority 10; }")
    lab.apply([uplink_in_use(), *site.intents()])
    assert before.keys() == handles(site.router, "ip").keys()
    assert VIP in nft(site.router, "list", "map", "ip", "vipnet", "vn_eip_vip")
