"""The kernel side: what is tolerated, what is refused and in which words, what is read and what is cut."""

from __future__ import annotations

import errno
import re
import secrets
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from tests.nftables.conftest import (
    Lab,
    Subnet,
    ask_udp,
    connect,
    ip,
    ip_batch,
    link,
    mapping,
    ping,
    routing,
    say,
    uplink_in_use,
    uuid,
    veth,
)
from vipnet.backend import BackendContext
from vipnet.intents import Released, SubnetSwitching
from vipnet.model import DEFAULT_VPC
from vipnet.plan import TargetPlan, diff
from vipnet_kernel import links, namespaces
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth
from vipnet_kernel.links import inventory
from vipnet_kernel.names import router_namespace
from vipnet_kernel.namespaces import entered
from vipnet_kernel.neighbours import forget_neighbours
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.requests import (
    Device,
    MakeNamespace,
    NamespaceOf,
    RemoveNamespace,
    Request,
    RouteRequest,
    WriteSetting,
    send,
)
from vipnet_kernel.route_entries import Route, Rule
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables import NftablesBackend
from vipnet_nftables.entries import NativeEntry

pytestmark = pytest.mark.root


@pytest.fixture
def backend(space: str) -> Iterator[NftablesBackend]:
    with closing(NftablesBackend(BackendContext(options={"namespace": space}))) as one:
        yield one


# refusals and what is none


def test_refusals_have_the_kernels_number_and_words(handles: Handles, space: str) -> None:
    veth(handles, space)
    no_such = {"address": "192.0.2.1", "prefixlen": 24}
    asked: list[tuple[Request, int, str]] = [
        (link("add", ifname="a", kind="bridge"), errno.EEXIST, "File exists"),
        (link("set", ifname="nope", state="up"), errno.ENODEV, "No such device"),
        (link("set", ifname="a", master=Device("nope")), errno.ENODEV, "No such device"),
        (link("add", ifname="c", kind="veth", peer={"net_ns_fd": NamespaceOf("h1-nowhere")}), errno.ENOENT, "No such file"),
        (RouteRequest("addr", "del", {"index": Device("a"), **no_such}), errno.EADDRNOTAVAIL, "not found"),
        (RouteRequest("route", "del", {"dst": "192.0.2.0/24", "table": 77}), errno.ESRCH, "table does not exist"),
        (RouteRequest("route", "add", {"dst": "192.0.2.0/24", "gateway": "198.51.100.1"}), errno.ENETUNREACH, "invalid gateway"),
        (RouteRequest("rule", "del", {"priority": 7, "table": 77}), errno.ENOENT, "No such file"),
        (MakeNamespace(space), errno.EEXIST, "File exists"),
        (RemoveNamespace("h1-nowhere"), errno.ENOENT, "No such file"),
        (WriteSetting("ipv4/no_such_setting", "1"), errno.ENOENT, "No such file"),
        (WriteSetting("ipv4/ip_forward", "much"), errno.EINVAL, "Invalid argument"),
        (link("set", ifname="b", state="up"), 0, ""),
    ]
    refused = send(handles, space, [request for request, _, _ in asked])
    assert [refused[at].code if at in refused else 0 for at in range(len(asked))] == [code for _, code, _ in asked]
    assert all(words in refused[at].reason for at, (_, code, words) in enumerate(asked) if code)
    assert inventory(handles, space).links["b"].up


def test_what_is_done_before_and_gone_before_is_no_refusal(backend: NftablesBackend, space: str) -> None:
    router, far = f"vn-{secrets.token_hex(6)}", f"vnr{secrets.token_hex(6)}"
    entries: list[NativeEntry] = [
        Namespace(router, "0123"),
        Bridge("vnu9"),
        Veth("leg", router, "02:00:00:00:00:01", far, "", "vnu9"),
        Address(router, "leg", "192.0.2.1/24"),
        Route(router, "77", "198.51.100.0/24", "leg", scope="link"),
        Rule(router, 99, "77", incoming="leg", mask=0xFF),
        Sysctl(router, "ipv4/ip_forward", "1"),
    ]
    ports: list[NativeEntry] = [Up("", far), Up("", "vnu9"), Attachment("tap7", "vnu9", needs="tap7")]
    for _ in range(2):
        assert backend.apply(TargetPlan("links", create=tuple(entries))) == {}
        assert backend.apply(TargetPlan("ports", create=tuple(ports))) == {}  # tap7 does not exist
    for _ in range(2):
        assert backend.apply(TargetPlan("ports", delete=tuple(ports))) == {}
        assert backend.apply(TargetPlan("links", delete=tuple(entries[2:]))) == {}
        assert backend.apply(TargetPlan("links", delete=tuple(entries))) == {}
    assert not namespaces.exists(router)
    assert ip_batch(space, ["link show dev vnu9"])


