"""Limits and counters of EIPs, by real packets and by a Controller's verbs."""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path

import pytest

from tests.nftables.conftest import OUTSIDE, Lab, Server, Subnet, Tap, ask_tcp, ask_udp, connect, packet, ping, say
from tests.nftables.shared_cloud import SharedCloud
from tests.nftables.test_driver import nft
from vipnet.controller import Controller
from vipnet.model import Eip, Network, Vpc, mac_of, short_id
from vipnet.views import Counters
from vipnet_kernel.names import router_namespace
from vipnet_kernel.namespaces import entered
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.wire.elements import Limit, SetElement, by_key
from vipnet_nftables.wire.links import linked

pytestmark = pytest.mark.root

WORLD_MAC = "02:00:00:00:00:fe"
VIP, VIP_OF_B, EIP, EIP_OF_B = "192.168.4.100", "192.168.4.101", "203.0.113.100", "203.0.113.101"
IP_UDP = 28
"""Bytes of the two headers; ICMP's is as long as UDP's."""

Change = tuple[int, int, int, int]


class Site:
    """Groups a and b, of one server each that holds its VIP, and each with an EIP; none has a limit."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        net = Subnet("red")
        self.lab = lab
        self.a, self.b = lab.server(net, "192.168.4.10"), lab.server(net, "192.168.4.11")
        self.shared = SharedCloud(lab.host, folder, self._fill)
        self.cloud = self.shared.opened()
        self.vpc = next(vpc for vpc in self.cloud.topology.all(Vpc) if vpc.name == "red")
        self.router = router_namespace(self.vpc.id)
        self.a.hold(VIP)
        self.b.hold(VIP_OF_B)

    def _fill(self, cloud: Controller) -> None:
        cloud.vpcs.create("red", "192.168.0.0/16", external_access_mode="eip")
        cloud.networks.create("web", "192.168.4.0/24", vpc="red")
        cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
        self._group(cloud, "a", self.a, VIP, EIP)
        self._group(cloud, "b", self.b, VIP_OF_B, EIP_OF_B)

    def _group(self, cloud: Controller, name: str, server: Server, vip: str, eip: str) -> None:
        cloud.servers.create(name, nets=[f"web:{server.ip}"], devices=[server.tap], macs=[server.mac])
        cloud.groups.create(name)
        cloud.groups.bind_guests(name, [name])
        cloud.groups.attach_network(name, ip_addr=vip, require_designated_ip=True)
        cloud.eips.create(f"of-{name}", network="pub", ip_addr=eip, charge_type="traffic")
        cloud.groups.associate_eip(name, eip_id=f"of-{name}")

    def counters(self, group: str = "a") -> Counters:
        found = self.cloud.counters(group)
        assert found is not None
        return found

    def counted(self, act: Callable[[], object], group: str = "a") -> Change:
        """By how much the counters of a group's EIP grow."""
        before = self.counters(group)
        act()
        after = self.counters(group)
        return (
            after.rx_packets - before.rx_packets,
            after.rx_bytes - before.rx_bytes,
            after.tx_packets - before.tx_packets,
            after.tx_bytes - before.tx_bytes,
        )

    def listed(self, name: str) -> str:
        return nft(self.router, "list", "set", "ip", "vipnet", name)


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    one = Site(lab, tmp_path)
    yield one
    one.cloud.close()


def test_packets_are_counted_one_by_one(lab: Lab, site: Site) -> None:  # P13
    assert site.counters() == Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=False)
    assert site.counted(lambda: [ping(lab.outside, EIP) for _ in range(5)]) == (5, 5 * IP_UDP, 5, 5 * IP_UDP)
    assert site.counted(lambda: [ping(site.a.space, OUTSIDE, source=VIP) for _ in range(3)]) == (3, 3 * IP_UDP, 3, 3 * IP_UDP)
    answer = len(f"{site.a.space} {OUTSIDE} ") + 100 + IP_UDP
    asked = site.counted(lambda: [ask_udp(lab.outside, EIP, data=bytes(100)) for _ in range(20)])
    assert asked == (20, 20 * (100 + IP_UDP), 20, 20 * answer)
    answer = len(f"{lab.outside} {EIP} ") + 100 + IP_UDP
    assert site.counted(lambda: ask_udp(site.a.space, OUTSIDE, source=VIP, data=bytes(100))) == (1, answer, 1, 100 + IP_UDP)
    assert site.counters("b") == Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=False)


