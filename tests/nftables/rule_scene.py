"""One scene in which each rule has something to do, with questions of packets, and rules that are taken away and put back."""

from __future__ import annotations

import json
import re
import secrets
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.nftables.conftest import (
    UPLINK,
    Lab,
    Subnet,
    Tap,
    arp,
    ip,
    ip_batch,
    mapping,
    packet,
    routing,
    uplink_in_use,
    uuid,
)
from vipnet.addresses import ip_of
from vipnet.intents import Intent, SubnetSwitching, Uplink, UplinkSwitching, VipBinding
from vipnet.model import DEFAULT_VPC
from vipnet_kernel.names import gateway_namespace, owner_mark, router_namespace, subnet_leg, transit_end

SILENCE = 0.25
"""Seconds without an answer that count as none."""

VIP, SPARE, EIP, EIP_OF_BLUE = "192.168.4.100", "192.168.4.101", "203.0.113.100", "203.0.113.101"
ROUTER, WORLD_MAC, SIDE_MAC, LEG_MAC = "192.168.4.1", "02:00:00:00:00:fe", "02:00:00:00:00:fd", "02:00:00:00:00:fc"
CLASSIC_VIP, LEGS_IP, HOSTS_IP, NOBODY = "10.1.0.100", "10.1.0.254", "198.18.0.1", "192.168.4.99"
SIDE = "198.51.100.1"
SECOND = Uplink(name="side", index=1, device="ext1", address=(ip("198.51.100.2"), 24), gateway=ip(SIDE))
VRRP, TCP = 112, 6
ROUTER6, CLASSIC_VIP6, NOBODY6, LEGS_IP6 = "fd00:4::1", "fd00:1::100", "fd00:4::99", "fd00:1::254"


@dataclass(frozen=True, slots=True)
class Place:
    """An interface of a namespace, from which frames are sent or at which they are seen."""

    space: str
    device: str = "eth0"


