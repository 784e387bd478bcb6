"""A network of namespaces: the host's, one for each server, and one outside, at the other end of the uplink."""

from __future__ import annotations

import secrets
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from vipnet.addresses import format_ip6, ip_of, link_local, parse_ip4
from vipnet.backend import BackendContext
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    Released,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VpcRouting,
)
from vipnet.model import AccessMode
from vipnet.plan import Plan, diff
from vipnet.testing import frames
from vipnet_kernel import namespaces
from vipnet_kernel.arp import Announcer
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import entered
from vipnet_kernel.requests import RouteRequest, send
from vipnet_kernel.sockets import Sockets
from vipnet_nftables import NftablesBackend
from vipnet_nftables.entries import NativeEntry

OUTSIDE = "203.0.113.1"


def ip(text: str) -> int:
    return parse_ip4(text, what="address")


def uuid() -> str:
    return str(UUID(bytes=secrets.token_bytes(16), version=4))


UPLINK = Uplink(name="pub", index=0, device="ext0", address=(ip("203.0.113.2"), 24), gateway=ip(OUTSIDE))


def ip_batch(space: str, lines: list[str]) -> str:
    """What `ip` says against commands: another opinion than the backend's own."""
    argv = ["ip", "-n", space, "-force", "-batch", "-"]
    return subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False).stderr


