"""The backend on the real kernel, with real packets."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import closing
from dataclasses import replace

import pytest

from tests.nftables.conftest import (
    OUTSIDE,
    Lab,
    Server,
    Subnet,
    Tap,
    arp,
    ask_tcp,
    ask_udp,
    connect,
    ip,
    ip_batch,
    ip_bytes,
    mac_bytes,
    mapping,
    ours,
    packet,
    ping,
    routing,
    say,
    uplink_in_use,
    uuid,
)
from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError, InputParameterError
from vipnet.intents import Intent, PortSecurity, Released, SubnetSwitching, VipBinding
from vipnet.model import DEFAULT_VPC, AccessMode
from vipnet.plan import diff
from vipnet_kernel.names import router_namespace, subnet_leg
from vipnet_kernel.namespaces import entered
from vipnet_nftables import NftablesBackend

pytestmark = pytest.mark.root

VIP, EIP, EIP2 = "192.168.4.100", "203.0.113.100", "203.0.113.101"


class Site:
    """One VPC with one subnet, a group of a and b with a VIP held by a, and c beside them."""

    def __init__(self, lab: Lab, eip: str = EIP, tag: int = 1, mode: AccessMode = "eip") -> None:
        self.lab = lab
        self.vpc = uuid()
        self.net = Subnet(self.vpc)
        self.a, self.b, self.c = (lab.server(self.net, f"192.168.4.{last}") for last in (10, 11, 12))
        self.mapping = mapping(self.vpc, eip, VIP)
        self.routing = routing(self.vpc, mode, tag)
        self.router = router_namespace(self.vpc)
        self.a.hold(VIP)

    def ports(self) -> list[PortSecurity]:
        return [self.a.security(VIP, peers=[self.b]), self.b.security(VIP, peers=[self.a]), self.c.security()]

    def intents(self) -> list[Intent]:
        return [*self.net.intents(), self.routing, *self.ports(), self.mapping]


def nft(space: str, *command: str) -> str:
    argv = ["ip", "netns", "exec", space, "nft", *command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def site(lab: Lab) -> Site:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents()])
    return site


def watching(server: Server) -> Tap:
    return Tap(server.space)


def seen(tap: Tap, source_mac: str) -> list[bytes]:
    return [frame for frame in tap.frames() if frame[6:12] == mac_bytes(source_mac)]


def test_outside_reaches_the_holder(lab: Lab, site: Site) -> None:  # P1
    assert ask_udp(lab.outside, EIP) == [site.a.space, OUTSIDE]
    assert ask_tcp(lab.outside, EIP) == [site.a.space, OUTSIDE]
    assert ping(lab.outside, EIP)
    assert ask_udp(lab.outside, EIP, data=bytes(4000))[:1] == [site.a.space]


def test_holder_leaves_as_its_eip(lab: Lab, site: Site) -> None:  # P2
    assert ask_udp(site.a.space, OUTSIDE, source=VIP) == [lab.outside, EIP]
    assert ping(site.a.space, OUTSIDE, source=VIP)


def test_hairpin(site: Site) -> None:  # P3
    for server in (site.a, site.b, site.c):
        assert ask_udp(server.space, EIP)[:1] == [site.a.space]
        assert ask_tcp(server.space, EIP)[:1] == [site.a.space]
        assert ping(server.space, EIP)
    assert ask_udp(site.a.space, EIP, source=VIP)[:1] == [site.a.space]


def test_icmp_errors_are_translated(lab: Lab, site: Site) -> None:  # P11
    with entered(lab.outside):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(one):
        one.settimeout(1)
        one.connect((EIP, 9))
        one.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            one.recv(100)
        assert not ip_batch(site.router, [f"link set dev {subnet_leg(site.net.id)} mtu 1300"])
        one.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: always
        with Tap(lab.outside) as tap:
            one.send(bytes(1400))
            time.sleep(0.05)
            with pytest.raises(OSError, match="too long"):
                one.send(bytes(1200))
            one.send(bytes(1200))
            assert not [frame for frame in tap.frames() if frame[26:28] == b"\xc0\xa8"]
    with Tap(lab.outside) as tap:
        tap.send(packet("02:00:00:00:00:fe", site.routing.mac, OUTSIDE, EIP, payload=b"\x03\xe8\0\x09\0\x08\0\0", ttl=1))
        (error,) = [frame for frame in seen(tap, site.routing.mac) if frame[23] == 1]
    assert (error[26:30], error[34], error[58:62]) == (ip(EIP).to_bytes(4, "big"), 11, ip(EIP).to_bytes(4, "big"))


def test_dissociated_eip_is_silent(lab: Lab, site: Site) -> None:  # P4
    session = connect(lab.outside, EIP)
    assert session is not None
    with closing(session):
        assert say(session)
        went = Released(vpc_id=site.vpc, network_id=site.net.id, ip=ip(VIP), eip=ip(EIP))
        lab.change([site.mapping], [], [went])
        session.settimeout(0.4)
        assert say(session) == []
    assert not ping(lab.outside, EIP, wait=0.3)
    with Tap(lab.outside) as tap:
        tap.send(arp("02:00:00:00:00:fe", OUTSIDE, EIP))
        assert not [frame for frame in tap.frames() if frame[20:22] == b"\0\2"]
    assert ask_udp(site.a.space, OUTSIDE, source=VIP, wait=0.3) == []


def test_eip_moves_to_another_vpc(lab: Lab, site: Site) -> None:  # P5
    other = Site(lab, EIP2, tag=2)
    lab.apply([uplink_in_use(), *site.intents(), *other.intents()])
    moved = replace(site.mapping, vpc_id=other.vpc)
    gone = Released(vpc_id=site.vpc, network_id=site.net.id, ip=ip(VIP), eip=ip(EIP))
    old, bystander = connect(lab.outside, EIP), connect(lab.outside, EIP2)
    assert old is not None
    assert bystander is not None
    with closing(old), closing(bystander):
        assert say(old)
        assert say(bystander)
        lab.change([other.mapping], [])
        lab.change([site.mapping], [moved], [gone])
        assert ask_udp(lab.outside, EIP) == [other.a.space, OUTSIDE]  # the upstream's ARP entry was warm
        old.settimeout(0.4)
        assert say(old) == []
    lab.change([moved], [])


def test_other_connections_do_not_notice_a_move(lab: Lab, site: Site) -> None:  # P5
    second = mapping(site.vpc, EIP2, "192.168.4.12")
    lab.change([], [second])
    bystander = connect(lab.outside, EIP2)
    assert bystander is not None
    with closing(bystander):
        gone = Released(vpc_id=site.vpc, network_id=site.net.id, ip=ip(VIP), eip=ip(EIP))
        lab.change([site.mapping], [replace(site.mapping, vip=ip("192.168.4.11"))], [gone])
        assert ask_udp(lab.outside, EIP)[:1] == [site.b.space]
        assert say(bystander)[:1] == [site.c.space]


def test_only_members_use_the_vip(lab: Lab, site: Site) -> None:  # P6, P7
    a, b, c = site.a, site.b, site.c
    with watching(b) as tap, Tap(c.space) as from_c:
        from_c.send(arp(c.mac, VIP, VIP))
        from_c.send(arp(c.mac, VIP, b.ip, operation=2, to=b.mac, tha=b.mac))
        from_c.send(packet(c.mac, b.mac, VIP, b.ip))
        from_c.send(packet(c.mac, "01:00:5e:00:00:12", c.ip, "224.0.0.18", 112))
        assert seen(tap, c.mac) == []
    before = site.c.security()
    lab.change([before], [c.security(VIP, peers=[a, b])])
    with watching(b) as tap, Tap(c.space) as from_c:
        from_c.send(arp(c.mac, VIP, VIP))
        from_c.send(packet(c.mac, b.mac, VIP, b.ip))
        assert len(seen(tap, c.mac)) == 2


def test_ex_member_loses_the_vip(lab: Lab, site: Site) -> None:  # P6
    assert ask_udp(lab.outside, EIP)[:1] == [site.a.space]
    left = Released(vpc_id=site.vpc, network_id=site.net.id, ip=ip(VIP), eip=None)
    lab.change([site.ports()[0], site.ports()[1]], [site.a.security(), site.b.security(VIP)], [left])
    site.b.hold(VIP)
    assert ask_udp(lab.outside, EIP)[:1] == [site.b.space]
    assert ask_udp(site.a.space, site.c.ip, source=VIP, wait=0.3) == []


def test_forged_frames(site: Site) -> None:  # P8
    b, c = site.b, site.c
    good = packet(c.mac, b.mac, c.ip, b.ip)
    forged = [
        packet("02:00:00:00:00:77", b.mac, c.ip, b.ip),
        packet(c.mac, b.mac, "192.168.4.99", b.ip),
        arp(c.mac, c.ip, b.ip, sha="02:00:00:00:00:77"),
        arp("02:00:00:00:00:77", c.ip, b.ip, sha=c.mac),
        arp(c.mac, "0.0.0.0", b.ip),
        good[:12] + b"\x81\x00\x00\x05" + good[12:],
        good[:12] + b"\x81\x00\x00\x00" + good[12:],
        good[:12] + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + good[12:],
        good[:12] + b"\x00\x40\xaa\xaa\x03\x00\x00\x00" + good[12:],
        good[:12] + b"\x86\xdd\x60" + bytes(47),
    ]
    with watching(b) as tap, Tap(c.space) as from_c:
        for frame in forged:
            from_c.send(frame)
        assert seen(tap, c.mac) + seen(tap, "02:00:00:00:00:77") == []
        from_c.send(good)
        assert len(seen(tap, c.mac)) == 1


def test_vrrp_reaches_peers_only(site: Site) -> None:  # P9
    a, b, c = site.a, site.b, site.c
    with watching(b) as at_b, watching(c) as at_c, Tap(site.router, subnet_leg(site.net.id)) as at_router:
        with Tap(a.space) as from_a:
            from_a.send(packet(a.mac, "01:00:5e:00:00:12", a.ip, "224.0.0.18", 112))
            from_a.send(packet(a.mac, c.mac, a.ip, c.ip, 112))
            from_a.send(packet(a.mac, b.mac, a.ip, b.ip, 112))
            from_a.send(packet(a.mac, "01:00:5e:00:00:fb", a.ip, "224.0.0.251"))
        assert [frame[23] for frame in seen(at_b, a.mac) if frame[12:14] == b"\x08\0"] == [112, 112, 17]
        assert [frame[23] for frame in seen(at_c, a.mac)] == [17]
        assert [frame[23] for frame in seen(at_router, a.mac)] == [17]


def test_foreign_unicast_is_not_flooded(site: Site) -> None:
    with watching(site.c) as tap, Tap(site.a.space) as from_a:
        from_a.send(packet(site.a.mac, "02:00:00:00:00:66", site.a.ip, "192.168.4.66"))
        assert seen(tap, site.a.mac) == []


def test_same_addresses_in_two_vpcs(lab: Lab, site: Site) -> None:  # P10, P21
    other = Site(lab, EIP2, tag=2)
    lab.apply([uplink_in_use(), *site.intents(), *other.intents()])
    assert ask_udp(lab.outside, EIP)[:1] == [site.a.space]
    assert ask_udp(lab.outside, EIP2)[:1] == [other.a.space]
    assert ask_udp(site.c.space, "192.168.4.11")[:1] == [site.b.space]
    assert ask_udp(site.a.space, EIP2, source=VIP) == [other.a.space, EIP]
    assert ask_tcp(site.a.space, EIP)[:1] == [site.a.space]
    assert ask_udp(site.c.space, EIP2, wait=0.3) == []


def test_nothing_private_gets_in_or_out(lab: Lab, site: Site) -> None:  # P19, P20
    assert not ip_batch(lab.outside, [f"route add 192.168.4.0/24 via {EIP} onlink dev eth0"])
    with Tap(lab.outside) as tap:
        assert not ping(lab.outside, VIP, wait=0.3)
        assert not ping(lab.outside, site.c.ip, wait=0.3)
        assert ask_udp(site.a.space, OUTSIDE, wait=0.3) == []
        assert ask_udp(site.c.space, OUTSIDE, wait=0.3) == []
        assert ask_udp(site.a.space, OUTSIDE, source=VIP)
        frames = tap.frames()
    private = ip("192.168.4.0").to_bytes(4, "big")[:3]
    senders = {frame[26:29] for frame in frames if frame[12:14] == b"\x08\0" and frame[6:12] != mac_bytes("02:00:00:00:00:fe")}
    askers = {frame[28:31] for frame in frames if frame[12:14] == b"\x08\x06"}
    assert private not in senders | askers


@pytest.mark.parametrize("mode", ["eip", "distgw", "eip-distgw", "none"])
def test_access_modes(lab: Lab, mode: AccessMode) -> None:  # P20
    site = Site(lab, mode=mode)
    intents = site.intents() if mode.startswith("eip") else site.intents()[:-1]
    lab.apply([uplink_in_use(masquerade=True), *intents])
    own = ask_udp(site.c.space, OUTSIDE, wait=0.4)
    assert own == ([lab.outside, "203.0.113.2"] if "distgw" in mode else [])
    if "distgw" in mode:
        assert ask_tcp(site.c.space, OUTSIDE) == [lab.outside, "203.0.113.2"]
        assert ping(site.c.space, OUTSIDE)
    vip = ask_udp(site.a.space, OUTSIDE, source=VIP, wait=0.4)
    assert vip == {"eip": [lab.outside, EIP], "eip-distgw": [lab.outside, EIP], "distgw": own, "none": []}[mode]
    assert bool(ask_udp(lab.outside, EIP, wait=0.4)) == mode.startswith("eip")


def test_masqueraded_vpcs_do_not_meet(lab: Lab) -> None:  # P10, P21
    one, two = Site(lab, mode="eip-distgw"), Site(lab, EIP2, 2, "eip-distgw")
    lab.apply([uplink_in_use(masquerade=True), *one.intents(), *two.intents()])
    assert ask_udp(one.c.space, OUTSIDE) == ask_udp(two.c.space, OUTSIDE) == [lab.outside, "203.0.113.2"]
    assert ask_udp(one.c.space, EIP2) == [two.a.space, "203.0.113.2"]
    assert not ping(one.c.space, "100.64.0.5", wait=0.3)
    assert not ping(lab.outside, "203.0.113.2", wait=0.3)


def test_subnets_of_a_vpc_route(lab: Lab, site: Site) -> None:  # P21
    second = Subnet(site.vpc, "192.168.5.1")
    far = lab.server(second, "192.168.5.10")
    lab.apply([uplink_in_use(), *site.intents(), *second.intents(), far.security()])
    assert ask_udp(site.c.space, far.ip) == [far.space, site.c.ip]
    assert ask_udp(far.space, VIP) == [site.a.space, far.ip]
    assert ask_udp(far.space, EIP)[:1] == [site.a.space]


def test_a_gateway_is_answered_for_in_its_own_subnet_alone(lab: Lab, site: Site) -> None:
    second = Subnet(site.vpc, "192.168.5.1")
    lab.apply([uplink_in_use(), *site.intents(), *second.intents()])
    with watching(site.c) as tap:
        for asked in (site.net.gateway, second.gateway):
            tap.send(arp(site.c.mac, site.c.ip, asked))
        answers = [frame[28:32] for frame in tap.frames() if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"]
    assert answers == [ip_bytes(site.net.gateway)]


def test_failover(lab: Lab, site: Site) -> None:  # P15
    assert ask_udp(lab.outside, EIP)[:1] == [site.a.space]
    site.a.drop(VIP)
    site.b.hold(VIP)
    assert ask_udp(lab.outside, EIP, wait=0.3)[:1] == [site.b.space]
    site.b.drop(VIP)
    assert not ip_batch(site.a.space, [f"address add {VIP}/32 dev eth0"])
    with Tap(site.a.space) as tap:
        tap.send(arp(site.a.mac, VIP, VIP, operation=2, tha="ff:ff:ff:ff:ff:ff"))
    assert ask_udp(lab.outside, EIP, wait=0.3)[:1] == [site.a.space]


def test_new_mapping_is_announced(lab: Lab, site: Site) -> None:
    second = mapping(site.vpc, EIP2, "192.168.4.11")
    with Tap(lab.outside) as tap:
        lab.change([], [second])
        frames = seen(tap, site.routing.mac)
    announced = arp(site.routing.mac, EIP2, EIP2)[14:42]
    assert [frame[14:42] for frame in frames if frame[28:32] == announced[14:18]] == [announced]


def test_router_asks_upstream_as_one_of_its_eips(lab: Lab, site: Site) -> None:
    def asked() -> list[bytes]:
        assert not ip_batch(site.router, ["neigh flush dev up0", "link set dev up0 arp off", "link set dev up0 arp on"])
        with Tap(lab.outside) as tap:
            assert ask_udp(site.a.space, OUTSIDE, source=VIP)
            questions = [frame for frame in seen(tap, site.routing.mac) if frame[12:14] == b"\x08\x06" and frame[21] == 1]
            return [frame[28:32] for frame in questions if frame[28:32] != frame[38:42]]  # announcements are repeated

    second = mapping(site.vpc, EIP2, "192.168.4.11")
    assert set(asked()) == {ip(EIP).to_bytes(4, "big")}
    lab.change([], [second])
    moved = replace(site.mapping, eip=ip("203.0.113.102"))
    lab.change([site.mapping], [])
    lab.change([], [moved])
    assert set(asked()) == {ip(EIP2).to_bytes(4, "big")}
    nft(site.router, "flush", "map", "arp", "vipnet", "vn_asker")
    assert set(asked()) == {bytes(4)}
    assert not lab.plan([uplink_in_use(), *site.intents()[:-1], second, moved])


def test_address_conflict_probe_is_answered(lab: Lab, site: Site) -> None:
    with Tap(lab.outside) as tap:
        tap.send(arp("02:00:00:00:00:fe", "0.0.0.0", EIP))
        (reply,) = seen(tap, site.routing.mac)
    assert reply[20:22] + reply[28:32] + reply[38:42] == b"\0\2" + ip(EIP).to_bytes(4, "big") + bytes(4)


def test_deleted_element_is_drift(lab: Lab, site: Site) -> None:
    intents = [uplink_in_use(), *site.intents()]
    assert not lab.backend.changed()
    nft(site.router, "delete", "element", "ip", "vipnet", "vn_eip_vip", f"{{ {EIP} }}")
    assert lab.backend.changed()
    ((old, new),) = (pair for target in lab.plan(intents).targets for pair in target.replace)
    assert {*new.text.split("; ")} - {*old.text.split("; ")} == {f"add element ip vipnet vn_eip_vip {{ {EIP} : {VIP} }}"}
    lab.apply(intents)
    assert ask_udp(lab.outside, EIP)
    assert not lab.backend.changed()


@pytest.mark.parametrize("family", ["bridge", "ip", "arp"])
def test_changed_rules_are_repaired(lab: Lab, site: Site, family: str) -> None:  # P17
    intents = [uplink_in_use(), *site.intents()]
    space = lab.host if family == "bridge" else site.router
    chain = {"bridge": "vn_guest", "ip": "vn_forward", "arp": "vn_input"}[family]
    good = nft(space, "list", "table", family, "vipnet")
    for damage in (["flush", "chain", family, "vipnet", chain], ["insert", "rule", family, "vipnet", chain, "accept"]):
        nft(space, *damage)
        assert lab.plan(intents)
        lab.apply(intents)
        assert sorted(nft(space, "list", "table", family, "vipnet").split()) == sorted(good.split())
    nft(space, "delete", "table", family, "vipnet")
    lab.apply(intents)
    assert sorted(nft(space, "list", "table", family, "vipnet").split()) == sorted(good.split())
    assert ask_udp(lab.outside, EIP)


def test_links_and_routes_are_repaired(lab: Lab, site: Site) -> None:
    intents = [uplink_in_use(), *site.intents()]
    assert not ip_batch(lab.host, [f"link set dev {site.b.tap} nomaster", "link set dev vnu0 down"])
    assert not ip_batch(site.router, ["route flush table 100", "rule del pref 91", "link set dev up0 address 02:00:00:00:00:55"])
    assert lab.backend.changed()
    lab.apply(intents)
    assert not ip_batch(site.router, ["link del dev up0"])
    lab.apply(intents)
    subprocess.run(["ip", "netns", "del", site.router], check=True)
    time.sleep(0.2)  # the kernel takes the links away when it gets to it
    lab.apply(intents)
    assert ask_udp(lab.outside, EIP)
    assert ask_udp(site.c.space, site.b.ip)


def test_restarted_backend_finds_everything(lab: Lab, site: Site) -> None:  # P17
    with closing(NftablesBackend(BackendContext(options={"namespace": lab.host}))) as second:
        assert second.changed()
        assert not diff(second.read(), second.compile([uplink_in_use(), *site.intents()]))
        assert not second.changed()
    with closing(NftablesBackend(BackendContext(options={"namespace": lab.outside}))) as stranger:
        assert stranger.read() == {}


def test_port_that_appears_later(lab: Lab, site: Site) -> None:
    late = PortSecurity(
        nic_id=uuid(), network_id=site.net.id, vpc_id=site.vpc, device="tap99", mac="02:00:00:00:00:99",
        ip=ip("192.168.4.99"), ips=(ip("192.168.4.99"),), ip6s=(), vrrp_peers=(),
    )  # fmt: skip
    intents = [uplink_in_use(), *site.intents(), late]
    lab.apply(intents)
    assert not ip_batch(lab.host, ["link add name tap99 type veth peer name tap98"])
    assert lab.backend.changed()
    (target,) = lab.plan(intents).targets
    assert [entry.text for entry in target.create] == [f"link set dev tap99 master vnb{site.net.id.replace('-', '')[:12]} up"]
    lab.apply(intents)
    assert not ip_batch(lab.host, ["link del dev tap98"])


def test_foreigners_are_left_alone(lab: Lab, site: Site) -> None:  # P16
    nft(lab.host, "add table bridge theirs { chain c { type filter hook forward priority 0; }; }")
    nft(site.router, "add table ip theirs { set s { type ipv4_addr; elements = { 1.2.3.4 }; }; }")
    assert not ip_batch(lab.host, ["link add name tapbr type bridge", "link add name vnet0 type bridge", "link set vnet0 up"])
    before = nft(lab.host, "list", "table", "bridge", "theirs"), nft(site.router, "list", "table", "ip", "theirs")
    intents = [uplink_in_use(), *site.intents()]
    assert not lab.plan(intents)
    lab.apply(intents[:-1])
    lab.apply(intents)
    assert (nft(lab.host, "list", "table", "bridge", "theirs"), nft(site.router, "list", "table", "ip", "theirs")) == before
    lab.apply([])
    assert nft(lab.host, "list", "tables").split() == ["table", "bridge", "theirs"]
    nft(lab.host, "delete", "table", "bridge", "theirs")
    assert ours(lab.host) == ["vnet0"]
    assert not ip_batch(lab.host, ["link del vnet0"])


def test_classic_network_with_a_leg(lab: Lab) -> None:
    net = Subnet(DEFAULT_VPC, "10.1.0.254")
    here, mac = lab.server(net, "10.1.0.10"), "02:00:00:00:00:fe"
    assert not ip_batch(lab.outside, ["address add 10.1.0.254/24 dev eth0"])
    of_net = {"network_id": net.id, "vpc_id": DEFAULT_VPC}
    vip = VipBinding(vip_id=uuid(), group_id="g", ip=ip("10.1.0.100"), ip6=None, members=(), **of_net)
    lab.apply([SubnetSwitching(network_id=net.id, vpc_id=DEFAULT_VPC, leg="ext0", vlan_id=0), here.security(), vip])
    assert ask_udp(here.space, "10.1.0.254") == [lab.outside, "10.1.0.10"]
    good = packet(mac, here.mac, "10.1.0.254", here.ip)
    with watching(here) as tap, Tap(lab.outside) as out:
        tap.frames()
        out.send(arp(mac, "10.1.0.10", "10.1.0.10"))
        out.send(arp(mac, "10.1.0.100", "10.1.0.100"))
        out.send(packet(mac, here.mac, "10.1.0.100", here.ip))
        out.send(good[:12] + b"\x81\0\0\5" + good[12:])
        assert seen(tap, mac) == []
        out.send(good)
        assert len(seen(tap, mac)) == 1


def test_mode_changes_in_place(lab: Lab, site: Site) -> None:
    both = replace(site.routing, mode="eip-distgw")
    session = connect(lab.outside, EIP)
    assert session is not None
    with closing(session):
        lab.apply([uplink_in_use(masquerade=True), both, *[i for i in site.intents() if i != site.routing]])
        assert say(session)
        assert ask_udp(site.c.space, OUTSIDE)
        lab.apply([uplink_in_use(), *site.intents()])
        assert say(session)
    assert ask_udp(site.c.space, OUTSIDE, wait=0.3) == []


def test_refusals_name_the_key(lab: Lab, site: Site) -> None:
    foreign = [entry for entry in lab.backend.compile([routing(uuid())]).values() if entry.key.startswith("namespace ")]
    name = foreign[0].key.removeprefix("namespace ")
    subprocess.run(["ip", "netns", "add", name], check=True)
    assert not ip_batch(name, ['link set lo alias "vipnet 0123"'])
    (step,) = lab.backend.steps(diff({}, {entry.key: entry for entry in foreign}))
    assert lab.backend.apply(step) == {f"namespace {name}": f"namespace {name} belongs to vipnet 0123"}
    subprocess.run(["ip", "netns", "del", name], check=True)
    nft(site.router, "delete table arp vipnet")
    (step,) = lab.backend.steps(diff({}, lab.backend.compile([mapping(site.vpc, EIP2, "192.168.4.11")])))
    refused = lab.backend.apply(step)
    assert list(refused) == [f"{site.router} eip {EIP2}"]
    assert EIP2 not in nft(site.router, "list", "ruleset")


def test_apply_is_idempotent(lab: Lab, site: Site) -> None:
    entries = lab.backend.compile([uplink_in_use(), *site.intents()])
    for step in lab.backend.steps(diff({}, entries)):
        assert lab.backend.apply(step) == {}
    assert not lab.plan([uplink_in_use(), *site.intents()])
    lab.apply([])
    for step in lab.backend.steps(diff(entries, {})):
        assert lab.backend.apply(step) == {}
    assert ours(lab.host) == []


def test_flush_of_a_router_that_is_gone(lab: Lab) -> None:
    lab.backend.flush([Released(vpc_id=uuid(), network_id=uuid(), ip=1, eip=2)])


def test_what_the_backend_says_of_itself(lab: Lab) -> None:
    assert NftablesBackend.usability().usable
    assert set(lab.backend.versions()) == {"kernel", "nftables", "pyroute2"}
    assert lab.backend.versions()["nftables"][0].isdigit()
    with pytest.raises(InputParameterError, match="namespace"):
        NftablesBackend(BackendContext(options={"netns": "x"}))
    nowhere = NftablesBackend(BackendContext(options={"namespace": "h1-nowhere"}))
    with closing(nowhere), pytest.raises(DataplaneError, match="h1-nowhere"):
        nowhere.read()


def test_a_gateway_moves_within_its_subnet(lab: Lab) -> None:
    vpc = uuid()
    net = Subnet(vpc)
    moved = replace(net, gateway="192.168.4.9")
    rest: list[Intent] = [uplink_in_use(), routing(vpc)]
    lab.apply([*rest, *net.intents()])
    lab.change(net.intents(), moved.intents())
    assert not (plan := lab.plan([*rest, *moved.intents()])), str(plan)