def test_what_a_virtual_machine_has_merged_is_counted_one_by_one(lab: Lab, site: Site) -> None:  # P13
    """It tells the size of segments, and not how many there are."""
    mac, size, count = "02:00:00:00:99:01", 1000, 4
    with closing(tap_device(lab.host, "vm0")) as tap:
        site.cloud.servers.create("vm", nets=["web"], devices=["vm0"], macs=[mac], groups=["a"])
        network = next(one for one in site.cloud.topology.all(Network) if one.name == "web")
        tcp = struct.pack("!HHIIBBHHH", 4000, 4001, 1, 1, 0x50, 0x10, 1000, 0, 0)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp) + count * size, 1, 0x4000, 64, 6, 0)
        head += socket.inet_aton(VIP) + socket.inet_aton(OUTSIDE)
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        pseudo = head[12:20] + struct.pack("!BBH", 0, 6, len(tcp) + count * size)
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo) ^ 0xFFFF) + tcp[18:]  # the sum of what the segments share
        merged = struct.pack("=BBHHHH", 1, 1, 14 + 40, size, 14 + 20, 16)  # struct virtio_net_hdr: to be summed up; TCP over IPv4
        ethernet = bytes.fromhex((mac_of(network.id) + mac).replace(":", "")) + b"\x08\x00"
        sent = site.counted(lambda: tap.write(merged + ethernet + head + tcp + bytes(count * size)))
    assert sent[2:] == (count, count * (40 + size))  # and as many resets come back


def tap_device(space: str, name: str) -> FileIO:
    """The end of a virtual machine's interface that the machine itself has."""
    with entered(space):
        tap = FileIO("/dev/net/tun", "r+")
        fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x5002))  # TUNSETIFF: IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
        subprocess.run(["ip", "link", "set", name, "addrgenmode", "none"], check=True)
    return tap


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total % 0xFFFF) & 0xFFFF


def test_what_crosses_no_uplink_is_not_counted(lab: Lab, site: Site) -> None:  # P13
    router = mac_of(site.vpc.id)
    spoofed = packet(WORLD_MAC, router, site.b.ip, EIP, payload=struct.pack("!4H", 9, 9, 8, 0))

    def inside() -> None:
        assert ask_udp(site.b.space, EIP)
        assert ask_tcp(site.a.space, EIP)
        assert ask_udp(site.b.space, VIP)
        assert ask_udp(site.b.space, EIP, source=VIP_OF_B)  # of one VPC: they meet in the router
        with Tap(lab.outside) as tap:
            tap.send(spoofed)

    assert site.counted(inside) == (0, 0, 0, 0)


def test_counters_survive_changes_and_processes(lab: Lab, site: Site) -> None:  # P13
    assert ping(lab.outside, EIP)
    once = site.counters()
    assert once.rx_packets == once.tx_packets == 1
    site.cloud.eips.change_bandwidth("of-a", 50)
    site.cloud.eips.change_bandwidth("of-a", 5)
    site.cloud.groups.dissociate_eip("a")
    assert site.cloud.eips.show("of-a").counters == once
    site.cloud.groups.associate_eip("a", eip_id="of-a")
    site.cloud.apply(audit=True)
    assert not site.cloud.plan()
    assert site.counters() == once
    argv = [sys.executable, "-m", "vipnet", "--config", str(site.shared.config), "-o", "json"]
    subprocess.run([*argv, "eip-change-bandwidth", "of-a", "7"], check=True, capture_output=True)
    shown = json.loads(subprocess.run([*argv, "eip-show", "of-a"], check=True, capture_output=True).stdout)
    assert shown["counters"] == {"rx_packets": 1, "rx_bytes": 28, "tx_packets": 1, "tx_bytes": 28, "lost": False}
    assert shown["bandwidth"] == 7
    assert site.counters() == once


def test_counters_move_with_their_eip_within_a_vpc(lab: Lab, site: Site) -> None:  # P13
    assert ping(lab.outside, EIP)
    once = site.counters()
    with site.cloud.transaction() as tx:
        for group in ("a", "b"):
            tx.groups.dissociate_eip(group)
        tx.groups.associate_eip("b", eip_id="of-a")
    assert ask_udp(lab.outside, EIP)[:1] == [site.b.space]
    assert site.counters("b").rx_packets == once.rx_packets + 1


def test_another_eip_of_the_same_address_begins_at_0(lab: Lab, site: Site) -> None:  # P13
    assert ping(lab.outside, EIP)
    with site.cloud.transaction() as tx:
        tx.groups.dissociate_eip("a", auto_delete=True)
        tx.eips.create("next", network="pub", ip_addr=EIP, charge_type="traffic")
        tx.groups.associate_eip("a", eip_id="next")
    assert site.counters() == Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=False)
    assert not site.cloud.apply(audit=True).changed
    assert site.counted(lambda: ping(lab.outside, EIP)) == (1, IP_UDP, 1, IP_UDP)


def test_a_counter_that_somebody_else_made_anew_is_lost(lab: Lab, site: Site) -> None:  # P13
    assert ping(lab.outside, EIP)
    element = f"element ip vipnet vn_tx_count {{ {EIP} }}"
    nft(site.router, f"delete {element}; add {element}")
    assert ping(lab.outside, EIP)
    assert site.counters() == Counters(rx_packets=2, rx_bytes=2 * IP_UDP, tx_packets=0, tx_bytes=0, lost=True)
    site.cloud.apply()
    assert not site.cloud.plan()
    assert site.counters().lost
    assert site.counted(lambda: ping(lab.outside, EIP)) == (1, IP_UDP, 1, IP_UDP)


