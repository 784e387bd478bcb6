"""The packet promises, IPv4, written once: each a test of a class that any backend's tests inherit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from vipnet.testing.network import NetworkUnderTest
from vipnet.testing.probe import OUTSIDE, VRRP_GROUP, Announcement, Answer, Frame
from vipnet.testing.scene import standard_scene

__all__ = ["PacketPromises"]

WORLD = "203.0.113.1"
UPLINK = "203.0.113.2"
EIP, EIP_BLUE, EIP_GREEN, NO_EIP = "203.0.113.100", "203.0.113.101", "203.0.113.102", "203.0.113.150"
SECOND = "203.0.113.103"
VIP, SPARE = "192.168.7.246", "192.168.7.240"
GATEWAY = "192.168.4.1"
A, B, C, D, P = "192.168.7.247", "192.168.7.248", "192.168.7.10", "192.168.8.10", "192.168.7.31"
FORMS: tuple[Announcement, ...] = ("request", "reply")
ARP: tuple[Literal["arp-request"], Literal["arp-reply"]] = ("arp-request", "arp-reply")


def settle(network: NetworkUnderTest) -> None:
    """Bring the standard scene about, with `a`, `e`, `x` and `p` as holders."""
    network.become(standard_scene())
    for server, vip in (("a", VIP), ("e", SPARE), ("x", VIP), ("p", VIP)):
        network.probe.hold(server, vip)


def within(seconds: float, question: Callable[[], bool]) -> bool:
    """Whether the answer becomes yes in time."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return answer