@dataclass(frozen=True, slots=True)
class Server:
    """A namespace with one interface, eth0; `tap` is the other end, on the host."""

    space: str
    tap: str
    mac: str
    ip: str
    subnet: Subnet
    nic_id: str = field(default_factory=uuid)
    ip6: str = ""

    def security(self, *more: str, peers: Iterable[Server] = ()) -> PortSecurity:
        return PortSecurity(
            nic_id=self.nic_id,
            network_id=self.subnet.id,
            vpc_id=self.subnet.vpc,
            device=self.tap,
            mac=self.mac,
            ip=ip(self.ip),
            ips=tuple(sorted(ip(one) for one in (self.ip, *more) if ":" not in one)),
            ip6s=tuple(sorted(ip_of(one) for one in (self.ip6, *more) if ":" in one)),
            ip6=ip_of(self.ip6) if self.ip6 else None,
            vrrp_peers=tuple(peer.tap for peer in peers),
        )

    def hold(self, address: str) -> None:
        assert not ip_batch(self.space, [f"address add {address}/32 dev eth0"])
        one = Announcer(self.space)
        one.announce("eth0", frames.mac_bytes(self.mac), [ip(address)])
        one.close()

    def drop(self, address: str) -> None:
        assert not ip_batch(self.space, [f"address del {address}/32 dev eth0"])


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of a VPC."""

    vpc: str
    gateway: str = "192.168.4.1"
    length: int = 24
    gateway6: str = ""
    id: str = field(default_factory=uuid)

    def intents(self) -> list[Intent]:
        return [
            SubnetSwitching(network_id=self.id, vpc_id=self.vpc, leg=None, vlan_id=0),
            SubnetRouting(
                network_id=self.id,
                vpc_id=self.vpc,
                gateway=ip(self.gateway),
                length=self.length,
                gateway6=ip_of(self.gateway6) if self.gateway6 else None,
                length6=64 if self.gateway6 else None,
                mac="02:fe:" + self.id[:2] + ":" + self.id[2:4] + ":00:01",
            ),
        ]


def routing(vpc: str, mode: AccessMode = "eip", tag: int = 1, uplinks: tuple[Uplink, ...] = (UPLINK,)) -> VpcRouting:
    return VpcRouting(vpc_id=vpc, tag=tag, mode=mode, mac=f"02:aa:{vpc[:2]}:{vpc[2:4]}:{vpc[4:6]}:01", uplinks=uplinks)


def uplink_in_use(*, masquerade: bool = False) -> UplinkSwitching:
    return UplinkSwitching(uplink=UPLINK, masquerade=masquerade)


def mapping(vpc: str, eip: str, vip: str, *, id: str | None = None) -> EipMapping:
    return EipMapping(
        eip_id=id or uuid(), vpc_id=vpc, network_id="e", eip=ip(eip), vip=ip(vip), bandwidth=None, uplink=UPLINK
    )


class Lab:
    """One host's namespace with the backend at work in it, and the servers around it."""

    def __init__(self) -> None:
        self.prefix = f"h1-{secrets.token_hex(3)}"
        self.host = f"{self.prefix}-host"
        self.outside = f"{self.prefix}-out"
        self.spaces: list[str] = []
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []
        self.sockets: list[socket.socket] = []
        for space in (self.host, self.outside):
            self._space(space)
        # of a pair whose ends have the same number the kernel notices a new carrier up to 1 s late
        assert not ip_batch(self.host, ["link add name tap0 type veth peer name tap00"])
        self.wire(self.outside, "ext0", "02:00:00:00:00:fe", f"{OUTSIDE}/24")
        self.answer(self.outside)
        self.backend = NftablesBackend(BackendContext(options={"namespace": self.host}))
        self.macs = 0

    def _space(self, space: str) -> None:
        subprocess.run(["ip", "netns", "add", space], check=True)
        self.spaces.append(space)
        assert not ip_batch(space, ["link set lo up"])

    def wire(self, space: str, tap: str, mac: str, address: str, gateway: str | None = None) -> None:
        add = f"link add name {tap} type veth peer name eth0 address {mac} netns {space}"
        assert not ip_batch(self.host, [add, f"link set dev {tap} addrgenmode none"])
        lines = ["link set dev eth0 addrgenmode none", "link set dev eth0 up", f"address add {address} dev eth0"]
        lines += [f"route add default via {gateway}"] if gateway else []
        assert not ip_batch(space, lines)

    def server(self, subnet: Subnet, address: str, ip6: str = "") -> Server:
        self.macs += 1
        name, tap, mac = f"{self.prefix}-s{self.macs}", f"tap{self.macs}", f"02:00:00:00:00:{self.macs:02x}"
        one = Server(name, tap, mac, address, subnet, ip6=ip6)
        self._space(one.space)
        self.wire(one.space, one.tap, one.mac, f"{address}/{subnet.length}", subnet.gateway)
        if ip6:
            self.wire6(one)
        self.answer(one.space)
        return one

    def wire6(self, one: Server) -> None:
        own = [f"address add {address}/64 dev eth0 nodad" for address in (one.ip6, format_ip6(link_local(one.mac)))]
        routes = [f"route add default via {one.subnet.gateway6}"] if one.subnet.gateway6 else []
        assert not ip_batch(one.space, [*own, *routes])

    def plan(self, intents: Iterable[Intent]) -> Plan[NativeEntry]:
        desired = self.backend.compile(intents)
        return diff(self.backend.audit(desired), desired)

    def apply(self, intents: Iterable[Intent]) -> Plan[NativeEntry]:
        """Apply and see that a second time there is nothing to do."""
        intents = list(intents)
        plan = self.plan(intents)
        for step in self.backend.steps(plan):
            assert self.backend.apply(step) == {}, step
        assert not (rest := self.plan(intents)), str(rest)
        return plan

    def change(self, before: Iterable[Intent], after: Iterable[Intent], released: Iterable[Released] = ()) -> None:
        """The road of one change: only what differs is compiled."""
        for step in self.backend.steps(diff(self.backend.compile(before), self.backend.compile(after))):
            assert self.backend.apply(step) == {}, step
        self.backend.flush(list(released))

    def answer(self, space: str, port: int = 7) -> None:
        """Answer over TCP and UDP with the name of the namespace and the address of who asks."""
        with entered(space):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sockets += [udp, tcp]
        for one in (udp, tcp):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.settimeout(0.2)
        # answers must come from the address that was asked
        udp.setsockopt(socket.IPPROTO_IP, 8, 1)
        udp.bind(("0.0.0.0", port))
        tcp.bind(("0.0.0.0", port))
        tcp.listen(16)
        for work in (lambda: self._udp(udp, space), lambda: self._tcp(tcp, space)):
            thread = threading.Thread(target=work)
            thread.start()
            self.threads.append(thread)

    def _udp(self, one: socket.socket, space: str) -> None:
        while not self.stop.is_set():
            try:
                data, control, _, peer = one.recvmsg(9000, 256)
            except TimeoutError:
                continue
            said = f"{space} {peer[0]} ".encode()
            index_and_source = [(level, kind, struct.pack("=I", 0) + body[4:8] + bytes(4)) for level, kind, body in control]
            try:
                one.sendmsg([said + data], index_and_source, 0, peer)
            except OSError:
                continue

    def _tcp(self, one: socket.socket, space: str) -> None:
        while not self.stop.is_set():
            try:
                connection, peer = one.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection, space, peer[0]))
            thread.start()
            self.threads.append(thread)

    def _serve(self, connection: socket.socket, space: str, peer: str) -> None:
        connection.settimeout(0.2)
        with connection:
            while not self.stop.is_set():
                try:
                    data = connection.recv(100)
                    if not data:
                        return
                    connection.send(f"{space} {peer} ".encode() + data)
                except TimeoutError:
                    continue
                except OSError:
                    return

    def close(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for one in self.sockets:
            one.close()
        for step in self.backend.steps(self.plan([])):
            self.backend.apply(step)
        left = [*ours(self.host), *self.backend.read()]
        self.backend.close()
        taps = [f"link del dev {name}" for name in taps_of(self.host) if name != "tap00"]
        ip_batch(self.host, taps)
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], check=True)
        assert left == []


def taps_of(host: str) -> list[str]:
    found = subprocess.run(["ip", "-n", host, "-br", "link"], check=True, capture_output=True, text=True).stdout
    names = [line.split()[0].partition("@")[0] for line in found.splitlines()]
    return [name for name in names if name.startswith(("tap", "ext"))]


