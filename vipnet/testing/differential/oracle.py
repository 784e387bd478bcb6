"""The simulator, asked in the words of a case; and what of its answer can be seen in a network of namespaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import NamedTuple

from vipnet.addresses import format_ip, format_ip4, format_ip6, link_local
from vipnet.controller import Controller
from vipnet.intents import EipMapping, Intent, SubnetSwitching, VipBinding
from vipnet.model import DEFAULT_VPC, Network, Nic
from vipnet.packets import LEG, ROUTER, Delivered, Dropped, Packet, Protocol, Verdict
from vipnet.packets import OUTSIDE as SIMULATED_OUTSIDE
from vipnet.testing import frames
from vipnet.testing.differential.case import BEYOND, OUTSIDE, Question, QuestionProtocol
from vipnet.testing.differential.packets import build
from vipnet.testing.differential.setting import BEYOND_IP, BEYOND_IP6, MACS, PUBLIC, WORLD, WORLD_IP6
from vipnet.testing.frames import ALL_NODES
from vipnet_simulator.entry import Installed
from vipnet_simulator.world import World

__all__ = ["ROUTER", "Expectation", "Oracle", "Sighting"]


_PROTOCOLS: dict[QuestionProtocol, Protocol] = {
    "tcp": "tcp",
    "udp": "udp",
    "icmp": "icmp",
    "vrrp": "vrrp",
    "arp-request": "arp",
    "arp-reply": "arp",
    "ns": "arp",
    "na": "arp",
    "ra": "other",
    "tagged": "other",
}


class Sighting(NamedTuple):
    """Who heard a packet, or ("answer of ...") answered it, with the addresses seen."""

    who: str
    src: str
    dst: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to be seen of a packet; `tolerated` may be."""

    verdict: Verdict
    seen: frozenset[Sighting]
    tolerated: frozenset[Sighting] = frozenset()

    @property
    def may_come_late(self) -> bool:
        """Whether a router may keep the packet until somebody answers for its address, inside or out there."""
        return not self.seen and (isinstance(self.verdict, Delivered) or self.verdict.reason == "no-holder")