class PacketPromises:
    """Inherit, and provide a fixture `network` over the standard scene; the numbers are those of the design."""

    def test_p1_outside_reaches_the_holder_by_the_eip(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.tcp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert network.probe.udp(OUTSIDE, EIP, size=4000) == Answer("a", WORLD)
        assert network.probe.ping(OUTSIDE, EIP)

    def test_p1_the_eip_follows_the_holder(self, network: NetworkUnderTest) -> None:
        settle(network)
        for form in FORMS:
            for server in ("b", "a"):
                network.probe.hold(server, VIP, form)
                assert network.probe.udp(OUTSIDE, EIP) == Answer(server, WORLD)

    def test_p2_the_holder_leaves_as_the_eip(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.udp("a", WORLD, src=VIP) == Answer(OUTSIDE, EIP)
        assert network.probe.tcp("a", WORLD, src=VIP) == Answer(OUTSIDE, EIP)
        assert network.probe.ping("a", WORLD, src=VIP)

    def test_p3_hairpin(self, network: NetworkUnderTest) -> None:
        settle(network)
        for sender in ("b", "c", "a"):
            assert network.probe.tcp(sender, EIP) == Answer("a", GATEWAY)
            assert network.probe.udp(sender, EIP) == Answer("a", GATEWAY)
            assert network.probe.ping(sender, EIP)
        assert network.probe.tcp("d", EIP) == Answer("a", GATEWAY)

    def test_p4_dissociated(self, network: NetworkUnderTest) -> None:
        settle(network)
        connection, other = network.probe.connect(OUTSIDE, EIP), network.probe.connect(OUTSIDE, EIP_BLUE)
        assert connection.alive()
        network.become(standard_scene().without_eip(EIP))
        assert not connection.alive()
        assert other.alive()
        assert not network.probe.resolves(OUTSIDE, EIP)
        assert network.probe.udp(OUTSIDE, EIP) is None
        assert network.probe.udp("a", WORLD, src=VIP) == Answer(OUTSIDE, UPLINK)

    def test_p5_moved_to_another_group(self, network: NetworkUnderTest) -> None:
        settle(network)
        connection, other = network.probe.connect(OUTSIDE, EIP), network.probe.connect(OUTSIDE, EIP_BLUE)
        network.become(standard_scene().with_eip(EIP, "spare"))
        assert within(1.0, lambda: network.probe.tcp(OUTSIDE, EIP) == Answer("e", WORLD))
        assert not connection.alive()
        assert other.alive()

    def test_p5_moved_to_another_vpc(self, network: NetworkUnderTest) -> None:
        settle(network)
        network.become(standard_scene().without_eip(EIP_BLUE))
        connection, other = network.probe.connect(OUTSIDE, EIP), network.probe.connect(OUTSIDE, EIP_GREEN)
        network.become(network.scene.with_eip(EIP, "blue"))
        assert within(1.0, lambda: network.probe.tcp(OUTSIDE, EIP) == Answer("x", WORLD))
        assert not connection.alive()
        assert other.alive()

    def test_p5_swapped_eips_take_no_connection_along(self, network: NetworkUnderTest) -> None:
        """Both VIPs keep an EIP, so the answers of the old holders would still get out: only `flush` cuts what was open."""
        settle(network)
        network.become(standard_scene().with_eip(SECOND, "spare"))
        cut = [network.probe.connect(OUTSIDE, eip) for eip in (EIP, SECOND)]
        bystander = network.probe.connect(OUTSIDE, EIP_BLUE)
        network.become(standard_scene().with_eip(EIP, "spare").with_eip(SECOND, "red"))
        assert [one.alive() for one in cut] == [False, False]
        assert bystander.alive()
        assert network.probe.tcp(OUTSIDE, EIP) == Answer("e", WORLD)
        assert network.probe.udp("a", WORLD, src=VIP) == Answer(OUTSIDE, SECOND)
        assert network.probe.udp("e", WORLD, src=SPARE) == Answer(OUTSIDE, EIP)

    def test_p6_a_stranger_cannot_claim_the_vip(self, network: NetworkUnderTest) -> None:
        settle(network)
        for proto in ARP:
            assert network.probe.heard("c", Frame(proto=proto, src=VIP, dst=VIP)) == frozenset()
            assert network.probe.heard("c", Frame(proto=proto, src=VIP, dst=B)) == frozenset()
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)

    def test_p6_a_stranger_cannot_send_from_the_vip(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.heard("c", Frame(proto="udp", src=VIP, dst=B, onto="b")) == frozenset()
        assert network.probe.heard("c", Frame(proto="udp", src=VIP, dst=WORLD, onto=GATEWAY)) == frozenset()
        assert network.probe.heard("c", Frame(proto="vrrp", src=C, dst=VRRP_GROUP)) == frozenset()

    def test_p6_who_was_a_member_is_a_stranger(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert "b" in network.probe.heard("a", Frame(proto="arp-request", src=VIP, dst=VIP))
        network.become(standard_scene().with_members("red", "b"))
        assert network.probe.heard("a", Frame(proto="arp-request", src=VIP, dst=VIP)) == frozenset()
        assert network.probe.heard("a", Frame(proto="udp", src=VIP, dst=B, onto="b")) == frozenset()
        network.probe.hold("b", VIP)
        assert network.probe.udp(OUTSIDE, EIP) == Answer("b", WORLD)

    def test_p7_a_member_can_once_it_is_bound(self, network: NetworkUnderTest) -> None:
        settle(network)
        network.become(standard_scene().with_members("red", "a", "b", "c"))
        network.probe.hold("c", VIP)
        assert network.probe.tcp(OUTSIDE, EIP) == Answer("c", WORLD)
        assert network.probe.udp("c", WORLD, src=VIP) == Answer(OUTSIDE, EIP)
        network.probe.hold("a", VIP)

    def test_p8_no_address_but_its_own(self, network: NetworkUnderTest) -> None:
        settle(network)
        forged = "02:00:00:00:00:66"
        assert network.probe.heard("c", Frame(proto="udp", src=C, dst=B, onto="b")) == {"b"}
        assert network.probe.heard("c", Frame(proto="udp", src=C, dst=B, onto="b", mac=forged)) == frozenset()
        assert network.probe.heard("c", Frame(proto="udp", src=A, dst=B, onto="b")) == frozenset()
        assert network.probe.heard("c", Frame(proto="arp-request", src=C, dst=C, mac=forged)) == frozenset()
        assert network.probe.heard("c", Frame(proto="arp-reply", src=A, dst=B)) == frozenset()

    def test_p8_unicast_goes_to_whom_it_is_addressed(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.heard("c", Frame(proto="udp", src=C, dst=A, onto="b")) == frozenset()

    def test_p9_vrrp_reaches_the_members_of_its_groups_alone(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.heard("a", Frame(proto="vrrp", src=A, dst=VRRP_GROUP)) == {"b"}
        assert network.probe.heard("b", Frame(proto="vrrp", src=B, dst=A, onto="a")) == {"a"}
        assert network.probe.heard("a", Frame(proto="vrrp", src=A, dst=C, onto="c")) == frozenset()

    def test_p10_vpcs_of_the_same_cidr_live_side_by_side(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.tcp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert network.probe.tcp(OUTSIDE, EIP_BLUE) == Answer("x", WORLD)
        assert network.probe.heard("x", Frame(proto="arp-request", src=VIP, dst=VIP)) == frozenset()
        assert network.probe.heard("a", Frame(proto="arp-reply", src=VIP, dst=VIP)) == {"b", "c", "e"}
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert network.probe.udp("x", WORLD, src=VIP) == Answer(OUTSIDE, EIP_BLUE)

    def test_p19_only_mapped_eips_get_in(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.resolves(OUTSIDE, EIP)
        assert not network.probe.resolves(OUTSIDE, NO_EIP)
        assert not network.probe.resolves(OUTSIDE, VIP)
        assert network.probe.udp(OUTSIDE, NO_EIP) is None
        for private in (A, VIP, D):
            for router in (EIP, UPLINK):
                assert network.probe.heard(OUTSIDE, Frame(proto="udp", src=WORLD, dst=private, onto=router)) == frozenset()

    def test_p20_eip_only_vips_leave(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.tcp(OUTSIDE, EIP_GREEN) == Answer("p", WORLD)
        assert network.probe.udp("p", WORLD, src=VIP) == Answer(OUTSIDE, EIP_GREEN)
        assert network.probe.udp("p", WORLD) is None
        assert network.probe.heard("p", Frame(proto="udp", src=P, dst=WORLD, onto=GATEWAY)) == frozenset()

    def test_p20_eip_distgw_servers_leave_masqueraded(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.udp("c", WORLD) == Answer(OUTSIDE, UPLINK)
        assert network.probe.tcp("d", WORLD) == Answer(OUTSIDE, UPLINK)
        assert network.probe.ping("c", WORLD)

    def test_p20_distgw_servers_leave_masqueraded(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.tcp("q", WORLD) == Answer(OUTSIDE, UPLINK)
        assert network.probe.ping("q", WORLD)

    def test_p20_none_nothing_leaves(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.udp("r", WORLD) is None
        assert not network.probe.ping("r", WORLD)
        assert network.probe.ping("r", GATEWAY)

    def test_p21_subnets_of_one_vpc_route_to_each_other(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.tcp("c", D) == Answer("d", C)
        assert network.probe.udp("d", VIP) == Answer("a", D)
        assert network.probe.udp("d", A) == Answer("a", D)

    def test_p21_other_vpcs_are_reached_as_an_outsider_would(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.udp("x", EIP) == Answer("a", UPLINK)
        assert network.probe.tcp("p", EIP, src=VIP) == Answer("a", EIP_GREEN)
        assert network.probe.udp("x", D) is None
        assert network.probe.udp("r", EIP) is None
