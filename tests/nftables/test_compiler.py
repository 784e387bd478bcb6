"""Intents to entries: golden texts, refusals, and that every entry follows from one intent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnet.errors import DataplaneError
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet.model import DEFAULT_VPC, AccessMode
from vipnet.plan import diff
from vipnet_kernel.port_entries import Attachment
from vipnet_kernel.steps import ordered
from vipnet_nftables.compiler import compile_intents
from vipnet_nftables.entries import NativeEntry
from vipnet_nftables.metering import is_counter
from vipnet_nftables.ruleset import TABLES, declaration

OWNER = "0123456789ab"
NET, VPC = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
PUB = Uplink(name="pub", index=0, device="eth1", address=(0xCB007102, 24), gateway=0xCB007101)

SWITCHING = SubnetSwitching(network_id=NET, vpc_id=VPC, leg=None, vlan_id=0)
ROUTING = SubnetRouting(
    network_id=NET, vpc_id=VPC, gateway=0xC0A80401, length=22, gateway6=None, length6=None, mac="02:00:00:00:00:01"
)
ROUTER = VpcRouting(vpc_id=VPC, tag=3, mode="eip-distgw", mac="02:00:00:00:00:02", uplinks=(PUB,))
PORT = PortSecurity(
    nic_id="n", network_id=NET, vpc_id=VPC, device="tap0", mac="02:00:00:00:00:0a",
    ip=0xC0A807F7, ips=(0xC0A807F6, 0xC0A807F7), ip6s=(), vrrp_peers=("tap1",),
)  # fmt: skip
BINDING = VipBinding(vip_id="v", group_id="g", network_id=NET, vpc_id=VPC, ip=0xC0A807F6, ip6=None, members=())
MAPPING = EipMapping(eip_id="e", vpc_id=VPC, network_id="p", eip=0xCB007164, vip=0xC0A807F6, bandwidth=30, uplink=PUB)


def texts(*intents: Intent) -> list[str]:
    found = compile_intents(intents, OWNER)
    assert [*found] == [entry.key for entry in found.values()]
    return [entry.text for entry in found.values()]


def test_segment() -> None:
    assert texts(SWITCHING) == [
        "link add name vnbaaaaaaaa0000 type bridge",
        "link set dev vnbaaaaaaaa0000 up",
        'add element bridge vipnet vn_bridges { "vnbaaaaaaaa0000" }',
    ]


def test_segment_with_a_tagged_leg() -> None:
    classic = SubnetSwitching(network_id=NET, vpc_id=DEFAULT_VPC, leg="eth2", vlan_id=7)
    assert texts(classic)[2:] == [
        "link add link eth2 name vncaaaaaaaa0000 type vlan id 7",
        "link set dev vncaaaaaaaa0000 master vnbaaaaaaaa0000 up",
        'add element bridge vipnet vn_bridges { "vnbaaaaaaaa0000" }',
        'add element bridge vipnet vn_legs { "vncaaaaaaaa0000" : 2863311530 }',
        'add element bridge vipnet vn_outer { "vncaaaaaaaa0000" }',
    ]


def test_port() -> None:
    mac = "02:00:00:00:00:0a"
    assert texts(PORT) == [
        "link set dev tap0 master vnbaaaaaaaa0000 up",
        'add element bridge vipnet vn_ports { "tap0" }',
        f'add element bridge vipnet vn_arp {{ "tap0" . {mac} . {mac} . 192.168.7.246 }}',
        f'add element bridge vipnet vn_ip {{ "tap0" . {mac} . 192.168.7.246 }}',
        f'add element bridge vipnet vn_arp {{ "tap0" . {mac} . {mac} . 192.168.7.247 }}',
        f'add element bridge vipnet vn_ip {{ "tap0" . {mac} . 192.168.7.247 }}',
        'add element bridge vipnet vn_vrrp { "tap0" . "tap1" }',
    ]


def test_port_with_ipv6() -> None:
    mac = "02:00:00:00:00:0a"
    own, vip = 0xFD000004 << 96 | 0x247, 0xFD000004 << 96 | 0x246
    dual = replace(PORT, vpc_id=DEFAULT_VPC, ip6=own, ip6s=(vip, own))
    assert sorted({*texts(dual)} - {*texts(replace(PORT, vpc_id=DEFAULT_VPC))}) == [
        "add element bridge vipnet vn_claimed { 2863311530 . 0xfd000004000000000000000000000247 }",
        "add element bridge vipnet vn_claims6 { 2863311530 . fd00:4::247 }",
        f'add element bridge vipnet vn_ip6 {{ "tap0" . {mac} . fd00:4::246 }}',
        f'add element bridge vipnet vn_ip6 {{ "tap0" . {mac} . fd00:4::247 }}',
        f'add element bridge vipnet vn_ip6 {{ "tap0" . {mac} . fe80::ff:fe00:a }}',
        'add element bridge vipnet vn_options { "tap0" . 0x10102000000000a }',
        'add element bridge vipnet vn_options { "tap0" . 0x20102000000000a }',
        f'add element bridge vipnet vn_targets {{ "tap0" . {mac} . 0xfd000004000000000000000000000246 }}',
        f'add element bridge vipnet vn_targets {{ "tap0" . {mac} . 0xfd000004000000000000000000000247 }}',
        f'add element bridge vipnet vn_targets {{ "tap0" . {mac} . 0xfe80000000000000000000fffe00000a }}',
    ]


def test_gateway_with_ipv6() -> None:
    leg = "vnsaaaaaaaa0000"
    dual = replace(ROUTING, gateway6=0xFD000004 << 96 | 1, length6=64)
    assert [text for text in texts(ROUTING) if "ipv6" in text] == [
        f"netns exec vn-bbbbbbbb0000 sysctl net/ipv6/conf/{leg}/disable_ipv6=1"
    ]
    assert [text for text in texts(dual) if text not in texts(ROUTING)] == [
        f"netns exec vn-bbbbbbbb0000 sysctl net/ipv6/conf/{leg}/disable_ipv6=0",
        f"-n vn-bbbbbbbb0000 address replace fe80::ff:fe00:1/64 dev {leg}",
        f"-n vn-bbbbbbbb0000 address replace fd00:4::1/64 dev {leg}",
    ]


def test_mapping() -> None:
    translation = [
        "add element ip vipnet vn_eip_vip { 203.0.113.100 : 192.168.7.246 }",
        "add element ip vipnet vn_vip_eip { 192.168.7.246 : 203.0.113.100 }",
        "add element ip vipnet vn_vip_out { 192.168.7.246 : 1 }",
        "add element ip vipnet vn_rx_limit { 203.0.113.100 limit rate over 3750000 bytes/second burst 1 bytes }",
        "add element ip vipnet vn_tx_limit { 203.0.113.100 limit rate over 3750000 bytes/second burst 1 bytes }",
        'add element ip vipnet vn_eips { "up0" . 203.0.113.100 }',
        'add element arp vipnet vn_eips { "up0" . 203.0.113.100 }',
    ]
    assert texts(MAPPING) == [
        "; ".join(translation),
        'add element ip vipnet vn_rx_count { 203.0.113.100 comment "e" }',
        'add element ip vipnet vn_tx_count { 203.0.113.100 comment "e" }',
    ]
    assert texts(BINDING) == []
    assert not any("_limit" in text for text in texts(replace(MAPPING, bandwidth=None)))


def test_router() -> None:
    shown = texts(ROUTER)
    assert "tables vipnet of vn-bbbbbbbb0000: router-eip-distgw" in shown
    assert "-n vn-bbbbbbbb0000 rule add pref 90 iif up0 fwmark 0/0x1ff lookup 90" in shown
    assert "-n vn-bbbbbbbb0000 route replace default via 203.0.113.1 dev up0 onlink table 100" in shown
    assert "-n vn-bbbbbbbb0000 address replace 100.64.0.7/31 dev tr0" in shown
    assert "-n vng-0123456789ab address replace 100.64.0.6/31 dev vtbbbbbbbb0000" in shown
    assert not any("up0" in text for text in texts(replace(ROUTER, mode="distgw")))
    assert not any("tr0" in text for text in texts(replace(ROUTER, mode="eip")))


@pytest.mark.parametrize(
    ("intent", "said"),
    [
        (replace(MAPPING, uplink=None), "needs an uplink"),
        (replace(MAPPING, bandwidth=147574), "147574 Mbit/s.* give 1 to 147573"),
        (replace(PORT, device="tap0 } drop"), "device name"),
        (replace(PORT, vrrp_peers=('x"',)), "device name"),
        (replace(ROUTER, uplinks=(replace(PUB, address=None),)), r"\[uplinks.pub\]"),
        (UplinkSwitching(uplink=replace(PUB, address=None), masquerade=True), r"\[uplinks.pub\]"),
        (replace(ROUTER, uplinks=(replace(PUB, index=300),)), "uplink"),
        (replace(ROUTER, tag=1 << 22), "tag"),
    ],
)
def test_refusals(intent: Intent, said: str) -> None:
    with pytest.raises(DataplaneError, match=said):
        compile_intents([intent], OWNER)


def test_rules_are_constant() -> None:
    assert all(len(declaration(kind)) < 4000 for kind in TABLES)
    assert "FORWARD" not in "".join(declaration(kind) for kind in TABLES)


def test_order_of_steps() -> None:
    before = compile_intents([SWITCHING, PORT], OWNER)
    moved = replace(PORT, network_id="cccccccc-0000-4000-8000-000000000003")
    after = compile_intents([replace(SWITCHING, network_id=moved.network_id), moved], OWNER)
    steps = list(ordered(diff(before, after), counts=is_counter, routes=lambda _: ""))
    assert [step.target for step in steps] == ["links", "ports", "nft:", "ports", "links"]
    assert all(not step.create for step in steps if step.delete and step.target == "ports")
    assert Attachment("tap0", "vnbcccccccc0000") in steps[3].create


ids = st.uuids(version=4).map(str)
ip4s = st.integers(0x0A000000, 0x0A00FFFF)
ip6s = st.integers(0xFD000004 << 96, (0xFD000004 << 96) + 0xFFFF)
uplinks = st.builds(
    Uplink, name=st.just("pub"), index=st.integers(0, 3), device=st.sampled_from(["eth1", "eth2"]),
    address=st.just((0xCB007102, 24)), gateway=st.none() | st.just(0xCB007101),
)  # fmt: skip
macs = st.integers(0, 255).map(lambda n: f"02:00:00:00:00:{n:02x}")
modes: st.SearchStrategy[AccessMode] = st.sampled_from(["eip", "distgw", "eip-distgw", "none"])
devices = st.integers(0, 10**6).map(lambda n: f"tap{n}")
intents: st.SearchStrategy[Intent] = st.one_of(
    st.builds(SubnetSwitching, network_id=ids, vpc_id=ids, leg=st.none(), vlan_id=st.just(0)),
    st.builds(
        SubnetRouting, network_id=ids, vpc_id=ids, gateway=ip4s, length=st.integers(8, 29), gateway6=ip6s | st.none(),
        length6=st.just(64), mac=macs,
    ),
    st.builds(
        VpcRouting, vpc_id=ids, tag=st.integers(1, 9), mode=modes, mac=macs,
        uplinks=st.lists(uplinks, max_size=2, unique_by=lambda uplink: uplink.index).map(tuple),
    ),
    st.builds(
        PortSecurity, nic_id=ids, network_id=ids, vpc_id=ids, device=devices, mac=macs,
        ips=st.sets(ip4s, max_size=4).map(lambda found: tuple(sorted(found))),
        ip6s=st.sets(ip6s, max_size=3).map(lambda found: tuple(sorted(found))),
        vrrp_peers=st.sets(devices, max_size=3).map(tuple),
    ),
    st.builds(
        EipMapping, eip_id=ids, vpc_id=ids, network_id=ids, eip=ip4s, vip=ip4s,
        bandwidth=st.none() | st.integers(1, 100), uplink=uplinks,
    ),
    st.builds(UplinkSwitching, uplink=uplinks, masquerade=st.just(False)),
)  # fmt: skip


def device_of(intent: Intent) -> str:
    return intent.device if isinstance(intent, PortSecurity) else intent.id


@given(st.lists(intents, max_size=8, unique_by=(lambda intent: intent.id, device_of)))  # a device is one server's
def test_entries_are_the_union_of_those_of_each_intent(found: list[Intent]) -> None:
    together = compile_intents(found, OWNER)
    alone: dict[str, NativeEntry] = {}
    for intent in found:
        alone |= compile_intents([intent], OWNER)
    assert together == alone == compile_intents(reversed(found), OWNER)


@given(st.lists(intents, max_size=8))
def test_every_command_is_one_line(found: list[Intent]) -> None:
    for entry in compile_intents(found, OWNER).values():
        for command in (*entry.text.split("; "), entry.key):
            assert not set(command) & set("\n;$`")
