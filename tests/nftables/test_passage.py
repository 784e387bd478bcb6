"""What a packet needs at each stage, without a kernel: what the standard scene of the packet tests does not have."""

from __future__ import annotations

from dataclasses import replace

from tests.nftables.conftest import ip
from vipnet.intents import Intent, Member, PortSecurity, SubnetSwitching, VipBinding
from vipnet.model import DEFAULT_VPC
from vipnet.packets import LEG, Delivered, IntentIndex, Journey, Packet
from vipnet_nftables.passage import passage

OFFICE = "0f1ce000-0000-4000-8000-000000000000"
PORT = PortSecurity(
    nic_id="desk",
    network_id=OFFICE,
    vpc_id=DEFAULT_VPC,
    device="tap0",
    mac="02:00:00:00:00:01",
    ip=ip("10.9.0.7"),
    ips=(ip("10.9.0.7"), ip("10.9.0.9")),
    ip6=None,
    ip6s=(),
    vrrp_peers=(),
)
VIP = VipBinding(
    vip_id="v",
    group_id="g",
    network_id=OFFICE,
    vpc_id=DEFAULT_VPC,
    ip=ip("10.9.0.9"),
    ip6=None,
    members=(Member(nic_id="desk", device="tap0", mac="02:00:00:00:00:01"),),
)
SWITCH = SubnetSwitching(network_id=OFFICE, vpc_id=DEFAULT_VPC, leg="eth2", vlan_id=7)
INTENTS: list[Intent] = [SWITCH, PORT, VIP]


def _roles(packet: Packet, from_: str) -> dict[str, set[tuple[str, str]]]:
    """What is what to the packet, by stage: the role, and the key of the entry without what is derived from ids."""
    verdict = Journey(IntentIndex(INTENTS), lambda _place: "desk", packet).follow(from_)
    found = {step.stage: passage(packet, step, "0" * 12) for step in verdict.steps}
    return {stage: {(need.role, need.entry.key.replace("0f1ce0000000", "*")) for need in needs} for stage, needs in found.items()}


def test_a_leg_lets_in_by_its_vlan_and_stops_who_claims_what_is_ours() -> None:
    mark = "253550592"
    packet = Packet(src=ip("10.9.0.50"), dst=ip("10.9.0.7"), proto="tcp")
    stages = _roles(packet, LEG + OFFICE)
    assert stages["leg"] == {
        ("carries", "bridge vnb*"),
        ("carries", "up  vnb*"),
        ("carries", "vlan vnc*"),
        ("carries", "attachment vnc*"),
        ("shows", "guard vnb*"),
        ("guards", ' bridge vn_legs "vnc*"'),
    }
    assert ("admits", ' bridge vn_ip "tap0" . 02:00:00:00:00:01 . 10.9.0.7') in stages["deliver"]
    for claimed in ("10.9.0.7", "10.9.0.9"):
        dropped = _roles(replace(packet, src=ip(claimed)), LEG + OFFICE)
        assert {key for role, key in dropped["leg"] if role == "guards"} == {
            ' bridge vn_legs "vnc*"',
            f" bridge vn_claims {mark} . {claimed}",
        }


def test_out_by_the_leg() -> None:
    stages = _roles(Packet(src=ip("10.9.0.7"), dst=ip("10.9.0.50"), proto="udp"), "desk")
    assert {("carries", "vlan vnc*"), ("carries", "attachment vnc*")} <= stages["deliver"]
    assert ("carries", "attachment tap0") in stages["port-security"]


def test_an_announcement_needs_nothing_of_those_who_hear_it() -> None:
    packet = Packet(src=ip("10.9.0.9"), dst=ip("10.9.0.9"), proto="arp")
    verdict = Journey(IntentIndex(INTENTS), lambda _place: "desk", packet).follow("desk")
    assert isinstance(verdict, Delivered)
    admitted = {key for role, key in _roles(packet, "desk")["port-security"] if role == "admits"}
    assert admitted == {' bridge vn_arp "tap0" . 02:00:00:00:00:01 . 02:00:00:00:00:01 . 10.9.0.9'}