def test_a_refused_step_is_taken_back(backend: NftablesBackend, space: str) -> None:
    router = f"vn-{secrets.token_hex(6)}"
    bad = Address(router, "leg", "192.0.2.1/24")
    step: TargetPlan[NativeEntry] = TargetPlan("links", create=(Namespace(router, "0123"), Bridge("vnu9"), bad))
    assert backend.apply(step) == {bad.key: "No such device"}
    assert not namespaces.exists(router)
    assert ip_batch(space, ["link show dev vnu9"])


def test_a_vlan_without_its_leg_waits(backend: NftablesBackend) -> None:
    net = SubnetSwitching(network_id=uuid(), vpc_id=DEFAULT_VPC, leg="nope0", vlan_id=7)
    for step in backend.steps(diff({}, backend.compile([net]))):
        assert backend.apply(step) == {}, step


def test_links_are_made_as_asked(lab: Lab) -> None:
    vpc = uuid()
    net = Subnet(vpc)
    lab.apply([uplink_in_use(masquerade=True), *net.intents(), routing(vpc, "eip-distgw")])
    shown = subprocess.run(["ip", "-d", "-n", lab.host, "link"], check=True, capture_output=True, text=True).stdout
    bridges = [block for block in re.split(r"\n(?=\d+: )", shown) if re.match(r"\d+: vn[bu]", block)]
    assert len(bridges) == 2
    for block in bridges:
        assert {"stp_state 0", "mcast_snooping 0"} <= set(re.findall(r"\w+ 0\b", block))
    ends = [block for block in re.split(r"\n(?=\d+: )", shown) if re.match(r"\d+: vn[lr]", block)]
    assert len(ends) == 3
    assert all(" master vn" in block for block in ends)
    names = re.findall(r"\d+: (vn[blru][^:@]*)", shown)
    assert set(read_sysctls(lab.host, [f"ipv6/conf/{name}/disable_ipv6" for name in names]).values()) == {"1"}


# what is read


def test_strange_routes_and_rules_are_read_and_removed(lab: Lab) -> None:
    vpc = uuid()
    intents = [uplink_in_use(), *Subnet(vpc).intents(), routing(vpc)]
    lab.apply(intents)
    router = router_namespace(vpc)
    strange = [
        "route add blackhole 198.51.100.0/24 table 77 proto 86",
        "route add 198.51.100.7 dev up0 scope link proto 86",
        "route add unreachable default table 78 proto 86",
        "route replace default via 203.0.113.9 dev up0 onlink table 100 proto 86",
        "rule add pref 92 fwmark 5 lookup 77",
        "rule add pref 93 iif up0 lookup default suppress_prefixlength 8",
    ]
    assert not ip_batch(router, strange)
    found = {entry.text for entry in lab.backend.read().values() if isinstance(entry, Route | Rule)}
    assert {
        f"-n {router} route replace 6 198.51.100.0/24 table 77",
        f"-n {router} route replace 198.51.100.7/32 dev up0 scope link table main",
        f"-n {router} route replace 7 default table 78",
        f"-n {router} route replace default via 203.0.113.9 dev up0 onlink table 100",
        f"-n {router} rule add pref 92 fwmark 0x5/0xffffffff lookup 77",
        f"-n {router} rule add pref 93 iif up0 lookup default suppress_prefixlength 8",
    } <= found
    lab.apply(intents)


