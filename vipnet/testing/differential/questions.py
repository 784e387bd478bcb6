"""Packets at random, of the addresses that are or were in a cloud and of those beside them. Needs hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from vipnet.addresses import format_ip4, format_ip6, link_local
from vipnet.controller import Controller
from vipnet.model import DEFAULT_VPC, Eip, Membership, Network, Nic, Vip
from vipnet.testing.differential.case import BEYOND, OUTSIDE, Question, QuestionProtocol
from vipnet.testing.differential.setting import BEYOND_IP, BEYOND_IP6, DEVICES, LEGGED, UPLINK, WORLD, WORLD_IP6
from vipnet.testing.frames import ALL_NODES
from vipnet.testing.probe import VRRP_GROUP, VRRP_GROUP6

__all__ = ["Questions"]

T = TypeVar("T")
Row = TypeVar("Row", Eip, Membership, Network, Nic, Vip)

_ANYWHERE, _ANYWHERE6, _UNMAPPED = "198.51.100.7", "2001:db8:9::9", "203.0.113.105"
_FORGED = "02:00:00:00:00:66"
_WEIGHTS: dict[QuestionProtocol, int] = {"udp": 6, "tcp": 5, "icmp": 4, "arp-request": 3, "arp-reply": 1, "vrrp": 1, "tagged": 1}
_WEIGHTS6: dict[QuestionProtocol, int] = {"udp": 5, "tcp": 4, "icmp": 4, "ns": 4, "na": 2, "vrrp": 1, "ra": 1}


def _weighted(weights: dict[QuestionProtocol, int]) -> tuple[QuestionProtocol, ...]:
    return tuple(proto for proto, weight in weights.items() for _ in range(weight))


_FROM_BEYOND6: tuple[QuestionProtocol, ...] = ("udp", "icmp", "ns", "na", "vrrp")
_PROTOCOLS, _PROTOCOLS6 = _weighted(_WEIGHTS), _weighted(_WEIGHTS6)


class Questions:
    """Draws questions about a cloud as it is when it is asked."""

    def __init__(self, draw: st.DrawFn, cloud: Controller) -> None:
        self._draw, self._cloud = draw, cloud
        self._holders: dict[str, str] = {}
        self._once: dict[str, None] = {}  # every address that ever was, in the order of appearance
        self._once6: dict[str, None] = {}

    def note_holder(self, device: str, ip: str) -> None:
        """Remember who announced an IPv4 address."""
        if ":" not in ip:
            self._holders[device] = ip

    def note_addresses(self) -> None:
        """Remember the addresses that there are."""
        self._once.update(dict.fromkeys(self._present()))
        found: list[int] = [nic.ip6 for nic in self._nics() if nic.ip6 is not None]
        found += [vip.ip6 for vip in self._all(Vip) if vip.ip6 is not None]
        self._once6.update(dict.fromkeys(map(format_ip6, found)))

    def draw_one(self) -> Question:
        """Draw a question."""
        kind = self._below(24)
        if kind < 5:
            return self._from_outside()
        if kind == 5:
            return self._from_beyond()
        nics = self._nics()
        if not nics or self._below(40) == 0:
            return self._of(self._one(DEVICES), self._one(self._known()))
        if kind < 8:
            return self._vrrp(nics)
        nic = self._one(nics)
        if nic.ip6 is not None and kind < 16:
            return self._of6(nic, nic.ip6)
        return self._of(nic.device, self._source(nic))

    def _from_outside(self) -> Question:
        src = self._one((*[WORLD] * 8, _ANYWHERE, self._one(self._known())))
        proto, eips = self._one(_PROTOCOLS), self._eips()
        if self._once6 and self._below(8) == 0:
            via = self._one((UPLINK, *eips))
            return Question(sender=OUTSIDE, proto="udp", src=WORLD_IP6, dst=self._one(self._known6()), via=via)
        if proto in ("arp-request", "arp-reply", "tagged"):
            return Question(sender=OUTSIDE, proto="arp-request", src=WORLD, dst=self._one(self._known()))
        dst = self._one(eips) if eips and self._below(3) else self._one(self._known())
        return Question(sender=OUTSIDE, proto=proto, src=src, dst=dst, via=self._one((UPLINK, *eips)))

    def _eips(self) -> list[str]:
        """EIPs, those more often that are mapped."""
        return [format_ip4(eip.ip) for eip in self._all(Eip) for _ in range(1 if eip.vip_id is None else 3)]

    def _from_beyond(self) -> Question:
        networks = [network for network in self._all(Network) if network.name == LEGGED]
        here = [format_ip4(nic.ip) for nic in self._nics() if networks and nic.network_id == networks[0].id]
        vips = [format_ip4(vip.ip) for vip in self._all(Vip) if networks and vip.network_id == networks[0].id]
        src = self._one((*[BEYOND_IP] * 4, *here, *vips))
        here6 = self._near6(networks[0].vpc_id) if networks and networks[0].prefix6 else []
        if here6 and self._below(3) == 0:
            src6, proto6 = self._one((BEYOND_IP6, BEYOND_IP6, *here6)), self._one(_FROM_BEYOND6)
            dst6 = VRRP_GROUP6 if proto6 == "vrrp" else self._one(here6)
            return Question(sender=BEYOND, proto=proto6, src=src6, dst=dst6)
        proto = self._one(_PROTOCOLS)
        if proto == "vrrp":
            return Question(sender=BEYOND, proto=proto, src=src, dst=VRRP_GROUP)
        proto = "udp" if proto == "tagged" else proto
        return Question(sender=BEYOND, proto=proto, src=src, dst=self._one((*here, *vips, "172.16.0.99")))

    def _of(self, device: str, src: str) -> Question:
        mac = _FORGED if self._below(20) == 0 else None
        proto = self._one(_PROTOCOLS)
        onto = self._onto(device) if proto in ("udp", "tcp", "icmp") and self._below(8) == 0 else None
        dst = src if proto.startswith("arp") and self._below(5) == 0 else self._destination(device)
        return Question(sender=device, proto=proto, src=src, dst=dst, mac=mac, onto=onto)

    def _onto(self, device: str) -> str | None:
        """Another machine, mostly of the same network."""
        nics = {nic.device: nic.network_id for nic in self._nics()}
        beside = [other for other, network_id in nics.items() if other != device and network_id == nics.get(device)]
        return self._one(beside if beside and self._below(4) else [other for other in DEVICES if other != device])

    def _of6(self, nic: Nic, own: int) -> Question:
        proto = self._one(_PROTOCOLS6)
        mac = _FORGED if self._below(20) == 0 else None
        onto = self._onto(nic.device) if proto in ("udp", "tcp", "icmp") and self._below(8) == 0 else None
        src = self._source6(nic, own)
        if proto == "vrrp":
            return Question(sender=nic.device, proto=proto, src=src, dst=VRRP_GROUP6, mac=mac)
        if proto == "ra":
            return Question(sender=nic.device, proto=proto, src=src, dst=ALL_NODES, mac=mac)
        near = self._near6(self._cloud.topology.at(Network, nic.network_id).vpc_id)
        dst = src if proto in ("ns", "na") and self._below(5) == 0 else self._one((*near, *near, *self._known6()))
        return Question(sender=nic.device, proto=proto, src=src, dst=dst, mac=mac, onto=onto)

    def _source6(self, nic: Nic, own: int) -> str:
        kind, vips = self._below(12), [vip.ip6 for vip in self._all(Vip) if vip.network_id == nic.network_id and vip.ip6]
        if vips and kind < 4:
            return format_ip6(self._one(vips))
        if kind == 10:
            return format_ip6(link_local(self._one((nic.mac, _FORGED))))
        return self._one(self._known6()) if kind == 11 else format_ip6(own)

    def _near6(self, vpc_id: str) -> list[str]:
        """IPv6 addresses of a VPC, and one that nobody has."""
        networks = [one for one in self._all(Network) if one.vpc_id == vpc_id and one.prefix6 is not None]
        ids = {network.id for network in networks}
        found: list[int] = [nic.ip6 for nic in self._nics() if nic.network_id in ids and nic.ip6 is not None]
        found += [vip.ip6 for vip in self._all(Vip) if vip.network_id in ids and vip.ip6 is not None]
        if vpc_id != DEFAULT_VPC:
            found += [network.gateway6 for network in networks if network.gateway6 is not None]
        return [format_ip6(ip) for ip in found] + ["fd00:1::99"] + ([BEYOND_IP6] if vpc_id == DEFAULT_VPC else [])

    def _known6(self) -> list[str]:
        return [*self._once6, _ANYWHERE6]

    def _vrrp(self, nics: Sequence[Nic]) -> Question:
        """Mostly of a member to the others of its group."""
        members = {row.server_id for row in self._all(Membership)}
        nic = self._one([one for one in nics if one.server_id in members] or nics)
        peers = [other for other in nics if other.network_id == nic.network_id and other is not nic]
        src = format_ip4(nic.ip) if self._below(4) else self._source(nic)
        mac = _FORGED if self._below(16) == 0 else None
        to = format_ip4(self._one(peers).ip) if peers and self._below(3) == 0 else VRRP_GROUP
        return Question(sender=nic.device, proto="vrrp", src=src, dst=to, mac=mac)

    def _source(self, nic: Nic) -> str:
        """Mostly its own address or one that it holds."""
        kind, held = self._below(12), self._holders.get(nic.device)
        if held is not None and kind < 4:
            return held
        return self._one(self._known()) if kind == 11 else format_ip4(nic.ip)

    def _destination(self, device: str) -> str:
        nic = next((nic for nic in self._nics() if nic.device == device), None)
        kind, eips = self._below(12), self._eips()
        if nic is not None and kind < 6:
            return self._one([ip for ip in self._near(nic) if ip != format_ip4(nic.ip)])
        if kind < 8:
            return self._one((WORLD, WORLD, _ANYWHERE))
        return self._one(eips) if eips and kind < 10 else self._one(self._known())

    def _near(self, nic: Nic) -> list[str]:
        """Addresses of the VPC."""
        topology = self._cloud.topology
        vpc_id = topology.at(Network, nic.network_id).vpc_id
        networks = {network.id for network in topology.by(Network, "vpc_id", vpc_id) if network.server_type == "guest"}
        found: list[int] = [nic.ip for nic in self._nics() if nic.network_id in networks for _ in range(2)]
        found += [vip.ip for vip in self._all(Vip) if vip.network_id in networks]
        found += [network.gateway for network in self._all(Network) if network.id in networks and network.gateway is not None]
        beside = [network.end for network in self._all(Network) if network.id in networks]
        return [format_ip4(ip) for ip in (*found, *beside)] + ([BEYOND_IP] if vpc_id == DEFAULT_VPC else [])

    def _present(self) -> list[str]:
        found: list[int] = [nic.ip for nic in self._nics()]
        found += [*(vip.ip for vip in self._all(Vip)), *(eip.ip for eip in self._all(Eip))]
        found += [network.gateway for network in self._all(Network) if network.gateway is not None]
        return [format_ip4(ip) for ip in found]

    def _known(self) -> list[str]:
        return [*self._once, UPLINK, WORLD, _UNMAPPED, "10.1.0.13"]

    def _nics(self) -> list[Nic]:
        return sorted(self._cloud.topology.all(Nic), key=lambda nic: nic.device)

    def _all(self, kind: type[Row]) -> list[Row]:
        return sorted(self._cloud.topology.all(kind), key=lambda thing: thing.id)

    def _below(self, count: int) -> int:
        return self._draw(st.integers(0, count - 1))

    def _one(self, things: Sequence[T]) -> T:
        return self._draw(st.sampled_from(things))
