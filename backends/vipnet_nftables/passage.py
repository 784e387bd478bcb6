"""Which native entries a packet needs at each stage of its way, and what each of them is to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from vipnet.addresses import format_ip
from vipnet.evidence import Need, Role
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
from vipnet.packets import VRRP_GROUP, Packet, Step
from vipnet_kernel import names
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.route_entries import Route, Rule
from vipnet_nftables.compiler import compile_intents
from vipnet_nftables.entries import Count, Element, Guard, Nat, NativeEntry, Skeleton

__all__ = ["passage"]

_OF_SOURCE, _OF_TARGET = 0x0101, 0x0201
"""How a link-layer address begins in neighbour discovery: an option of 8 bytes, in questions and in answers (RFC 4861)."""


def passage(packet: Packet, step: Step, owner: str) -> list[Need[NativeEntry]]:
    """The entries that a step rests on. The packet is the first between its ends: addresses are resolved on the way."""
    needs = [need for intent in step.intents for need in _of_intent(_Stage(packet, step), intent, owner)]
    needs.sort(key=lambda need: _depth(need.entry))
    return [need for need in map(_stopping, needs) if need is not None] if step.is_drop else needs


def _depth(entry: NativeEntry) -> int:
    """What others are in or on comes first: where several are missing, it is the cause."""
    match entry:
        case Namespace():
            return 0
        case Skeleton() | Bridge() | Veth() | Vlan():
            return 1
        case _:
            return 2


def _stopping(need: Need[NativeEntry]) -> Need[NativeEntry] | None:
    """Of what a packet that is dropped would need there matters what drops it, and the rules."""
    if isinstance(need.entry, Skeleton):
        return Need(need.entry, "shows")
    return need if need.role in ("guards", "shows") else None


def _of_intent(stage: _Stage, intent: Intent, owner: str) -> Iterator[Need[NativeEntry]]:
    for entry in chain.from_iterable(map(_parts, compile_intents([intent], owner).values())):
        role = stage.role(intent, entry)
        if role is not None:
            yield Need(entry, role, stage.instead(entry))


def _parts(entry: NativeEntry) -> Iterable[NativeEntry]:
    """What an entry is made of: of an EIP's the elements, one by one."""
    return entry.parts() if isinstance(entry, Nat | Count) else [entry]