def test_a_vlans_number_is_decoded() -> None:
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # this kernel may have no VLANs

    data = {"attrs": [("IFLA_VLAN_ID", 7)]}
    info = {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", data)]}
    message: Any = ifinfmsg()
    message["index"] = 5
    message["attrs"] = [("IFLA_IFNAME", "vnc0"), ("IFLA_LINK", 3), ("IFLA_LINKINFO", info)]
    message.encode()
    again = ifinfmsg(message.data)
    again.decode()
    row = cast(Any, links)._link(again, {3: "leg", 5: "vnc0"}, [])
    assert (row.name, row.kind, row.vlan_id, row.peer) == ("vnc0", "vlan", 7, "leg")


# connections and neighbours


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_init() -> bytes:
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 1000, 1, 1, 1)
    return struct.pack("!HHI", 5, 6, 0) + struct.pack("<I", crc32c(struct.pack("!HHII", 5, 6, 0, 0) + init)) + init


PROTOCOLS = {
    47: struct.pack("!HHHHI", 0x3001, 0x880B, 0, 7, 1),  # GRE with a key, as PPTP has it
    50: bytes(16),
    132: sctp_init(),
    253: bytes(8),
}


def send_raw(space: str, target: str, source: str = "") -> None:
    for protocol, payload in PROTOCOLS.items():
        with entered(space):
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        with raw:
            if source:
                raw.bind((source, 0))
            raw.sendto(payload, (target, 0))


def connections(space: str) -> list[str]:
    table = Path("/proc/thread-self/net/nf_conntrack")
    if not table.exists():
        pytest.skip("this kernel shows no table of connections")
    with entered(space):
        return table.read_text().splitlines()


def protocols(rows: list[str], address: str) -> set[int]:
    return {int(row.split()[3]) for row in rows if f"dst={address} " in row}


def test_no_connection_of_a_released_eip_survives_whatever_its_protocol(lab: Lab) -> None:
    vpc, eip, other = uuid(), "203.0.113.100", "203.0.113.101"
    net = Subnet(vpc)
    a, b = lab.server(net, "192.168.4.10"), lab.server(net, "192.168.4.11")
    mappings = [mapping(vpc, eip, "192.168.4.100"), mapping(vpc, other, "192.168.4.101")]
    a.hold("192.168.4.100")
    b.hold("192.168.4.101")
    ports = [a.security("192.168.4.100"), b.security("192.168.4.101")]
    lab.apply([uplink_in_use(), *net.intents(), routing(vpc), *ports, *mappings])
    assert not ip_batch(lab.outside, ["address add 203.0.113.9/24 dev eth0"])
    sessions = [connect(lab.outside, address) for address in (eip, other)]
    for address, server, vip in ((eip, a, "192.168.4.100"), (other, b, "192.168.4.101")):
        assert ask_udp(lab.outside, address)
        assert ping(lab.outside, address)
        send_raw(lab.outside, address)
        send_raw(server.space, "203.0.113.9", vip)  # those leave as the EIP
    router = router_namespace(vpc)
    before = connections(router)
    assert protocols(before, eip) == {1, 6, 17, *PROTOCOLS}
    assert protocols([row for row in before if "dst=203.0.113.9 " in row], eip) == {*PROTOCOLS}
    lab.backend.flush([Released(vpc_id=vpc, network_id=net.id, ip=ip("192.168.4.100"), eip=ip(eip))])
    after = connections(router)
    assert not [row for row in after if eip in row]
    assert protocols(after, other) == {1, 6, 17, *PROTOCOLS}
    lab.backend.flush([Released(vpc_id=vpc, network_id=net.id, ip=ip("192.168.4.100"), eip=ip(eip))])
    gone, kept = sessions
    assert gone is not None
    assert kept is not None
    with gone, kept:
        assert say(kept)


def test_neighbours_of_an_address_are_forgotten_on_every_interface(handles: Handles, space: str) -> None:
    veth(handles, space)
    known = [f"neigh add 192.0.2.{last} lladdr 02:00:00:00:00:01 dev {dev}" for last in (1, 2) for dev in "ab"]
    assert not ip_batch(space, known)
    forget_neighbours(handles, space, [(4, ip("192.0.2.1"), None), (4, ip("192.0.2.3"), None)])
    left = subprocess.run(["ip", "-n", space, "neigh"], check=True, capture_output=True, text=True).stdout
    assert sorted(line.split()[0] for line in left.splitlines()) == ["192.0.2.2", "192.0.2.2"]