class Scene:
    """Two VPCs of mode eip-distgw, and a classic network with a physical leg.

    Red has servers a (holds the VIP) and b (a member), c beside them, d in another subnet; blue has x, which holds a VIP.
    Red is also on a second uplink, of which no EIP is mapped. Red and the classic network are dual-stack.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.side, self.leg = f"{lab.prefix}-side", f"{lab.prefix}-leg"
        for space, tap, mac, address in ((self.side, "ext1", SIDE_MAC, SIDE), (self.leg, "ext2", LEG_MAC, LEGS_IP)):
            subprocess.run(["ip", "netns", "add", space], check=True)
            lab.spaces.append(space)
            lab.wire(space, tap, mac, f"{address}/24")
        self.red, self.blue = uuid(), uuid()
        self.web, self.far = Subnet(self.red, gateway6=ROUTER6), Subnet(self.blue)
        self.db = Subnet(self.red, "192.168.8.1", gateway6="fd00:8::1")
        self.classic = Subnet(DEFAULT_VPC, LEGS_IP)
        self.a, self.b, self.c = (lab.server(self.web, f"192.168.4.{last}", f"fd00:4::{last}") for last in (10, 11, 12))
        self.d, self.x = lab.server(self.db, "192.168.8.10", "fd00:8::10"), lab.server(self.far, "192.168.4.10")
        self.here = lab.server(self.classic, "10.1.0.10", "fd00:1::10")
        for holder in (self.a, self.x):
            holder.hold(VIP)
        assert not ip_batch(lab.host, [f"address add {HOSTS_IP}/32 dev lo"])
        self.routing = routing(self.red, "eip-distgw", 1, (UPLINK, SECOND))
        self.mappings = [replace(mapping(self.red, EIP, VIP), bandwidth=1), mapping(self.blue, EIP_OF_BLUE, VIP)]
        self.intents = list(self._intents())

    def _intents(self) -> Iterator[Intent]:
        yield uplink_in_use(masquerade=True)
        yield UplinkSwitching(uplink=SECOND, masquerade=False)
        for subnet in (self.web, self.db, self.far):
            yield from subnet.intents()
        yield self.routing
        yield routing(self.blue, "eip-distgw", 2)
        yield self.a.security(VIP, SPARE, peers=[self.b])
        yield self.b.security(VIP, SPARE, peers=[self.a])
        yield from (self.c.security(), self.d.security(), self.x.security(VIP), self.here.security())
        yield from self.mappings
        of_net = {"network_id": self.classic.id, "vpc_id": DEFAULT_VPC}
        yield SubnetSwitching(network_id=self.classic.id, vpc_id=DEFAULT_VPC, leg="ext2", vlan_id=0)
        yield VipBinding(vip_id=uuid(), group_id="g", ip=ip(CLASSIC_VIP), ip6=ip_of(CLASSIC_VIP6), members=(), **of_net)

    @property
    def router(self) -> str:
        return router_namespace(self.red)

    @property
    def gateway(self) -> str:
        return gateway_namespace(owner_mark(self.lab.host))

    @property
    def routers_leg(self) -> Place:
        return Place(self.router, subnet_leg(self.web.id))

    @property
    def routers_transit(self) -> Place:
        return Place(self.router, "tr0")

    @property
    def gateways_transit(self) -> Place:
        return Place(self.gateway, transit_end(self.router))

    @property
    def web_mac(self) -> str:
        """The MAC of the router in the servers' subnet."""
        return self.mac(self.routers_leg)

    def mac(self, place: Place) -> str:
        rows = json.loads(subprocess.run(["ip", "-n", place.space, "-j", "link"], check=True, capture_output=True).stdout)
        return str(next(row["address"] for row in rows if row["ifname"] == place.device))

    def space(self, where: str) -> str:
        """The namespace of `host`, `router` or `gateway`."""
        return {"host": self.lab.host, "router": self.router, "gateway": self.gateway}[where]

    def repair(self, where: str) -> None:
        """Let the backend see that something is wrong in one ruleset, and put it right."""
        plan = self.lab.plan(self.intents)
        expected = "nft:" if where == "host" else f"nft:{self.space(where)}"
        assert [target.target for target in plan.targets] == [expected], str(plan)
        for step in self.lab.backend.steps(plan):
            assert self.lab.backend.apply(step) == {}, step


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule as nft lists it, or with handle 0 the policy of a chain that drops what no rule decides."""

    family: str
    chain: str
    text: str
    handle: int

    def removal(self) -> list[str]:
        if self.handle:
            return ["delete", "rule", self.family, "vipnet", self.chain, "handle", str(self.handle)]
        return ["chain", self.family, "vipnet", self.chain, "{ policy accept; }"]


def nft(space: str, *command: str) -> str:
    argv = ["ip", "netns", "exec", space, "nft", *command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def loaded_rules(space: str) -> list[LoadedRule]:
    """Every rule of our tables in a namespace, and every policy that drops."""
    found: list[LoadedRule] = []
    family = chain = ""
    for line in map(str.strip, nft(space, "-a", "-p", "-t", "list", "ruleset").splitlines()):
        if named := re.match(r"(table (\w+) vipnet|chain (\w+)) \{", line):
            family, chain = named[2] or family, named[3] or ""
        elif chain and "policy drop" in line:
            found.append(LoadedRule(family, chain, "policy drop", 0))
        elif chain and (rule := re.fullmatch(r"(.*) # handle (\d+)", line)):
            found.append(LoadedRule(family, chain, rule[1], int(rule[2])))
    return found


def arrives(sender: Place, frame: bytes, at: Place) -> bool:
    """Whether a frame that is sent at one place is seen at another: one that ends with the same 8 bytes."""
    with Tap(at.space, at.device) as ear, Tap(sender.space, sender.device) as mouth:
        mouth.send(frame)
        return _first(ear, lambda seen: frame[-8:] in seen) is not None


def arp_reply(sender: Place, question: bytes) -> bytes | None:
    """The ARP reply about the address that a question asks for."""
    with Tap(sender.space, sender.device) as tap:
        tap.send(question)
        return _first(tap, lambda seen: seen[12:14] + seen[20:22] == b"\x08\x06\0\2" and seen[28:32] == question[38:42])


def _first(ear: Tap, wanted: Callable[[bytes], bool]) -> bytes | None:
    deadline = time.monotonic() + SILENCE
    while (left := deadline - time.monotonic()) > 0:
        ear.raw.settimeout(left)
        try:
            if wanted(seen := ear.raw.recv(2000)):
                return seen
        except TimeoutError:
            break
    return None


def claim(mac: str, sender: str, target: str) -> bytes:
    """A broadcast ARP request; like the frames below it ends with 8 bytes of its own."""
    return arp(mac, sender, target) + secrets.token_bytes(8)


def udp(mac: str, to: str, source: str, target: str, ports: tuple[int, int] | None = None) -> bytes:
    """A datagram, without `ports` of a flow that was never seen before."""
    head = struct.pack("!4H", *(ports or (_port(), 9)), 16, 0)
    return packet(mac, to, source, target, payload=head + secrets.token_bytes(8))


def invalid(mac: str, to: str, source: str, target: str) -> bytes:
    """A segment that opens and ends a connection at once: it belongs to none, so no NAT applies to it."""
    head = struct.pack("!HHIIBBHHH", _port(), 7, 1, 0, 0x50, 0x03, 1024, 0, 0)
    return packet(mac, to, source, target, TCP, head + secrets.token_bytes(8))


def vrrp(mac: str, source: str, target: str = "224.0.0.18", to: str = "01:00:5e:00:00:12") -> bytes:
    return packet(mac, to, source, target, VRRP, secrets.token_bytes(8))


def tagged(frame: bytes, kind: int) -> bytes:
    return frame[:12] + struct.pack("!HH", kind, 5) + frame[12:]


def _port() -> int:
    return 1024 + secrets.randbelow(60000)
