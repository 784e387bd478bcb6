"""The packet world: each way, each reason, and the evidence for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from vipnet.addresses import link_local, parse_ip
from vipnet.intents import Intent, PortSecurity, SubnetRouting, SubnetSwitching, UplinkSwitching, VipBinding
from vipnet.model import DEFAULT_VPC
from vipnet.packets import OUTSIDE, ROUTER, VRRP_GROUP
from vipnet.testing import Scene, standard_scene
from vipnet_simulator import DamagedLine, Delivered, Dropped, Installed, Packet, Reason, World

SCENE = standard_scene()
VIP, EIP, WORLD = "192.168.7.246", "203.0.113.100", "198.51.100.7"


def _ip(text: str) -> int:
    return parse_ip(text, what="address")[1]


def _nic(server: str) -> str:
    return SCENE.server(server).nic_id


def _world(intents: list[Intent] | None = None, **holders: str) -> World:
    world = World([Installed(intent) for intent in (SCENE.intents() if intents is None else intents)])
    for server, vip in holders.items():
        world.send(_packet(vip, vip, "arp"), from_=_nic(server))
    return world


def _packet(src: str, dst: str, proto: Any = "tcp", **more: Any) -> Packet:
    return Packet(src=_ip(src), dst=_ip(dst), proto=proto, version=6 if ":" in src else 4, **more)


def _from(server: str, dst: str, proto: Any = "tcp", *, src: str | None = None, **more: Any) -> tuple[Packet, str]:
    return _packet(src or SCENE.server(server).ip, dst, proto, **more), _nic(server)


DROPS: list[tuple[Reason, tuple[Packet, str]]] = [
    ("port-security", _from("c", WORLD, src=VIP)),
    ("port-security", _from("c", WORLD, mac="02:00:00:00:00:66")),
    ("not-addressed-to-port", _from("c", "192.168.7.247", onto=_nic("b"))),
    ("unmapped", (_packet(WORLD, "203.0.113.150"), OUTSIDE)),
    ("unmapped", (_packet(WORLD, "203.0.113.150", "arp"), OUTSIDE)),
    ("private-source", _from("p", WORLD)),
    ("private-source", (_packet("192.168.7.10", EIP), OUTSIDE)),
    ("no-holder", (_packet(WORLD, EIP), OUTSIDE)),
    ("no-holder", _from("c", "192.168.7.99")),
    ("no-holder", _from("c", "192.168.7.99", onto=_nic("d"))),
    ("vrrp-guard", _from("c", "224.0.0.18", "vrrp")),
    ("vrrp-guard", _from("a", "192.168.7.10", "vrrp")),
    ("vrrp-guard", (_packet(WORLD, EIP, "vrrp"), OUTSIDE)),
    ("vpc-mode", _from("r", WORLD)),
    ("other-vpc", _from("x", "192.168.8.10")),
    ("closed", (_packet(WORLD, "192.168.7.247"), OUTSIDE)),
    ("closed", (_packet(WORLD, "203.0.113.2"), OUTSIDE)),
    ("closed", (_packet(WORLD, EIP), "no such nic")),
    ("closed", (_packet(WORLD, EIP), "leg:no-such-network")),
]


@pytest.mark.parametrize(("reason", "question"), DROPS)
def test_dropped(reason: Reason, question: tuple[Packet, str]) -> None:
    packet, sender = question
    verdict = _world().send(packet, from_=sender)
    assert isinstance(verdict, Dropped)
    assert verdict.reason == reason
    assert verdict.steps[-1].action == f"dropped: {reason}"


def test_an_uplinks_address_is_there_for_masquerading_alone() -> None:
    question = _packet(WORLD, SCENE.uplink_address.partition("/")[0], "arp")
    answered = _world().send(question, from_=OUTSIDE)
    assert isinstance(answered, Delivered)
    assert answered.to == (ROUTER,)
    idle = [replace(one, masquerade=False) if isinstance(one, UplinkSwitching) else one for one in SCENE.intents()]
    assert isinstance(_world(idle).send(question, from_=OUTSIDE), Dropped)


def test_every_reason_has_its_case() -> None:
    assert {reason for reason, _ in DROPS} | {"no-route", "forbidden-frame"} == set(get_args(Reason))


def test_no_route_without_router_or_uplink_address() -> None:
    routerless = [intent for intent in SCENE.intents() if not intent.id.startswith("vpc:")]
    uplinkless = [intent for intent in SCENE.intents() if not intent.id.startswith("uplink:")]
    for intents in (routerless, uplinkless):
        packet, sender = _from("c", WORLD)
        verdict = _world(intents).send(packet, from_=sender)
        assert isinstance(verdict, Dropped)
        assert verdict.reason == "no-route"


def test_an_eip_leads_to_the_holder_and_says_why() -> None:
    verdict = _world(a=VIP).send(_packet(WORLD, EIP), from_=OUTSIDE)
    assert isinstance(verdict, Delivered)
    assert (verdict.to, verdict.src, verdict.dst) == ((_nic("a"),), _ip(WORLD), _ip(VIP))
    evidence = [step.evidence for step in verdict.steps]
    mapping, subnet = f"eip:{SCENE.eips[0].id}", f"subnet:{SCENE.segment('red-web').id}"
    assert evidence == [mapping, mapping, subnet, f"vip:{SCENE.group('red').vip_id}", f"port:{_nic('a')}"]


def test_routers_answer_arp_for_eips_and_gateways() -> None:
    for packet, sender in ((_packet(WORLD, EIP, "arp"), OUTSIDE), _from("c", "192.168.4.1", "arp")):
        verdict = _world().send(packet, from_=sender)
        assert isinstance(verdict, Delivered)
        assert verdict.to == (ROUTER,)


def test_holders_follow_announcements_of_members_alone() -> None:
    world = _world(a=VIP)
    place = (SCENE.segment("red-web").id, 4, _ip(VIP))
    for stranger in ("c", "x", "d"):
        world.send(_packet(VIP, VIP, "arp"), from_=_nic(stranger))
        assert world.holders[place] == _nic("a")
    world.send(_packet(VIP, "192.168.7.10", "arp"), from_=_nic("b"))  # asks, does not announce
    assert world.holders[place] == _nic("a")
    world.send(_packet(VIP, VIP, "arp"), from_=_nic("b"))
    assert world.holders[place] == _nic("b")


def test_presumed_holders_are_first_members_where_nobody_announced() -> None:
    world = _world(b=VIP).presume_holders()
    assert world.holders[SCENE.segment("red-web").id, 4, _ip(VIP)] == _nic("b")
    assert world.holders[SCENE.segment("blue-web").id, 4, _ip(VIP)] == _nic("x")


def _after(world: World, scene: Scene) -> None:
    world.replace_entries([Installed(intent) for intent in scene.intents()])


def test_connections_end_with_what_they_go_by() -> None:
    world = _world(a=VIP)
    connection = world.connect(_packet(WORLD, EIP), from_=OUTSIDE)
    assert not isinstance(connection, Dropped)
    _after(world, SCENE)
    assert world.lives(connection)
    _after(world, SCENE.without_eip(EIP))
    _after(world, SCENE)  # what was cut stays cut
    assert not world.lives(connection)
    again = world.connect(_packet(WORLD, EIP), from_=OUTSIDE)
    assert not isinstance(again, Dropped)
    world.send(_packet(VIP, VIP, "arp"), from_=_nic("b"))
    assert not world.lives(again)


def test_who_is_no_member_any_more_holds_nothing() -> None:
    world = _world(a=VIP)
    _after(world, SCENE.with_members("red", "b"))
    _after(world, SCENE)
    assert (SCENE.segment("red-web").id, 4, _ip(VIP)) not in world.holders


def test_a_damaged_line_is_in_force_nowhere() -> None:
    entries = [DamagedLine(intent.id, b"?", "broken") for intent in SCENE.intents()]
    packet, sender = _from("c", "192.168.7.248")
    assert isinstance(World(entries).send(packet, from_=sender), Dropped)


def _with_ip6() -> list[Intent]:
    out: list[Intent] = []
    for intent in SCENE.intents():
        if isinstance(intent, SubnetRouting):
            net = 0xFD00 << 112 | (1 if intent.network_id == SCENE.segment("red-web").id else 2) << 64
            out.append(replace(intent, gateway6=net | 1, length6=64))
        elif isinstance(intent, PortSecurity):
            net = 0xFD00 << 112 | (1 if intent.network_id == SCENE.segment("red-web").id else 2) << 64
            out.append(replace(intent, ip6s=(net | intent.ips[-1],)))
        else:
            out.append(intent)
    return out


def test_ipv6_inside_a_vpc_and_no_further() -> None:
    world = _world(_with_ip6())
    ends = {intent.nic_id: intent.ip6s[0] for intent in _with_ip6() if isinstance(intent, PortSecurity)}
    b, c, d = (ends[_nic(server)] for server in ("b", "c", "d"))
    packet = Packet(src=c, dst=b, proto="tcp", version=6)
    for dst, server in ((b, "b"), (d, "d")):
        verdict = world.send(replace(packet, dst=dst), from_=_nic("c"))
        assert isinstance(verdict, Delivered)
        assert verdict.to == (_nic(server),)
    ours = link_local(SCENE.server("c").mac)  # which leads to no other link
    assert isinstance(world.send(replace(packet, src=ours), from_=_nic("c")), Delivered)
    routed = world.send(replace(packet, src=ours, dst=d), from_=_nic("c"))
    assert isinstance(routed, Dropped)
    assert routed.reason == "no-route"
    reasons = {
        "port-security": (replace(packet, src=b, dst=c), _nic("c")),
        "no-route": (replace(packet, dst=_ip("2001:db8::1")), _nic("c")),
        "closed": (replace(packet, src=_ip("2001:db8::1")), OUTSIDE),
        "unmapped": (replace(packet, dst=_ip("2001:db8::1")), OUTSIDE),
        "vrrp-guard": (replace(packet, dst=VRRP_GROUP[6], proto="vrrp"), _nic("c")),
    }
    for reason, (question, sender) in reasons.items():
        verdict = world.send(question, from_=sender)
        assert isinstance(verdict, Dropped)
        assert verdict.reason == reason


def _classic(leg: str | None) -> list[Intent]:
    ports = [intent for intent in SCENE.intents() if isinstance(intent, PortSecurity) and intent.nic_id in (_nic("a"), _nic("c"))]
    switch = SubnetSwitching(network_id="office", vpc_id=DEFAULT_VPC, leg=leg, vlan_id=0)
    return [switch, *(replace(port, network_id="office", vpc_id=DEFAULT_VPC) for port in ports)]


def test_classic_networks_are_layer_2() -> None:
    world = _world(_classic("eth2"))
    packet, sender = _from("a", WORLD)
    out = world.send(packet, from_=sender)
    assert isinstance(out, Delivered)
    assert out.to == (OUTSIDE,)
    back = world.send(_packet(WORLD, "192.168.7.10"), from_="leg:office")
    assert isinstance(back, Delivered)
    assert back.to == (_nic("c"),)
    for claimed, proto, reason in (("192.168.7.247", "arp", "port-security"), (WORLD, "vrrp", "vrrp-guard")):
        verdict = world.send(_packet(claimed, "192.168.7.10", proto), from_="leg:office")
        assert isinstance(verdict, Dropped)
        assert verdict.reason == reason
    told = world.send(_packet("192.168.7.247", "192.168.7.247", "arp"), from_=sender)
    assert isinstance(told, Delivered)
    assert told.to == (_nic("c"), OUTSIDE)
    shut = _world(_classic(None)).send(packet, from_=sender)
    assert isinstance(shut, Dropped)
    assert shut.reason == "no-holder"


def test_a_leg_may_claim_nothing_of_ours() -> None:
    vip = VipBinding(
        vip_id="v", group_id="g", network_id="office", vpc_id=DEFAULT_VPC, ip=_ip("192.168.7.50"), ip6=_ip("fd00::50"), members=()
    )
    world = _world([*_classic("eth2"), vip])
    claims = [
        _packet("192.168.7.50", "192.168.7.10"),
        _packet("fd00::50", "fd00::1"),
        _packet("fd00::99", "fd00::50", "arp", claims=(_ip("fd00::50"),)),
    ]
    for claim in claims:
        verdict = world.send(claim, from_="leg:office")
        assert isinstance(verdict, Dropped)
        assert verdict.reason == "port-security"
