"""The simulator, asked in the words of a case; and what of its answer can be seen in a network of namespaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import NamedTuple

from vipnet.addresses import format_ip4, parse_ip4
from vipnet.controller import Controller
from vipnet.intents import EipMapping, Intent, SubnetSwitching, VipBinding
from vipnet.model import DEFAULT_VPC, Network, Nic
from vipnet.testing.differential.case import BEYOND, OUTSIDE, Question
from vipnet.testing.differential.setting import BEYOND_IP, PUBLIC, WORLD
from vipnet.testing.probe import VRRP_GROUP
from vipnet_simulator.entry import Installed
from vipnet.packets import OUTSIDE as SIMULATED_OUTSIDE
from vipnet.packets import ROUTER, Delivered, Dropped, Packet, Verdict
from vipnet_simulator.world import LEG, World

__all__ = ["ROUTER", "Expectation", "Oracle", "Sighting"]


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
        """Whether a router may keep the packet until somebody answers for its address."""
        return isinstance(self.verdict, Dropped) and self.verdict.reason == "no-holder"


class Oracle:
    """A Controller on the simulator."""

    def __init__(self, cloud: Controller) -> None:
        self.cloud = cloud
        self._world = World(())
        self._is_named = any(uplink.address is not None for uplink in cloud.config.uplinks.values())
        self.refresh()

    def refresh(self) -> None:
        """Take in what is installed now."""
        entries = self.cloud.backend.read()
        self._world.replace_entries(entries.values())
        self.intents: list[Intent] = [entry.intent for entry in entries.values() if isinstance(entry, Installed)]
        self._eips = [one for one in self.intents if isinstance(one, EipMapping)]
        self._vips = {(vip.network_id, format_ip4(vip.ip)): vip for vip in self.intents if isinstance(vip, VipBinding)}
        self.nics = {nic.device: nic for nic in self.cloud.topology.all(Nic)}
        self._devices = {nic.id: nic.device for nic in self.nics.values()}
        self._segments: dict[str, list[str]] = defaultdict(list)
        for nic in self.nics.values():
            self._segments[nic.network_id].append(nic.device)

    def held(self) -> Iterator[tuple[str, str]]:
        """Devices with the VIPs that their machines hold."""
        for (_, version, ip), nic_id in self._world.holders.items():
            if version == 4 and nic_id in self._devices:
                yield self._devices[nic_id], format_ip4(ip)

    def is_member(self, device: str, ip: str) -> bool:
        """Whether a port may hold an address as a VIP."""
        nic = self.nics.get(device)
        vip = None if nic is None else self._vips.get((nic.network_id, ip))
        return vip is not None and any(member.device == device for member in vip.members)

    def is_announcement(self, question: Question) -> bool:
        """Whether a packet is a member's gratuitous ARP for a VIP."""
        return question.proto.startswith("arp") and question.src == question.dst and self.is_member(question.sender, question.src)

    def is_comparable(self, question: Question) -> bool:
        """Whether the network can answer as the simulator does.

        Not so what changes who holds a VIP, for that is no question (a router also believes ARP that is not gratuitous),
        nor VRRP sent to one of the VIPs, which goes to one member, and the simulator names all of them.
        """
        by_arp = question.proto in ("arp-request", "arp-reply")
        if by_arp and question.mac is None and self.is_member(question.sender, question.src):
            return False
        if by_arp and question.sender == OUTSIDE and question.src == question.dst:
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
        verdict = self._world.send(self._packet(question), from_=self._from(question.sender))
        if question.proto in ("arp-request", "arp-reply"):
            return Expectation(verdict, frozenset(self._seen_of_arp(question, verdict)))
        if isinstance(verdict, Dropped):
            return Expectation(verdict, frozenset(), frozenset(self._leaving(question, verdict)))
        return Expectation(verdict, frozenset(self._seen(question, verdict)))

    def next_hop(self, question: Question) -> str | None:
        """The address to whose MAC a host sends a packet; None: it is no matter of addresses, or the host has none."""
        if question.proto in ("arp-request", "arp-reply") or question.dst == VRRP_GROUP or question.onto is not None:
            return None
        if question.sender in (OUTSIDE, BEYOND):
            return question.dst
        nic = self.nics.get(question.sender)
        if nic is None:
            return None
        network = self.cloud.topology.at(Network, nic.network_id)
        inside = network.gateway is None or parse_ip4(question.dst, what="dst") in _range(network.prefix)
        return question.dst if inside or network.gateway is None else format_ip4(network.gateway)

    def own_ip(self, sender: str) -> str | None:
        """The address by which a machine asks for others'."""
        if sender in (OUTSIDE, BEYOND):
            return WORLD if sender == OUTSIDE else BEYOND_IP
        return format_ip4(self.nics[sender].ip) if sender in self.nics else None

    def _is_to_itself(self, question: Question) -> bool:
        return question.dst == self.own_ip(question.sender) or (question.sender, question.dst) in set(self.held())

    def _packet(self, question: Question) -> Packet:
        return Packet(
            src=parse_ip4(question.src, what="src"),
            dst=parse_ip4(question.dst, what="dst"),
            proto="arp" if question.proto == "arp-request" or question.proto == "arp-reply" else question.proto,
            mac=question.mac,
            onto=None if question.onto is None else self._nic_id(question.onto),
            everyone=question.proto == "arp-reply" and question.onto is None,
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
        src, dst = format_ip4(verdict.src), format_ip4(verdict.dst)
        for where in verdict.to:
            if where == ROUTER:
                # Of what a router takes, only echo requests are answered, and nothing else of it can be seen.
                yield from [Sighting("answer of router", dst, src)] * (question.proto == "icmp")
            elif where == SIMULATED_OUTSIDE:
                yield from self._seen_outside(question, src, dst)
            else:
                yield Sighting(self._devices[where], src, dst)

    def _seen_outside(self, question: Question, src: str, dst: str) -> Iterator[Sighting]:
        """The machines out there have one address each; the one beyond the uplink is the gateway to everything else.

        Without an address an uplink has no neighbours but the gateway.
        """
        if self._is_classic(question.sender):
            yield from [Sighting(BEYOND, src, dst)] * (dst == BEYOND_IP and question.sender != BEYOND)
        elif dst == WORLD or not self._is_named or parse_ip4(dst, what="dst") not in _range(PUBLIC):
            yield Sighting(OUTSIDE, src, dst)

    def _leaving(self, question: Question, verdict: Dropped) -> Iterator[Sighting]:
        # To a private address of another VPC nothing leads from out there; that it is dropped there, and not before, is no
        # difference to anybody. As whom it left is checked by other packets.
        if verdict.reason == "other-vpc":
            yield from (Sighting(OUTSIDE, src, question.dst) for src in self._public())

    def _public(self) -> Iterator[str]:
        return (str(ip) for ip in IPv4Network(PUBLIC))

    def _seen_of_arp(self, question: Question, verdict: Verdict) -> Iterator[Sighting]:
        if question.sender in self.nics and isinstance(verdict, Delivered) and _is_for_all(question):
            yield from self._seen_by_all(question, verdict)
        elif isinstance(verdict, Delivered) or verdict.reason == "no-holder":
            yield from (Sighting(name, question.src, question.dst) for name in self._flooded(question))
        if question.proto == "arp-request" and isinstance(verdict, Delivered) and question.src != question.dst:
            who = self._answerer(question, verdict.to[0])
            yield from [Sighting(f"answer of {who}", question.dst, question.src)] * (who is not None)

    def _seen_by_all(self, question: Question, verdict: Delivered) -> Iterator[Sighting]:
        for where in verdict.to:
            who = BEYOND if where == SIMULATED_OUTSIDE else self._devices.get(where)
            yield from [Sighting(who, question.src, question.dst)] if who is not None and who != question.sender else ()

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
            return BEYOND if question.dst == BEYOND_IP and question.sender != BEYOND else None
        return self._devices[where]

    def _is_classic(self, sender: str) -> bool:
        nic = self.nics.get(sender)
        return sender == BEYOND or (nic is not None and self._vpc_of(nic) == DEFAULT_VPC)

    def _vpc_of(self, nic: Nic) -> str:
        return self.cloud.topology.at(Network, nic.network_id).vpc_id


def _is_for_all(question: Question) -> bool:
    return question.src == question.dst or (question.proto == "arp-reply" and question.onto is None)


def _range(prefix: str) -> range:
    network = IPv4Network(prefix)
    return range(int(network[0]), int(network[-1]) + 1)
