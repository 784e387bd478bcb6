"""The way of one packet through what is in force: each method is a stage and hands on to the next."""

from __future__ import annotations

from collections.abc import Callable, Collection

from vipnet.addresses import link_local
from vipnet.intents import EipMapping, Intent, PortSecurity, SubnetRouting, UplinkSwitching, VpcRouting
from vipnet.packets.index import Index, Place, contains
from vipnet.packets.words import LEG, OUTSIDE, ROUTER, Delivered, Dropped, Packet, Reason, Stage, Step, Verdict

__all__ = ["VRRP_GROUP", "Journey", "owns"]

VRRP_GROUP = {4: 0xE0000012, 6: 0xFF02 << 112 | 0x12}
"""VRRP's multicast address by IP version (RFC 9568)."""

_LINK_LOCAL = 0xFE80 >> 6
"""The first ten bits of addresses that no router takes to another link (RFC 4291)."""


class Journey:
    """One packet under way. `holder` says which NIC has a VIP now.

    `without`: stages, each with the id of the intent that decides there, which the packet passes as if that were not in force:
    what is to be stopped there is not, what is to be translated stays as it is.
    """

    __slots__ = ("_dst", "_holder_of", "_index", "_packet", "_src", "_steps", "_without")

    def __init__(
        self,
        index: Index,
        holder: Callable[[Place], str | None],
        packet: Packet,
        *,
        without: Collection[tuple[Stage, str]] = (),
    ) -> None:
        self._index = index
        self._holder_of = holder
        self._packet = packet
        self._src, self._dst = packet.src, packet.dst
        self._steps: list[Step] = []
        self._without = without

    def follow(self, from_: str) -> Verdict:
        """Start at a server's NIC (its id), at OUTSIDE, or at LEG and a network's id."""
        if from_ == OUTSIDE:
            return self._enter()
        if from_.startswith(LEG):
            return self._from_leg(from_.removeprefix(LEG))
        return self._from_port(from_)

    def _from_port(self, nic_id: str) -> Verdict:
        port = self._index.port(nic_id)
        if port is None:
            return self._drop("closed", "port-security")
        segment = self._index.segment(port.network_id)
        if not _is_own(port, self._packet):
            if not self._passes("port-security", port):
                return self._drop("port-security", "port-security", port, segment)
            self._note("port-security", "not its own, and not checked", port, segment)
        else:
            self._note("port-security", "its own MAC and address", port, segment)
        match self._packet.proto:
            case "vrrp":
                return self._vrrp(port)
            case "arp":
                return self._arp(port)
            case _:
                return self._ip(port)

    def _from_leg(self, network_id: str) -> Verdict:
        segment, packet = self._index.segment(network_id), self._packet
        if segment is None or segment.leg is None:
            return self._drop("closed", "leg")
        claimed = self._claimed(network_id, {self._src, *packet.claims})
        if claimed is not None and not self._passes("leg", segment):
            return self._drop("port-security", "leg", segment, claimed)
        if packet.proto == "vrrp":
            return self._drop("vrrp-guard", "vrrp-guard", segment)
        self._note("leg", f"in by {segment.leg}", segment)
        return self._reach(network_id)

    def _claimed(self, network_id: str, ips: Collection[int]) -> Intent | None:
        """The VIP or port of a segment whose address is among these."""
        places = [(network_id, self._packet.version, ip) for ip in ips]
        vips = [vip for place in places if (vip := self._index.vip(place)) is not None]
        return next(iter(vips), None) or next((port for place in places for port in self._index.ports_at(place)), None)

    def _vrrp(self, port: PortSecurity) -> Verdict:
        everyone = self._packet.everyone or self._dst == VRRP_GROUP[self._packet.version]
        others = [other for other in self._index.ports_of(port.network_id) if other is not port]
        addressed = [other for other in others if everyone or self._is_for(other)]
        heard = [other for other in addressed if other.device in port.vrrp_peers]
        if self._passes("vrrp-guard", port) and len(addressed) > len(heard):
            heard = addressed
            self._note("vrrp-guard", "to anybody, for it is not checked", port)
        elif not heard:
            return self._drop("vrrp-guard", "vrrp-guard", port)
        else:
            self._note("vrrp-guard", "to members of its groups", port)
        return self._deliver_to(heard, port)

    def _arp(self, port: PortSecurity) -> Verdict:
        if self._packet.onto is not None:
            return self._onto(port, self._packet.onto)
        if self._packet.gratuitous or self._packet.everyone:
            return self._to_all(port)
        return self._reach(port.network_id)

    def _to_all(self, port: PortSecurity) -> Verdict:
        others = [other for other in self._index.ports_of(port.network_id) if other is not port]
        segment = self._index.segment(port.network_id)
        self._note("segment", "to all", segment)
        delivered = self._deliver_to(others)
        if segment is None or segment.leg is None:
            return delivered
        self._note("deliver", f"delivered to {OUTSIDE}", segment, to=OUTSIDE)
        return self._delivered((*delivered.to, OUTSIDE))

    def _ip(self, port: PortSecurity) -> Verdict:
        gateway = self._index.gateway(port.network_id)
        if self._packet.everyone:
            return self._to_all(port)
        if self._packet.onto is not None:
            return self._onto(port, self._packet.onto)
        if gateway is None or contains(gateway, self._packet.version, self._dst):
            return self._reach(port.network_id)
        return self._route(port, gateway)

    def _onto(self, port: PortSecurity, nic_id: str) -> Verdict:
        target = self._index.port(nic_id)
        if target is None or target.network_id != port.network_id:
            return self._drop("no-holder", "segment")
        if self._packet.proto != "arp" and not owns(target, self._packet.version, self._dst):
            return self._drop("not-addressed-to-port", "deliver", target)
        return self._deliver_to([target])

    def _reach(self, network_id: str) -> Verdict:
        """Find who has the destination on a segment."""
        version, gateway = self._packet.version, self._index.gateway(network_id)
        segment = self._index.segment(network_id)
        if gateway is not None and self._dst == (gateway.gateway if version == 4 else gateway.gateway6):
            router = self._index.router(gateway.vpc_id)
            if self._packet.proto not in ("icmp", "arp"):
                return self._drop("closed", "router", gateway, router)
            return self._arrive(ROUTER, gateway, router, segment)
        place = network_id, version, self._dst
        port = self._holder(place)
        if port is not None:
            return self._deliver_to([port])
        if segment is not None and segment.leg is not None and self._index.vip(place) is None:
            return self._arrive(OUTSIDE, segment)
        return self._drop("no-holder", "holder", segment)

    def _holder(self, place: Place) -> PortSecurity | None:
        vip, ports = self._index.vip(place), self._index.ports_at(place)
        if vip is None:
            return ports[0] if ports else None
        port = next((port for port in ports if port.nic_id == self._holder_of(place)), None)
        if port is None or port.nic_id not in {member.nic_id for member in vip.members}:
            return None
        self._note("holder", f"held by {port.id}", vip, to=port.nic_id)
        return port

    def _route(self, port: PortSecurity, gateway: SubnetRouting) -> Verdict:
        version, router = self._packet.version, self._index.router(port.vpc_id)
        if router is None:
            return self._drop("no-route", "router")
        self._note("router", "to the gateway", gateway, router)
        subnet = self._index.subnet(port.vpc_id, version, self._dst)
        if version == 6 and self._src >> 118 == _LINK_LOCAL and (subnet is None or self._dst != subnet.gateway6):
            return self._drop("no-route", "router", router)  # what is for the router itself is not routed
        if subnet is not None:
            own = self._index.mapped(port.vpc_id, self._src) if version == 4 else None
            self._note("router", "to another subnet", subnet, router, own)
            return self._reach(subnet.network_id)
        if version == 6:
            return self._drop("no-route", "router", router)
        mapping = self._index.answers_outside(self._dst)
        return self._hairpin(mapping, router) if mapping is not None and mapping.vpc_id == port.vpc_id else self._leave(router)

    def _hairpin(self, mapping: EipMapping, router: VpcRouting) -> Verdict:
        subnet = self._index.subnet(mapping.vpc_id, 4, mapping.vip)
        if subnet is None:
            return self._drop("no-route", "router", mapping)
        self._note("dnat", "destination becomes the VIP", mapping, router)
        self._dst = mapping.vip
        own = self._index.mapped(mapping.vpc_id, self._src)
        self._note("hairpin", "source becomes the gateway: the answer must come back this way", subnet, router, own)
        self._src = subnet.gateway
        return self._reach(subnet.network_id)

    def _leave(self, router: VpcRouting) -> Verdict:
        if self._index.vpc_around(4, self._dst) is not None:
            return self._drop("other-vpc", "router", router)
        mapping = self._index.mapped(router.vpc_id, self._src) if router.mode in ("eip", "eip-distgw") else None
        if mapping is not None and not self._passes("snat", mapping):
            self._note("snat", "source becomes the EIP", mapping, router)
            self._src = mapping.eip
            return self._cross(self._index.uplink_of(mapping), router, mapping)
        if mapping is not None:
            self._note("snat", "source does not become the EIP", mapping, router)
        return self._masquerade(router)

    def _masquerade(self, router: VpcRouting) -> Verdict:
        uplink = self._index.masquerade()
        if router.mode in ("eip", "none"):
            return self._drop("private-source" if router.mode == "eip" else "vpc-mode", "uplink", router)
        if uplink is None or uplink.uplink.address is None:
            return self._drop("no-route", "uplink", router)
        if self._passes("masquerade", uplink):
            self._note("masquerade", "source does not become the uplink's address", uplink, router)
        else:
            self._note("masquerade", "source becomes the uplink's address", uplink, router)
            self._src = uplink.uplink.address[0]
        return self._cross(uplink)

    def _cross(self, uplink: UplinkSwitching | None, *more: Intent) -> Verdict:
        """Leave: to the world, or back in by somebody's EIP, as an outsider would."""
        self._note("uplink", "out", uplink, *more)
        if self._index.eip(self._dst) is not None or self._has_address(self._dst) is not None:
            return self._enter()
        return self._arrive(OUTSIDE)

    def _enter(self) -> Verdict:
        version, dst = self._packet.version, self._dst
        mapping = self._index.eip(dst) if version == 4 else None
        if mapping is not None:
            return self._to_eip(mapping)
        if version == 4 and (uplink := self._has_address(dst)) is not None:
            return self._arrive(ROUTER, uplink) if self._packet.proto == "arp" else self._drop("closed", "uplink", uplink)
        inside = self._index.vpc_around(version, dst) is not None
        return self._drop("closed" if inside else "unmapped", "uplink", *self._index.uplinks()[:1])

    def _to_eip(self, mapping: EipMapping) -> Verdict:
        router, uplink = self._index.router(mapping.vpc_id), self._index.uplink_of(mapping)
        if router is None or self._index.answers_outside(mapping.eip) is None:
            return self._drop("vpc-mode", "uplink", router)
        self._note("uplink", "in, to the router that answers for the EIP", mapping, uplink, router)
        if self._packet.proto == "arp":
            return self._arrive(ROUTER, mapping)
        if self._packet.proto == "vrrp":
            return self._drop("vrrp-guard", "vrrp-guard", mapping)
        claimed = self._index.subnet(mapping.vpc_id, 4, self._src)
        if claimed is not None:
            return self._drop("private-source", "uplink", router, claimed)
        subnet = self._index.subnet(mapping.vpc_id, 4, mapping.vip)
        if subnet is None:
            return self._drop("no-route", "router", mapping)
        self._note("dnat", "destination becomes the VIP", mapping, router)
        self._dst = mapping.vip
        self._note("router", "to the subnet of the VIP", subnet, router, mapping)
        return self._reach(subnet.network_id)

    def _is_for(self, port: PortSecurity) -> bool:
        return self._packet.onto in (None, port.nic_id) and owns(port, self._packet.version, self._dst)

    def _has_address(self, ip: int) -> UplinkSwitching | None:
        """The uplink whose own address this is, if it is in use: for masquerading, and nothing else."""
        uplink = self._index.masquerade()
        return uplink if uplink is not None and uplink.uplink.address is not None and uplink.uplink.address[0] == ip else None

    def _passes(self, stage: Stage, intent: Intent) -> bool:
        return (stage, intent.id) in self._without

    def _note(self, stage: Stage, action: str, *intents: Intent | None, to: str = "") -> None:
        kept = tuple(intent for intent in intents if intent is not None)
        self._steps.append(Step(stage, action, kept, self._src, self._dst, to))

    def _deliver_to(self, ports: Collection[PortSecurity], *more: Intent) -> Delivered:
        for port in ports:
            segment = self._index.segment(port.network_id)
            self._note("deliver", f"delivered to {port.id}", port, segment, *more, to=port.nic_id)
        return self._delivered(tuple(port.nic_id for port in ports))

    def _arrive(self, where: str, *intents: Intent | None) -> Delivered:
        """Arrive at what is no port."""
        self._note("deliver", f"delivered to {where}", *intents, to=where)
        return self._delivered((where,))

    def _delivered(self, to: tuple[str, ...]) -> Delivered:
        return Delivered(to=to, src=self._src, dst=self._dst, steps=tuple(self._steps))

    def _drop(self, reason: Reason, stage: Stage, *intents: Intent | None) -> Dropped:
        self._note(stage, f"dropped: {reason}", *intents)
        return Dropped(reason=reason, steps=tuple(self._steps))


def _is_own(port: PortSecurity, packet: Packet) -> bool:
    """Whether all that a packet says about its sender is true of a port."""
    macs, ips = {packet.mac or port.mac, *packet.named}, {packet.src, *packet.claims}
    return macs == {port.mac} and all(owns(port, packet.version, ip) for ip in ips)


def owns(port: PortSecurity, version: int, ip: int) -> bool:
    """Whether a port may use an address: its own, its groups' VIPs, and IPv6's link-local one of its MAC (RFC 4291)."""
    if version == 4:
        return ip in port.ips
    return ip in port.ip6s or (bool(port.ip6s) and ip == link_local(port.mac))