class Oracle:
    """A Controller on the simulator. `copies`: `Backend.copies` of the backend that is compared with it."""

    def __init__(self, cloud: Controller, *, copies: bool = False) -> None:
        self.cloud = cloud
        self._copies = copies
        self._world = World(())
        self._is_named = any(uplink.address is not None for uplink in cloud.config.uplinks.values())
        self.refresh()

    def refresh(self) -> None:
        """Take in what is installed now."""
        entries = self.cloud.backend.read()
        self._world.replace_entries(entries.values())
        self.intents: list[Intent] = [entry.intent for entry in entries.values() if isinstance(entry, Installed)]
        self._eips = [one for one in self.intents if isinstance(one, EipMapping)]
        self._vips = {place: vip for vip in self.intents if isinstance(vip, VipBinding) for place in _places(vip)}
        self.nics = {nic.device: nic for nic in self.cloud.topology.all(Nic)}
        self._devices = {nic.id: nic.device for nic in self.nics.values()}
        self._segments: dict[str, list[str]] = defaultdict(list)
        for nic in self.nics.values():
            self._segments[nic.network_id].append(nic.device)

    def held(self) -> Iterator[tuple[str, str]]:
        """Devices with the VIPs that their machines hold."""
        for (_, version, ip), nic_id in self._world.holders.items():
            if nic_id in self._devices:
                yield self._devices[nic_id], format_ip(version, ip)

    def is_member(self, device: str, ip: str) -> bool:
        """Whether a port may hold an address as a VIP."""
        nic = self.nics.get(device)
        vip = None if nic is None else self._vips.get((nic.network_id, ip))
        return vip is not None and any(member.device == device for member in vip.members)

    def is_announcement(self, question: Question) -> bool:
        """Whether a packet is a member's gratuitous ARP for a VIP."""
        return question.is_gratuitous and self.is_member(question.sender, question.src)

    def is_comparable(self, question: Question) -> bool:
        """Whether the network can answer as the simulator does.

        Not so what changes who holds a VIP, for that is no question (a router also believes ARP and ND that are not gratuitous),
        nor VRRP sent to one of the VIPs, which goes to one member, and the simulator names all of them.
        """
        about = (question.src, question.dst) if question.proto == "na" else (question.src,)
        if question.is_resolution and question.mac is None and any(self.is_member(question.sender, ip) for ip in about):
            return False
        if question.is_gratuitous and question.sender == OUTSIDE:
            return False  # who takes one of our addresses out there harms himself and others
        if question.proto == "vrrp" and any(ip == question.dst for _, ip in self._vips):
            return False
        return not (self._is_to_itself(question) or self._is_by_upstream(question))

    def _is_by_upstream(self, question: Question) -> bool:
        """Whether it goes from one of our EIPs to another by the gateway out there, which here forwards nothing."""
        nic = self.nics.get(question.sender)
        if nic is None or self._is_named:
            return False
        return any(format_ip4(one.eip) == question.dst and one.vpc_id != self._vpc_of(nic) for one in self._eips)

    def expectation(self, question: Question) -> Expectation:
        """What is to be seen of a packet; a gratuitous one moves the VIP."""
        verdict = self._verdict(question)
        if question.is_resolution:
            return Expectation(verdict, frozenset(self._seen_of_resolution(question, verdict)))
        if isinstance(verdict, Dropped):
            return Expectation(verdict, frozenset(), frozenset(self._leaving(question, verdict)))
        return Expectation(verdict, frozenset(self._seen(question, verdict)), frozenset(self._answered(question, verdict)))

    def _verdict(self, question: Question) -> Verdict:
        from_ = self._from(question.sender)
        if question.proto in ("ra", "tagged"):
            source = frames.mac_bytes(question.mac or MACS[question.sender])
            return self._world.send_frame(build(question, source=source, target=None, number=0), from_=from_)
        return self._world.send(self._packet(question), from_=from_)

    def next_hop(self, question: Question) -> str | None:
        """The address to whose MAC a host sends a packet; None: it is no matter of addresses, or the host has none."""
        if question.is_for_all or question.onto is not None:
            return None
        if question.sender in (OUTSIDE, BEYOND):
            return question.dst
        nic = self.nics.get(question.sender)
        if nic is None:
            return None
        gateway, prefix = self._gateway(nic, question.version)
        return question.dst if gateway is None or _number(question.dst) in _range(prefix) else gateway

    def _gateway(self, nic: Nic, version: int) -> tuple[str | None, str]:
        """The gateway that a machine uses, and the prefix of what it reaches without."""
        network = self.cloud.topology.at(Network, nic.network_id)
        if version == 4:
            return None if network.gateway is None else format_ip4(network.gateway), network.prefix
        is_routed = network.vpc_id != DEFAULT_VPC and network.gateway6 is not None
        return format_ip6(network.gateway6) if is_routed and network.gateway6 else None, network.prefix6 or ALL_NODES

    def own_ip(self, sender: str, version: int = 4) -> str | None:
        """The address by which a machine asks for others'."""
        if sender in (OUTSIDE, BEYOND):
            return {OUTSIDE: (WORLD, WORLD_IP6), BEYOND: (BEYOND_IP, BEYOND_IP6)}[sender][version == 6]
        nic = self.nics.get(sender)
        if nic is None or version == 4:
            return None if nic is None else format_ip4(nic.ip)
        return None if nic.ip6 is None else format_ip6(nic.ip6)

    def own_ips(self, sender: str) -> set[str]:
        """All addresses that are a machine's own, the link-local one too, which every IPv6 node has (RFC 4291, 2.8)."""
        own = {ip for version in (4, 6) if (ip := self.own_ip(sender, version)) is not None}
        nic = self.nics.get(sender)
        return own if nic is None or nic.ip6 is None else own | {format_ip6(link_local(nic.mac))}

    def _is_to_itself(self, question: Question) -> bool:
        return question.dst in self.own_ips(question.sender) or (question.sender, question.dst) in set(self.held())

    def _packet(self, question: Question) -> Packet:
        return Packet(
            src=_number(question.src),
            dst=_number(question.dst),
            proto=_PROTOCOLS[question.proto],
            version=question.version,
            mac=question.mac,
            onto=None if question.onto is None else self._nic_id(question.onto),
            everyone=question.proto in ("arp-reply", "na") and question.onto is None,
            claims=(_number(question.dst),) if question.proto == "na" else (),
        )

    def _nic_id(self, device: str) -> str:
        return self.nics[device].id if device in self.nics else "none"

    def _from(self, sender: str) -> str:
        if sender == OUTSIDE:
            return SIMULATED_OUTSIDE
        return f"{LEG}{self._legged()}" if sender == BEYOND else self._nic_id(sender)

    def _legged(self) -> str:
        """The network that has a leg."""
        legged = (one.network_id for one in self.intents if isinstance(one, SubnetSwitching) and one.leg is not None)
        return next(legged, "none")

    def _seen(self, question: Question, verdict: Delivered) -> Iterator[Sighting]:
        src, dst = format_ip(question.version, verdict.src), format_ip(question.version, verdict.dst)
        for where in verdict.to:
            if where == ROUTER:
                # Of what a router takes, only echo requests are answered, and nothing else of it can be seen.
                yield from [Sighting("answer of router", dst, src)] * (question.proto == "icmp" and self._is_found(question))
            elif where == SIMULATED_OUTSIDE:
                yield from self._seen_outside(question, src, dst)
            else:
                yield Sighting(self._devices[where], src, dst)

    def _is_found(self, question: Question) -> bool:
        """Whether somebody answers for the source of a packet; a member may send by a VIP that nobody has announced."""
        nic = self.nics.get(question.sender)
        if nic is None or question.src in self.own_ips(question.sender):
            return True
        return (nic.network_id, question.version, _number(question.src)) in self._world.holders

    def _seen_outside(self, question: Question, src: str, dst: str) -> Iterator[Sighting]:
        """The machines out there have one address each; the one beyond the uplink is the gateway to everything else.

        Without an address an uplink has no neighbours but the gateway.
        """
        if self._is_classic(question.sender):
            yield from [Sighting(BEYOND, src, dst)] * (dst in (BEYOND_IP, BEYOND_IP6) and question.sender != BEYOND)
        elif dst == WORLD or not self._is_named or _number(dst) not in _range(PUBLIC):
            yield Sighting(OUTSIDE, src, dst)

    def _leaving(self, question: Question, verdict: Dropped) -> Iterator[Sighting]:
        # To a private address of another VPC nothing leads from out there; that it is dropped there, and not before, is no
        # difference to anybody. As whom it left is checked by other packets.
        if verdict.reason == "other-vpc":
            yield from (Sighting(OUTSIDE, src, question.dst) for src in self._public())
        if verdict.reason == "no-holder" and self._copies:
            yield from self._copied(question, verdict)

    def _answered(self, question: Question, verdict: Delivered) -> Iterator[Sighting]:
        """Such a backend need not ask for a sender either: it answers to where the question came from."""
        if self._copies and ROUTER in verdict.to and question.proto == "icmp":
            src, dst = format_ip(question.version, verdict.src), format_ip(question.version, verdict.dst)
            yield Sighting("answer of router", dst, src)

    def _copied(self, question: Question, verdict: Dropped) -> Iterator[Sighting]:
        """A backend that cannot ask who holds a VIP lets every member have the packet: who has it not takes no notice."""
        last = verdict.steps[-1]
        for intent in last.intents:
            if isinstance(intent, SubnetSwitching):
                src, dst = (format_ip(question.version, ip) for ip in (last.src, last.dst))
                vip = self._vips.get((intent.network_id, dst))
                yield from (Sighting(member.device, src, dst) for member in (() if vip is None else vip.members))

    def _public(self) -> Iterator[str]:
        return (str(ip) for ip in IPv4Network(PUBLIC))

    def _seen_of_resolution(self, question: Question, verdict: Verdict) -> Iterator[Sighting]:
        if question.sender in self.nics and isinstance(verdict, Delivered) and _is_for_all(question):
            yield from self._seen_by_all(question, verdict)
        elif isinstance(verdict, Delivered) or verdict.reason == "no-holder":
            yield from (_as_heard(name, question) for name in self._flooded(question))
        if question.asks and isinstance(verdict, Delivered) and not question.is_gratuitous:
            who = self._answerer(question, verdict.to[0])
            yield from [Sighting(f"answer of {who}", question.dst, question.src)] * (who is not None)

    def _seen_by_all(self, question: Question, verdict: Delivered) -> Iterator[Sighting]:
        for where in verdict.to:
            who = BEYOND if where == SIMULATED_OUTSIDE else self._devices.get(where)
            yield from [_as_heard(who, question)] if who is not None and who != question.sender else ()

    def _flooded(self, question: Question) -> list[str]:
        """Who hears what goes to all of a segment."""
        if question.onto is not None:
            return [question.onto] if question.onto in self._segment_of(question.sender) else []
        return [name for name in self._segment_of(question.sender) if name != question.sender]

    def _segment_of(self, sender: str) -> list[str]:
        if sender == OUTSIDE:
            return []
        network_id = self._legged() if sender == BEYOND else self.nics[sender].network_id
        return [*self._segments[network_id], *([BEYOND] if network_id == self._legged() else [])]

    def _answerer(self, question: Question, where: str) -> str | None:
        if where == ROUTER:
            return "router"
        if where == SIMULATED_OUTSIDE:
            return BEYOND if question.dst in (BEYOND_IP, BEYOND_IP6) and question.sender != BEYOND else None
        return self._devices[where]

    def _is_classic(self, sender: str) -> bool:
        nic = self.nics.get(sender)
        return sender == BEYOND or (nic is not None and self._vpc_of(nic) == DEFAULT_VPC)

    def _vpc_of(self, nic: Nic) -> str:
        return self.cloud.topology.at(Network, nic.network_id).vpc_id


def _is_for_all(question: Question) -> bool:
    return question.is_gratuitous or (question.proto in ("arp-reply", "na") and question.onto is None)


def _as_heard(who: str, question: Question) -> Sighting:
    """What a machine hears of ARP and ND: an advertisement tells all nodes of its target."""
    return Sighting(who, *((question.dst, ALL_NODES) if question.proto == "na" else (question.src, question.dst)))


def _places(vip: VipBinding) -> Iterator[tuple[str, str]]:
    yield vip.network_id, format_ip4(vip.ip)
    if vip.ip6 is not None:
        yield vip.network_id, format_ip6(vip.ip6)


def _number(ip: str) -> int:
    return int(ip_address(ip))


def _range(prefix: str) -> range:
    network = ip_network(prefix)
    return range(int(network[0]), int(network[-1]) + 1)
