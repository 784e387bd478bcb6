"""The way of one packet through what is in force: each method is a stage and hands on to the next."""

from __future__ import annotations

from collections.abc import Mapping

from vipnet.addresses import link_local
from vipnet.intents import EipMapping, PortSecurity, VpcRouting
from vipnet_simulator.index import Index, Place, contains
from vipnet_simulator.packets import OUTSIDE, ROUTER, Delivered, Dropped, Packet, Reason, Stage, Step, Verdict

__all__ = ["VRRP_GROUP", "Journey", "owns"]

VRRP_GROUP = {4: 0xE0000012, 6: 0xFF02 << 112 | 0x12}
"""VRRP's multicast address by IP version (RFC 9568)."""


class Journey:
    """One packet under way. `holders` says which NIC announced a VIP last."""

    __slots__ = ("_holders", "_index", "_packet", "_steps")

    def __init__(self, index: Index, holders: Mapping[Place, str], packet: Packet) -> None:
        self._index = index
        self._holders = holders
        self._packet = packet
        self._steps: list[Step] = []

    def from_port(self, nic_id: str) -> Verdict:
        """Start at a server's port."""
        port = self._index.ports.get(nic_id)
        if port is None:
            return self._drop("closed", "port-security")
        if not _is_own(port, self._packet):
            return self._drop("port-security", "port-security", port.id)
        self._note("port-security", "its own MAC and address", port.id)
        match self._packet.proto:
            case "vrrp":
                return self._vrrp(port)
            case "arp":
                return self._arp(port)
            case _:
                return self._ip(port)

    def from_leg(self, network_id: str) -> Verdict:
        """Start beyond the physical leg of a classic network."""
        segment, packet = self._index.segments.get(network_id), self._packet
        if segment is None or segment.leg is None:
            return self._drop("closed", "leg")
        if self._index.ports_at.get((network_id, packet.version, packet.src)):
            return self._drop("port-security", "leg", segment.id)
        if packet.proto == "vrrp":
            return self._drop("vrrp-guard", "vrrp-guard", segment.id)
        self._note("leg", f"from {segment.leg}", segment.id)
        return self._reach(network_id, packet.src, packet.dst)

    def from_outside(self) -> Verdict:
        """Start beyond the uplinks."""
        return self._enter(self._packet.src)

    def _vrrp(self, port: PortSecurity) -> Verdict:
        packet = self._packet
        everyone = packet.everyone or packet.dst == VRRP_GROUP[packet.version]
        peers = [other for other in self._index.ports_of[port.network_id] if other.device in port.vrrp_peers]
        heard = tuple(peer.nic_id for peer in peers if everyone or self._is_for(peer))
        if not heard:
            return self._drop("vrrp-guard", "vrrp-guard", port.id)
        self._note("vrrp-guard", "to members of its groups", port.id)
        return self._deliver(heard, packet.src, packet.dst)

    def _arp(self, port: PortSecurity) -> Verdict:
        if self._packet.onto is not None:
            return self._onto(port, self._packet.onto)
        if self._packet.gratuitous or self._packet.everyone:
            return self._to_all(port)
        return self._reach(port.network_id, self._packet.src, self._packet.dst)

    def _to_all(self, port: PortSecurity) -> Verdict:
        others = tuple(other.nic_id for other in self._index.ports_of[port.network_id] if other is not port)
        self._note("segment", "to all", f"switch:{port.network_id}")
        return self._deliver(others, self._packet.src, self._packet.dst)

    def _ip(self, port: PortSecurity) -> Verdict:
        packet, gateway = self._packet, self._index.gateways.get(port.network_id)
        if packet.everyone:
            return self._to_all(port)
        if packet.onto is not None:
            return self._onto(port, packet.onto)
        if gateway is None or contains(gateway, packet.version, packet.dst):
            return self._reach(port.network_id, packet.src, packet.dst)
        return self._route(port)

    def _onto(self, port: PortSecurity, nic_id: str) -> Verdict:
        packet, target = self._packet, self._index.ports.get(nic_id)
        if target is None or target.network_id != port.network_id:
            return self._drop("no-holder", "segment")
        if packet.proto != "arp" and not owns(target, packet.version, packet.dst):
            return self._drop("not-addressed-to-port", "deliver", target.id)
        return self._deliver((nic_id,), packet.src, packet.dst, target.id)

    def _reach(self, network_id: str, src: int, dst: int) -> Verdict:
        version, gateway = self._packet.version, self._index.gateways.get(network_id)
        if gateway is not None and dst == (gateway.gateway if version == 4 else gateway.gateway6):
            return self._deliver((ROUTER,), src, dst, gateway.id)
        port = self._holder((network_id, version, dst))
        if port is not None:
            return self._deliver((port.nic_id,), src, dst, port.id)
        segment = self._index.segments.get(network_id)
        if segment is not None and segment.leg is not None and (network_id, version, dst) not in self._index.vips:
            return self._deliver((OUTSIDE,), src, dst, segment.id)
        return self._drop("no-holder", "holder", f"switch:{network_id}")

    def _holder(self, place: Place) -> PortSecurity | None:
        vip, ports = self._index.vips.get(place), self._index.ports_at.get(place, [])
        if vip is None:
            return ports[0] if ports else None
        port = next((port for port in ports if port.nic_id == self._holders.get(place)), None)
        if port is None or port.nic_id not in {member.nic_id for member in vip.members}:
            return None
        self._note("holder", f"held by {port.device}", vip.id)
        return port

    def _route(self, port: PortSecurity) -> Verdict:
        packet, router = self._packet, self._index.routers.get(port.vpc_id)
        if router is None:
            return self._drop("no-route", "router")
        self._note("router", "to the gateway", f"subnet:{port.network_id}")
        subnet = self._index.subnet(port.vpc_id, packet.version, packet.dst)
        if subnet is not None:
            self._note("router", "to another subnet", subnet.id)
            return self._reach(subnet.network_id, packet.src, packet.dst)
        if packet.version == 6:
            return self._drop("no-route", "router", router.id)
        mapping = self._index.answers_outside(packet.dst)
        return self._hairpin(mapping) if mapping is not None and mapping.vpc_id == port.vpc_id else self._leave(router)

    def _hairpin(self, mapping: EipMapping) -> Verdict:
        subnet = self._index.subnet(mapping.vpc_id, 4, mapping.vip)
        if subnet is None:
            return self._drop("no-route", "router", mapping.id)
        self._note("nat", "destination becomes the VIP", mapping.id)
        self._note("nat", "source becomes the gateway: the answer must come back this way", subnet.id)
        return self._reach(subnet.network_id, subnet.gateway, mapping.vip)

    def _leave(self, router: VpcRouting) -> Verdict:
        if self._index.vpc_around(4, self._packet.dst) is not None:
            return self._drop("other-vpc", "router", router.id)
        mapping, uplink = self._index.mapped.get((router.vpc_id, self._packet.src)), self._index.masquerade()
        if mapping is not None and router.mode in ("eip", "eip-distgw"):
            self._note("nat", "source becomes the EIP", mapping.id)
            return self._cross(mapping.eip)
        if router.mode in ("eip", "none"):
            return self._drop("private-source" if router.mode == "eip" else "vpc-mode", "uplink", router.id)
        if uplink is None or uplink.uplink.address is None:
            return self._drop("no-route", "uplink", router.id)
        self._note("nat", "source becomes the uplink's address", uplink.id)
        return self._cross(uplink.uplink.address[0])

    def _cross(self, src: int) -> Verdict:
        """Leave as `src`: to the world, or back in by somebody's EIP, as an outsider would."""
        if self._packet.dst in self._index.eips or self._is_uplink_address(self._packet.dst):
            return self._enter(src)
        self._note("uplink", "out")
        return self._deliver((OUTSIDE,), src, self._packet.dst)

    def _enter(self, src: int) -> Verdict:
        packet = self._packet
        if packet.version == 4 and packet.dst in self._index.eips:
            return self._to_eip(src, self._index.eips[packet.dst])
        if packet.version == 4 and self._is_uplink_address(packet.dst):
            return self._deliver((ROUTER,), src, packet.dst) if packet.proto == "arp" else self._drop("closed", "uplink")
        inside = self._index.vpc_around(packet.version, packet.dst) is not None
        return self._drop("closed" if inside else "unmapped", "uplink")

    def _to_eip(self, src: int, mapping: EipMapping) -> Verdict:
        if self._index.answers_outside(mapping.eip) is None:
            return self._drop("vpc-mode", "uplink", f"vpc:{mapping.vpc_id}")
        if self._packet.proto == "arp":
            return self._deliver((ROUTER,), src, mapping.eip, mapping.id)
        if self._packet.proto == "vrrp":
            return self._drop("vrrp-guard", "vrrp-guard", mapping.id)
        subnet = self._index.subnet(mapping.vpc_id, 4, mapping.vip)
        if subnet is None:
            return self._drop("no-route", "router", mapping.id)
        self._note("nat", "destination becomes the VIP", mapping.id)
        return self._reach(subnet.network_id, src, mapping.vip)

    def _is_for(self, port: PortSecurity) -> bool:
        packet = self._packet
        return packet.onto in (None, port.nic_id) and owns(port, packet.version, packet.dst)

    def _is_uplink_address(self, ip: int) -> bool:
        return any(uplink.uplink.address is not None and uplink.uplink.address[0] == ip for uplink in self._index.uplinks)

    def _note(self, stage: Stage, action: str, evidence: str = "") -> None:
        self._steps.append(Step(stage, action, evidence))

    def _deliver(self, to: tuple[str, ...], src: int, dst: int, evidence: str = "") -> Delivered:
        self._note("deliver", "delivered", evidence)
        return Delivered(to=to, src=src, dst=dst, steps=tuple(self._steps))

    def _drop(self, reason: Reason, stage: Stage, evidence: str = "") -> Dropped:
        self._note(stage, f"dropped: {reason}", evidence)
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