class _Stage:
    """One step, and what entries are to it."""

    def __init__(self, packet: Packet, step: Step) -> None:
        self._packet = packet
        self._step = step
        self._src, self._dst = (format_ip(packet.version, ip) for ip in (step.src, step.dst))

    def role(self, intent: Intent, entry: NativeEntry) -> Role | None:
        """What an entry of an intent is to the packet here; None: nothing."""
        match intent:
            case PortSecurity():
                return self._of_port(intent, entry)
            case SubnetSwitching():
                return self._of_segment(entry)
            case SubnetRouting():
                return self._of_subnet(entry)
            case VpcRouting():
                return self._of_router(intent, entry)
            case UplinkSwitching():
                return self._of_uplink(intent, entry)
            case EipMapping():
                return self._of_mapping(entry)
            case VipBinding():
                return self._of_claims(entry)

    def _of_port(self, port: PortSecurity, entry: NativeEntry) -> Role | None:
        match entry:
            case Attachment():
                return "carries" if self._is_end(port) else None
            case Element(set="vn_ports"):
                return "guards" if self._is_guarded_by(port) else None
            case Element(set="vn_arp" | "vn_ip" | "vn_ip6" | "vn_targets" | "vn_options"):
                return "admits" if self._is_end(port) and self._is_looked_at(entry) else None
            case Element(set="vn_vrrp"):
                return "admits" if self._step.stage == "deliver" and self._leads_to_receiver(entry) else None
            case _:
                return self._of_claims(entry)

    def _of_claims(self, entry: NativeEntry) -> Role | None:
        """What keeps others beyond a leg from an address."""
        match entry:
            case Element(set="vn_claims" | "vn_claims6") if self._step.stage == "leg":
                return "guards" if _last(entry) == self._src else None
            case _:
                return None

    def _is_end(self, port: PortSecurity) -> bool:
        """Whether the packet leaves or comes by this port here."""
        step = self._step
        return step.stage in ("port-security", "segment") or (step.stage == "deliver" and step.to == port.nic_id)

    def _is_guarded_by(self, port: PortSecurity) -> bool:
        """By the sender's rules it is checked what it is and to whom VRRP goes; by the receiver's whether it is meant for it."""
        if self._step.stage in ("port-security", "vrrp-guard"):
            return True
        return self._step.stage == "deliver" and (self._step.to == port.nic_id) != self._is_vrrp_to_all

    @property
    def _is_vrrp_to_all(self) -> bool:
        return self._packet.proto == "vrrp" and self._packet.dst == VRRP_GROUP[self._packet.version]

    def _is_looked_at(self, entry: Element) -> bool:
        """Whether for it is let pass, at this end, the packet or the question for the receiver's MAC that goes before."""
        inwards, is_question = self._step.stage == "deliver", self._packet.proto == "arp"
        if self._is_vrrp_to_all or (inwards and is_question):  # is there for everybody, and not answered
            return not inwards and entry.set in ("vn_ip", "vn_ip6") and _last(entry) == self._src
        ip, tells = (self._dst, True) if inwards else (self._src, self._packet.gratuitous)
        match entry.set:
            case "vn_ip":
                return _last(entry) == ip and not is_question
            case "vn_targets":
                return tells and int(_last(entry), 16) == (self._step.dst if inwards else self._step.src)
            case "vn_options":
                return self._packet.version == 6 and int(_last(entry), 16) >> 48 == (_OF_TARGET if tells else _OF_SOURCE)
            case _:
                return _last(entry) == ip

    def _leads_to_receiver(self, entry: Element) -> bool:
        ports = (intent for intent in self._step.intents if isinstance(intent, PortSecurity))
        return any(entry.element.endswith(f'. "{port.device}"') for port in ports if port.nic_id == self._step.to)

    def _of_subnet(self, entry: NativeEntry) -> Role | None:
        """Of the router's leg in a subnet; IPv6 has addresses and a switch of its own there."""
        six = self._packet.version == 6
        match entry:
            case Veth() | Up():
                return "carries"
            case Address(address=address):
                return "carries" if (":" in address) == six else None
            case Sysctl(name=name) if name.startswith("ipv6/"):
                return "carries" if six else None
            case Route(destination=network) if not six and self._step.stage in ("router", "hairpin"):
                return "carries" if self._is_in(IPv4Network(network)) else None
            case _:
                return None

    def _of_segment(self, entry: NativeEntry) -> Role | None:
        match entry:
            case Bridge() | Up():
                return "carries"
            case Guard():
                return "shows"
            case Vlan() | Attachment():
                return "carries" if self._is_by_leg else None
            case Element(set="vn_legs"):
                return "guards" if self._step.stage == "leg" else None
            case _:
                return None

    @property
    def _is_by_leg(self) -> bool:
        return self._step.stage == "leg" or (self._step.stage == "deliver" and len(self._step.intents) == 1)

    def _of_router(self, router: VpcRouting, entry: NativeEntry) -> Role | None:
        mapping = self._mapping
        uplink = None if mapping is None else mapping.uplink
        match entry:
            case Namespace():
                return "carries"
            case Skeleton():
                return self._of_rules
            case Sysctl(name="ipv4/ip_forward" | "ipv6/conf/all/forwarding" as name):
                routed = self._step.stage in ("router", "hairpin", "snat", "masquerade")
                return "carries" if routed and name.startswith(f"ipv{self._packet.version}") else None
            case Sysctl(name="ipv4/conf/all/rp_filter"):  # for a packet whose answer would not go by the uplink
                return "carries" if self._step.stage == "uplink" and self._is_inwards else None
            case Rule(suppress=0):  # what is marked for an uplink is to be looked for inside before
                return "carries" if self._step.stage in ("router", "hairpin") and mapping is not None else None
            case Rule() | Route() | Veth() | Up() | Address() | Element() if self._step.stage == "masquerade":
                return "carries" if _is_transit(router, entry) else None
            case Rule() | Route() | Veth() | Up() | Element() if uplink is not None and self._step.stage in ("uplink", "snat"):
                return self._of_uplink_leg(router, uplink, entry)
            case _:
                return None

    @property
    def _of_rules(self) -> Role:
        """What a router's rules are to the packet: without them it is routed all the same, and not translated."""
        match self._step.stage:
            case "uplink" | "dnat" | "hairpin":
                return "carries"
            case "snat":
                return "leads"
            case _:
                return "shows"

    def _of_uplink_leg(self, router: VpcRouting, uplink: Uplink, entry: NativeEntry) -> Role | None:
        namespace, leg = names.router_namespace(router.vpc_id), names.uplink_leg(uplink.index)
        inwards = self._step.stage == "uplink" and self._is_inwards
        match entry:
            case Veth(name=name) if name == leg:
                return "carries" if self._step.stage == "uplink" else "shows"  # its routes go with it
            case Up(device=device) if device == names.far_end(namespace, leg):
                return "carries" if self._step.stage == "uplink" else None
            case Rule(incoming=incoming) if incoming == leg:
                return "carries" if inwards else None
            case Rule(mark=mark) if mark == uplink.index + 1:
                return "leads" if self._step.stage == "snat" else None
            case Route(kind="local"):
                return "carries" if inwards else None
            case Route(device=device) if device == leg and self._step.stage == "snat":
                return "leads" if entry.destination == "default" or self._is_in(_network(uplink)) else None
            case Element(set="vn_came_by", element=element) if element == f'"{leg}"':
                return "carries" if inwards and self._packet.proto != "arp" else None
            case _:
                return None

    def instead(self, entry: NativeEntry) -> str:
        """In the uplink's own network the direct route and the one by the gateway take each other's part."""
        mapping = self._mapping
        network = None if mapping is None or mapping.uplink is None else _network(mapping.uplink)
        if network is None or not isinstance(entry, Route) or not self._is_in(network):
            return ""
        return replace(entry, destination=str(network) if entry.destination == "default" else "default").key

    def _is_in(self, network: IPv4Network | None) -> bool:
        return network is not None and IPv4Address(self._step.dst) in network

    def _of_uplink(self, intent: UplinkSwitching, entry: NativeEntry) -> Role | None:
        bridge = names.uplink_bridge(intent.uplink.index)
        match entry:
            case Bridge() | Attachment():
                return "carries" if self._step.stage != "masquerade" else None
            case Up(device=device) if device == bridge:
                return "carries" if self._step.stage != "masquerade" else None
            case Guard():
                return "shows" if self._step.stage != "masquerade" else None
            case Route() if self._is_by_gateway:  # its own network is reached without
                return "shows" if self._is_in(_network(intent.uplink)) else "carries"
            case Skeleton():
                return "leads" if self._step.stage == "masquerade" else None
            case Namespace() | Veth() | Up() | Address() | Sysctl(name="ipv4/ip_forward"):
                return "carries" if self._is_by_gateway else None
            case _:
                return None

    @property
    def _is_by_gateway(self) -> bool:
        return self._step.stage in ("masquerade", "deliver")

    def _of_mapping(self, entry: NativeEntry) -> Role | None:
        match self._step.stage, entry:
            case "uplink", Element(set="vn_eips", family="arp"):
                return "carries" if self._is_inwards else None
            case "uplink", Element(set="vn_eips"):
                return "carries" if self._packet.proto != "arp" else None
            case "uplink", Element(set=("vn_rx_limit" | "vn_rx_count")):
                return "shows" if self._is_inwards else None
            case "uplink", Element(set=("vn_tx_limit" | "vn_tx_count")):
                return None if self._is_inwards else "shows"
            case "deliver", Element(set="vn_eips", family="arp"):
                return "carries"
            case "dnat", Element(set="vn_eip_vip"):
                return "carries"
            case "snat", Element(set="vn_vip_out"):
                return "leads"
            case "snat", Element(set="vn_vip_eip"):
                return "admits"
            case _:
                return None

    @property
    def _is_inwards(self) -> bool:
        return self._step.action != "out"

    @property
    def _mapping(self) -> EipMapping | None:
        return next((intent for intent in self._step.intents if isinstance(intent, EipMapping)), None)


def _last(entry: Element) -> str:
    return entry.element.rpartition(" . ")[2]


def _is_transit(router: VpcRouting, entry: NativeEntry) -> bool:
    """Whether it is of the link between a router and the gateway."""
    namespace = names.router_namespace(router.vpc_id)
    match entry:
        case Veth(name=device) | Up(device=device) | Address(device=device) | Route(device=device):
            return device in (names.TRANSIT, names.transit_end(namespace))
        case _:
            return False


def _network(uplink: Uplink) -> IPv4Network | None:
    return None if uplink.address is None else IPv4Network(uplink.address, strict=False)
