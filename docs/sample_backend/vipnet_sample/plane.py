"""The data plane: it forwards packets by what the files say, and knows nothing of vipnet."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

__all__ = ["OUTSIDE", "Arrival", "Packet", "Plane"]

OUTSIDE, ROUTER = "outside", "router"
_VRRP_GROUP = "224.0.0.18"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """From a port to an address. `mac` is forged if given; `onto` the port to whose MAC the frame goes, if it says so."""

    src: str
    dst: str
    proto: str
    mac: str | None = None
    onto: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """The ports that a packet came to (or OUTSIDE, or ROUTER: none of the machines'), and its addresses then."""

    to: frozenset[str]
    src: str
    dst: str
    hops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Port:
    network: str
    device: str
    mac: str
    ips: frozenset[str]
    peers: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Leg:
    network: str
    vpc: str
    gateway: str
    length: str

    def contains(self, ip: str) -> bool:
        return ip_address(ip) in ip_network(f"{self.gateway}/{self.length}", strict=False)


class Plane:
    """A switch and routers. `announced` says which port announced an address of a network last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.announced: dict[tuple[str, str], str] = {}
        self.load()

    def load(self) -> None:
        """Look at the files again, and forget who announced what it may hold no more."""
        self._ports = {port.device: port for port in map(_port, self._rows("port"))}
        self._legs = {name: _Leg(name, *words) for _, name, *words in self._rows("leg")}
        self._modes = {name: mode for _, name, mode in self._rows("router")}
        self._masks = [address for _, _, address, masquerade in self._rows("uplink") if masquerade != "-"]
        self._nat = {eip: (vpc, vip) for _, _, vpc, eip, vip in self._rows("nat")}
        self._vips = {(network, ip): _set(devices) for _, _, network, ip, devices in self._rows("vip")}
        self.announced = {place: device for place, device in self.announced.items() if device in self._vips.get(place, ())}

    def send(self, sender: str, packet: Packet) -> Arrival | None:
        """Where a packet comes to; None: nowhere."""
        if sender == OUTSIDE:
            return self._enter(packet.src, packet.dst, packet.proto)
        port = self._ports.get(sender)
        if port is None or packet.mac not in (None, port.mac) or packet.src not in port.ips:
            return None
        if packet.proto == "vrrp":
            return self._vrrp(port, packet)
        if packet.proto == "arp" and packet.src == packet.dst:
            return self._announce(port, packet)
        return self._forward(port, packet)

    def _rows(self, table: str) -> list[list[str]]:
        file = self.folder / f"{table}.table"
        return [line.split() for line in file.read_text().splitlines() if not line.startswith("#")] if file.exists() else []

    def _vrrp(self, port: _Port, packet: Packet) -> Arrival | None:
        peers = (self._ports[device] for device in port.peers if device in self._ports)
        heard = frozenset(peer.device for peer in peers if packet.dst == _VRRP_GROUP or packet.dst in peer.ips)
        return Arrival(heard, packet.src, packet.dst) if heard else None

    def _announce(self, port: _Port, packet: Packet) -> Arrival:
        if port.device in self._vips.get((port.network, packet.src), ()):
            self.announced[port.network, packet.src] = port.device
        others = (other.device for other in self._ports.values() if other.network == port.network and other is not port)
        return Arrival(frozenset(others), packet.src, packet.dst)

    def _forward(self, port: _Port, packet: Packet) -> Arrival | None:
        if packet.onto in self._ports:
            other = self._ports[packet.onto]
            fits = other.network == port.network and packet.dst in other.ips
            return Arrival(frozenset({other.device}), packet.src, packet.dst) if fits else None
        leg = self._legs[port.network]
        if packet.proto == "arp" or leg.contains(packet.dst):
            return self._reach(port.network, packet.src, packet.dst)
        return self._route(leg, packet)

    def _reach(self, network: str, src: str, dst: str, *hops: str) -> Arrival | None:
        """Deliver on a segment: to the gateway, to the holder of a VIP, to whose own address it is."""
        if dst == self._legs[network].gateway:
            return Arrival(frozenset({ROUTER}), src, dst, hops)
        ports = (port for port in self._ports.values() if port.network == network and dst in port.ips)
        if (network, dst) in self._vips:
            ports = (port for port in ports if self.announced.get((network, dst)) == port.device)
        port = next(ports, None)
        return None if port is None else Arrival(frozenset({port.device}), src, dst, hops)

    def _route(self, leg: _Leg, packet: Packet) -> Arrival | None:
        inside = self._leg_of(leg.vpc, packet.dst)
        if inside is not None:
            return self._reach(inside.network, packet.src, packet.dst, leg.gateway)
        vpc, vip = self._nat.get(packet.dst, ("", ""))
        if vpc == leg.vpc and (behind := self._leg_of(vpc, vip)) is not None:  # the answer must come back this way, too
            return self._reach(behind.network, behind.gateway, vip, leg.gateway)
        return self._leave(leg, packet)

    def _leave(self, leg: _Leg, packet: Packet) -> Arrival | None:
        mode, eips = self._modes[leg.vpc], {where: eip for eip, where in self._nat.items()}
        src = eips.get((leg.vpc, packet.src)) if mode in ("eip", "eip-distgw") else None
        if src is None and mode in ("distgw", "eip-distgw"):
            src = next(iter(self._masks), None)
        if src is None or any(other.contains(packet.dst) for other in self._legs.values()):
            return None
        if packet.dst in self._nat or packet.dst in self._masks:
            return self._enter(src, packet.dst, packet.proto, leg.gateway)
        return Arrival(frozenset({OUTSIDE}), src, packet.dst, (leg.gateway,))

    def _enter(self, src: str, dst: str, proto: str, *hops: str) -> Arrival | None:
        vpc, vip = self._nat.get(dst, ("", ""))
        leg = self._leg_of(vpc, vip) if self._modes.get(vpc) in ("eip", "eip-distgw") else None
        if leg is None:
            return Arrival(frozenset({ROUTER}), src, dst) if proto == "arp" and dst in self._masks else None
        if proto == "arp":
            return Arrival(frozenset({ROUTER}), src, dst)
        return None if proto == "vrrp" else self._reach(leg.network, src, vip, *hops, dst)

    def _leg_of(self, vpc: str, ip: str) -> _Leg | None:
        return next((leg for leg in self._legs.values() if leg.vpc == vpc and leg.contains(ip)), None)


def _port(row: list[str]) -> _Port:
    _, _, network, device, mac, ips, peers = row
    return _Port(network, device, mac, _set(ips), _set(peers))


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split(",")) - {"-"}
