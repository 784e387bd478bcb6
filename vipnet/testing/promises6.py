"""The packet promises, IPv6, and the fixed list of frames: a class beside `PacketPromises`, for backends that do `ipv6`."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from vipnet.testing import frames
from vipnet.testing.frame_list import FRAMES, SENDER, ends_of
from vipnet.testing.network import NetworkUnderTest
from vipnet.testing.probe import OUTSIDE, VRRP_GROUP6, Answer, Frame
from vipnet.testing.promises import EIP, FORMS, settle
from vipnet.testing.scene import Scene, standard_scene

__all__ = ["Ipv6Promises", "settle6"]

VIP6, SPARE6 = "fd00:4::246", "fd00:4::240"
GATEWAY6, GATEWAY6_DB = "fd00:4::1", "fd00:8::1"
A6, B6, C6, D6 = "fd00:4::247", "fd00:4::248", "fd00:4::10", "fd00:8::10"
WORLD6 = "2001:db8::1"
NOBODY: frozenset[str] = frozenset()


def settle6(network: NetworkUnderTest) -> None:
    """Bring the standard scene about, with `a`, `e` and `x` as holders of both halves of their VIPs."""
    settle(network)
    for server, vip in (("a", VIP6), ("e", SPARE6), ("x", VIP6)):
        network.probe.hold(server, vip)


def holder(network: NetworkUnderTest) -> Answer | None:
    """Who answers at the VIP to a server of another subnet, through the gateway."""
    return network.probe.udp("d", VIP6)


class Ipv6Promises:
    """Inherit, and provide a fixture `network` over the standard scene, dual-stack; the numbers are those of the design."""

    needs: ClassVar[frozenset[str]] = frozenset({"ipv6"})

    def test_p6_a_stranger_cannot_claim_the_vip_by_nd(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert holder(network) == Answer("a", D6)
        for source in (C6, VIP6):
            assert network.probe.heard("c", Frame(proto="na", src=source, dst=VIP6)) == NOBODY
        assert network.probe.heard("c", Frame(proto="ns", src="::", dst=VIP6)) == NOBODY
        assert network.probe.heard("c", Frame(proto="ns", src=VIP6, dst=B6)) == NOBODY
        assert holder(network) == Answer("a", D6)

    def test_p6_a_stranger_cannot_send_from_the_ipv6_vip(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.heard("c", Frame(proto="udp", src=VIP6, dst=B6, onto="b")) == NOBODY
        assert network.probe.heard("c", Frame(proto="udp", src=VIP6, dst=D6, onto=GATEWAY6)) == NOBODY
        assert network.probe.heard("c", Frame(proto="vrrp", src=C6, dst=VRRP_GROUP6)) == NOBODY

    def test_p6_who_was_a_member_is_a_stranger_to_ipv6(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert "b" in network.probe.heard("a", Frame(proto="na", src=VIP6, dst=VIP6))
        assert holder(network) == Answer("a", D6)
        network.become(standard_scene().with_members("red", "b"))
        assert holder(network) is None
        assert network.probe.heard("a", Frame(proto="na", src=A6, dst=VIP6)) == NOBODY
        assert network.probe.heard("a", Frame(proto="udp", src=VIP6, dst=B6, onto="b")) == NOBODY
        network.probe.hold("b", VIP6)
        assert holder(network) == Answer("b", D6)

    def test_p7_a_member_can_use_the_ipv6_vip_once_it_is_bound(self, network: NetworkUnderTest) -> None:
        settle6(network)
        network.become(standard_scene().with_members("red", "a", "b", "c"))
        assert network.probe.heard("c", Frame(proto="ns", src="::", dst=VIP6)) == {"a", "b", "e"}
        network.probe.hold("c", VIP6)
        assert holder(network) == Answer("c", D6)
        assert network.probe.tcp("c", D6, src=VIP6) == Answer("d", VIP6)
        network.probe.hold("a", VIP6)

    def test_p8_no_ipv6_address_but_its_own(self, network: NetworkUnderTest) -> None:
        settle6(network)
        forged = "02:00:00:00:00:66"
        assert network.probe.heard("c", Frame(proto="udp", src=C6, dst=B6, onto="b")) == {"b"}
        assert network.probe.heard("c", Frame(proto="udp", src=C6, dst=B6, onto="b", mac=forged)) == NOBODY
        assert network.probe.heard("c", Frame(proto="udp", src=A6, dst=B6, onto="b")) == NOBODY
        assert network.probe.heard("c", Frame(proto="na", src=C6, dst=C6)) == {"a", "b", "e"}
        assert network.probe.heard("c", Frame(proto="na", src=C6, dst=C6, mac=forged)) == NOBODY

    def test_p8_unicast_ipv6_goes_to_whom_it_is_addressed(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.heard("c", Frame(proto="udp", src=C6, dst=A6, onto="b")) == NOBODY

    def test_p8_each_frame_of_the_list(self, network: NetworkUnderTest) -> None:
        settle6(network)
        ends = ends_of(network.scene)
        heard = {listed.name: network.probe.carried(SENDER, partial(listed.make, ends)) for listed in FRAMES}
        assert heard == {listed.name: listed.heard for listed in FRAMES}

    def test_p9_vrrp_over_ipv6_reaches_the_members_of_its_groups_alone(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.heard("a", Frame(proto="vrrp", src=A6, dst=VRRP_GROUP6)) == {"b"}
        assert network.probe.heard("b", Frame(proto="vrrp", src=B6, dst=A6, onto="a")) == {"a"}
        assert network.probe.heard("a", Frame(proto="vrrp", src=A6, dst=C6, onto="c")) == NOBODY

    def test_p9_extension_headers_do_not_hide_vrrp(self, network: NetworkUnderTest) -> None:
        settle6(network)
        for sender, dst, heard in (("a", VRRP_GROUP6, {"b"}), ("a", C6, NOBODY), ("c", VRRP_GROUP6, NOBODY), ("c", B6, NOBODY)):
            assert network.probe.carried(sender, partial(_hidden, network.scene, sender, dst)) == heard

    def test_p10_ipv6_vips_of_the_same_number_live_side_by_side(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.heard("x", Frame(proto="na", src=VIP6, dst=VIP6)) == NOBODY
        assert network.probe.heard("a", Frame(proto="na", src=VIP6, dst=VIP6)) == {"b", "c", "e"}
        assert holder(network) == Answer("a", D6)
        assert network.probe.udp("x", D6) is None

    def test_p18_the_vip_follows_its_advertisement(self, network: NetworkUnderTest) -> None:
        settle6(network)
        for server in ("b", "a"):
            for form in FORMS:
                network.probe.hold(server, VIP6, form)
                assert holder(network) == Answer(server, D6)
                assert network.probe.tcp("d", VIP6) == Answer(server, D6)

    def test_p18_to_ask_whether_the_vip_is_free_is_no_claim(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert holder(network) == Answer("a", D6)
        assert network.probe.heard("b", Frame(proto="ns", src="::", dst=VIP6)) == {"a", "c", "e"}
        assert holder(network) == Answer("a", D6)

    def test_p18_neighbour_discovery_in_fragments_is_dropped(self, network: NetworkUnderTest) -> None:
        settle6(network)
        own = network.scene.server("c")
        mac = frames.mac_bytes(own.mac)
        message = frames.advertisement(C6, frames.ALL_NODES, C6, frames.link_layer_option("target", mac))
        whole = frames.ip6(58, C6, frames.ALL_NODES, message, hop_limit=255)
        assert network.probe.carried("c", partial(_to_all, mac, whole)) == {"a", "b", "e"}
        atomic = frames.ip6(44, C6, frames.ALL_NODES, frames.fragment(58, message), hop_limit=255)
        first = frames.ip6(44, C6, frames.ALL_NODES, frames.fragment(58, message[:24], more=True), hop_limit=255)
        padded = frames.ip6(60, C6, frames.ALL_NODES, frames.destination_options(58, message), hop_limit=255)
        authenticated = frames.ip6(51, C6, frames.ALL_NODES, frames.authentication(58, message), hop_limit=255)
        for packet in (atomic, first, padded, authenticated):
            assert network.probe.carried("c", partial(_to_all, mac, packet)) == NOBODY

    def test_p18_only_routers_advertise_themselves(self, network: NetworkUnderTest) -> None:
        settle6(network)
        mac = frames.mac_bytes(network.scene.server("a").mac)
        advertised = frames.icmp6(A6, frames.ALL_NODES, 134, bytes([64, 0, 7, 8]) + bytes(8))
        bare = frames.ip6(58, A6, frames.ALL_NODES, advertised, hop_limit=255)
        behind = frames.ip6(0, A6, frames.ALL_NODES, frames.hop_by_hop(58, advertised), hop_limit=255)
        for packet in (bare, behind):
            assert network.probe.carried("a", partial(_to_all, mac, packet)) == NOBODY

    def test_p19_nothing_gets_in_over_ipv6(self, network: NetworkUnderTest) -> None:
        settle6(network)
        for private in (VIP6, A6, D6, GATEWAY6):
            assert not network.probe.resolves(OUTSIDE, private)
            assert network.probe.heard(OUTSIDE, Frame(proto="udp", src=WORLD6, dst=private, onto=EIP)) == NOBODY

    def test_p20_nothing_gets_out_over_ipv6(self, network: NetworkUnderTest) -> None:
        settle6(network)
        for source in (A6, VIP6):
            assert network.probe.heard("a", Frame(proto="udp", src=source, dst=WORLD6, onto=GATEWAY6)) == NOBODY

    def test_p21_subnets_of_one_vpc_route_ipv6_to_each_other(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.resolves("c", GATEWAY6)
        assert network.probe.ping("c", GATEWAY6)
        assert network.probe.ping("c", GATEWAY6_DB)
        assert network.probe.tcp("c", D6) == Answer("d", C6)
        assert network.probe.udp("d", A6) == Answer("a", D6)
        assert network.probe.ping("d", A6)
        assert network.probe.udp("c", D6, size=4000) == Answer("d", C6)

    def test_p21_other_vpcs_are_not_reached_over_ipv6(self, network: NetworkUnderTest) -> None:
        settle6(network)
        assert network.probe.udp("c", A6) == Answer("a", C6)
        assert network.probe.udp("p", A6) is None
        assert network.probe.udp("x", D6) is None
        assert not network.probe.ping("p", D6)


def _hidden(scene: Scene, sender: str, dst: str, mark: bytes) -> list[bytes]:
    """VRRP behind hop-by-hop and destination options, to the group or to the server that has `dst`."""
    server = scene.server(sender)
    src = server.ip6 or ""
    behind = frames.destination_options(112, frames.vrrp(src, dst, mark))
    packet = frames.ip6(0, src, dst, frames.hop_by_hop(60, behind), hop_limit=255)
    peer = next((frames.mac_bytes(one.mac) for one in scene.servers if one.ip6 == dst), frames.multicast_mac(dst))
    return [frames.ethernet(peer, frames.mac_bytes(server.mac), 0x86DD, packet)]


def _to_all(mac: bytes, packet: bytes, mark: bytes) -> list[bytes]:
    return [frames.ethernet(frames.multicast_mac(frames.ALL_NODES), mac, 0x86DD, packet) + mark]