@pytest.mark.parametrize("damage", ["flush table ip vipnet", "add chain ip vipnet theirs", "delete table arp vipnet"])
def test_counters_survive_the_repair_of_rules(lab: Lab, site: Site, damage: str) -> None:  # P13
    assert ping(lab.outside, EIP)
    once = site.counters()
    nft(site.router, damage)
    site.cloud.apply()
    assert not site.cloud.plan()
    assert site.counters() == once
    assert site.counted(lambda: ping(lab.outside, EIP)) == (1, IP_UDP, 1, IP_UDP)


@pytest.mark.parametrize(
    "damage",
    ["flush ruleset", "delete table ip vipnet", "delete set", f"delete element ip vipnet vn_tx_count {{ {EIP} }}"],
)
def test_what_was_forgotten_is_lost(lab: Lab, site: Site, damage: str) -> None:  # P13
    assert ping(lab.outside, EIP)
    if damage == "delete set":
        damage = "flush chain ip vipnet vn_leave; delete set ip vipnet vn_tx_count"
    nft(site.router, damage)
    assert site.counters().lost
    site.cloud.apply()
    assert not site.cloud.plan()
    assert site.counters().lost
    assert site.counted(lambda: ping(lab.outside, EIP)) == (1, IP_UDP, 1, IP_UDP)
    with site.shared.opened() as other:
        found = other.counters("a")
        assert found is not None
        assert found.lost
        other.eips.change_bandwidth("of-a", 5)
        assert other.counters("a") == found
        other.groups.dissociate_eip("a")
        other.groups.associate_eip("a", eip_id="of-a")
        assert other.counters("a") == found  # for good: nobody knows what it should be


def test_counters_of_a_namespace_that_is_gone_are_lost(site: Site) -> None:
    subprocess.run(["ip", "netns", "del", site.router], check=True)
    assert site.counters() == Counters(rx_packets=0, rx_bytes=0, tx_packets=0, tx_bytes=0, lost=True)
    time.sleep(0.2)  # the kernel takes the links away when it gets to it


def test_the_kernels_answer_is_what_nft_shows(lab: Lab, site: Site, sockets: Sockets) -> None:
    assert ping(lab.outside, EIP)
    assert f"{EIP} counter packets 1 bytes 28 comment" in site.listed("vn_rx_count")
    site.cloud.eips.change_bandwidth("of-a", 1)
    owner = next(short_id(eip.id) for eip in site.cloud.topology.all(Eip) if eip.name == "of-a")
    key = socket.inet_aton(EIP)
    with linked(sockets, site.router) as link:
        found = {name: by_key(link, "ip", name, [key]) for name in ("vn_rx_count", "vn_rx_limit", "vn_eip_vip", "none")}
    assert found == {
        "vn_rx_count": {key: SetElement(key, counted=(1, 28), comment=owner)},
        "vn_rx_limit": {key: SetElement(key, limit=Limit(125_000, 1, 1, over=True))},
        "vn_eip_vip": {key: SetElement(key, socket.inet_aton(VIP))},
        "none": {},
    }
    large = "counter packets 9999999999 bytes 12345678901234"
    nft(site.router, f'add element ip vipnet vn_rx_count {{ 1.2.3.4 {large} comment "theirs" }}')
    other = bytes([1, 2, 3, 4])
    with linked(sockets, site.router) as link:
        there = by_key(link, "ip", "vn_rx_count", [other])
    assert there == {other: SetElement(other, counted=(9999999999, 12345678901234), comment="theirs")}


def test_a_limit_changed_by_hand_is_repaired(site: Site) -> None:
    site.cloud.eips.change_bandwidth("of-a", 8)
    good = site.listed("vn_rx_limit"), site.listed("vn_tx_limit")
    assert all(EIP in text and EIP_OF_B not in text for text in good)
    element = f"element ip vipnet vn_rx_limit {{ {EIP} }}"
    other = f"add element ip vipnet vn_rx_limit {{ {EIP} limit rate over 2048 kbytes/second burst 3 kbytes }}"
    rows = [
        (f"delete {element}; {other}", "rate over 2097152 bytes/second burst 3072 bytes", "rate over 1000000 bytes/second"),
        (f"delete {element}", EIP, "rate over 1000000 bytes/second"),
        (f"add {element.replace(EIP, EIP_OF_B)}", "rate over 1 bytes/second", EIP_OF_B),
    ]
    for damage, before, after in rows:
        nft(site.router, damage)
        (target,) = site.cloud.plan().as_json()["targets"]
        (replaced,) = target["replace"]
        assert not target["create"]
        assert not target["delete"]
        assert after in replaced["text"]
        assert before in str(site.cloud.plan())
        site.cloud.apply()
        assert not site.cloud.plan()
        assert (site.listed("vn_rx_limit"), site.listed("vn_tx_limit")) == good


def test_a_changed_limit_leaves_connections_alone(lab: Lab, site: Site) -> None:  # P12
    session = connect(lab.outside, EIP)
    assert session is not None
    with closing(session):
        assert say(session)[0] == site.a.space
        for mbps in (1, 1000):
            site.cloud.eips.change_bandwidth("of-a", mbps)
            assert say(session)[0] == site.a.space
        rx, tx = site.counters().rx_packets, site.counters().tx_packets
        assert rx >= 5
        assert tx >= 4