def ours(host: str) -> list[str]:
    """What is in the host's namespace, beyond the ends of the servers' cables."""
    run = subprocess.run(["ip", "-n", host, "-br", "link"], check=True, capture_output=True, text=True).stdout
    links = [line.split()[0].partition("@")[0] for line in run.splitlines()]
    tables = subprocess.run(["ip", "netns", "exec", host, "nft", "list", "ruleset"], check=True, capture_output=True, text=True)
    return [link for link in links if not link.startswith(("lo", "tap", "ext"))] + tables.stdout.splitlines()


def ask_udp(space: str, address: str, *, source: str | None = None, wait: float = 1.0, data: bytes = b"?") -> list[str]:
    """[namespace that answered, address by which it knows who asked]; [] without an answer."""
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(one):
        one.settimeout(wait)
        try:
            if source:
                one.bind((source, 0))
            one.connect((address, 7))
            one.send(data)
            return one.recv(9000).decode().split()[:2]
        except OSError:
            return []


def connect(space: str, address: str, wait: float = 1.0) -> socket.socket | None:
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.settimeout(wait)
    try:
        one.connect((address, 7))
    except OSError:
        one.close()
        return None
    return one


def say(one: socket.socket) -> list[str]:
    try:
        one.send(b"?")
        return one.recv(100).decode().split()[:2]
    except OSError:
        return []


def ask_tcp(space: str, address: str, wait: float = 1.0) -> list[str]:
    one = connect(space, address, wait)
    if one is None:
        return []
    with closing(one):
        return say(one)


def ping(space: str, address: str, *, source: str | None = None, wait: float = 1.0) -> bool:
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    number = secrets.randbelow(60000)
    with closing(one):
        try:
            one.settimeout(wait)
            if source:
                one.bind((source, 0))
            header = struct.pack("!BBHHH", 8, 0, 0, number, 1)
            total = sum(struct.unpack("!4H", header))
            one.sendto(struct.pack("!BBHHH", 8, 0, ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF, number, 1), (address, 0))
            end = time.monotonic() + wait
            while time.monotonic() < end:
                data = one.recv(2000)
                kind, _, _, found, _ = struct.unpack_from("!BBHHH", data, (data[0] & 15) * 4)
                if kind == 0 and found == number:
                    return True
        except OSError:
            return False
    return False


def ping6(space: str, address: str, *, wait: float = 1.0) -> bool:
    mark = secrets.token_bytes(8)
    with entered(space):
        one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with closing(one):
        one.settimeout(wait)
        try:
            one.connect((address, 0))
            one.send(frames.echo_request(mark, version=6))
            while not one.recv(2000).endswith(mark):
                pass
        except OSError:
            return False
    return True


class Tap:
    """Raw frames in and out of an interface of a namespace."""

    def __init__(self, space: str, device: str = "eth0") -> None:
        with entered(space):
            self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.raw.bind((device, 3))
        self.raw.settimeout(0.3)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def send(self, frame: bytes) -> None:
        self.raw.send(frame)

    def frames(self, wait: float = 0.3) -> list[bytes]:
        """What is seen in either direction until nothing comes for a while, own frames included."""
        self.raw.settimeout(wait)
        found: list[bytes] = []
        try:
            while True:
                found.append(self.raw.recv(2000))
        except TimeoutError:
            return found


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip_bytes(text: str) -> bytes:
    return ip(text).to_bytes(4, "big")


def arp(
    mac: str, sender: str, target: str, *, sha: str | None = None, operation: int = 1, tha: str = "00:00:00:00:00:00",
    to: str = "ff:ff:ff:ff:ff:ff",
) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac_bytes(sha or mac) + ip_bytes(sender)
    return mac_bytes(to) + mac_bytes(mac) + b"\x08\x06" + body + mac_bytes(tha) + ip_bytes(target) + bytes(18)


def packet(mac: str, to: str, source: str, target: str, protocol: int = 17, payload: bytes = bytes(8), ttl: int = 64) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol, 0, ip_bytes(source), ip_bytes(target))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    return mac_bytes(to) + mac_bytes(mac) + b"\x08\x00" + header + payload


@pytest.fixture
def lab() -> Iterator[Lab]:
    one = Lab()
    yield one
    one.close()


@pytest.fixture
def handles() -> Iterator[Handles]:
    one = Handles()
    yield one
    one.close()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with closing(Sockets()) as found:
        yield found


@pytest.fixture
def space() -> Iterator[str]:
    name = f"h1-{secrets.token_hex(4)}"
    namespaces.create(name)
    yield name
    with suppress(FileNotFoundError):
        namespaces.remove(name)


def link(verb: str, **values: object) -> RouteRequest:
    return RouteRequest("link", verb, values)


def veth(handles: Handles, space: str) -> None:
    assert send(handles, space, [link("add", ifname="a", kind="veth", peer={"ifname": "b"})]) == {}
