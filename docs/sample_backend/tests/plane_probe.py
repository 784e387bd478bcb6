"""The questions of the contract, asked of the data plane of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vipnet.testing import Answer, Frame, IcmpError, Scene
from vipnet.testing.probe import OUTSIDE, Announcement, Complaint
from vipnet_sample.plane import Arrival, Packet, Plane

__all__ = ["PlaneProbe"]


@dataclass(slots=True)
class _Connection:
    """Lives while its packets come to where they came at first."""

    sender: str
    packet: Packet
    arrival: Arrival
    is_cut: bool = False

    def alive(self) -> bool:
        return not self.is_cut


@dataclass(slots=True)
class PlaneProbe:
    """Implements `vipnet.testing.Probe`. A machine is known to the data plane by its port."""

    plane: Plane
    scene: Scene
    connections: list[_Connection] = field(default_factory=list[_Connection])

    def refresh(self, scene: Scene) -> None:
        self.scene = scene
        self.plane.load()
        self._cut()

    def hold(self, server: str, vip: str, form: Announcement = "request") -> None:
        del form  # a request and a reply announce alike
        self._send(server, vip, "arp", vip)
        self._cut()

    def drop(self, server: str, vip: str) -> None:
        """Nothing to do: who holds an address is who announced it last."""

    def udp(self, sender: str, dst: str, *, src: str | None = None, size: int = 64) -> Answer | None:
        del size  # there is no MTU here
        return self._answer(self._send(sender, dst, "udp", src))

    def tcp(self, sender: str, dst: str, *, src: str | None = None) -> Answer | None:
        return self._answer(self._send(sender, dst, "tcp", src))

    def ping(self, sender: str, dst: str, *, src: str | None = None) -> bool:
        arrival = self._send(sender, dst, "icmp", src)
        return arrival is not None and (OUTSIDE not in arrival.to or arrival.dst == self.scene.outside)

    def connect(self, sender: str, dst: str) -> _Connection:
        packet = Packet(src=self._own(sender), dst=dst, proto="tcp")
        arrival = self.plane.send(self._port(sender), packet)
        if arrival is None:
            raise ConnectionError(f"{sender} cannot connect to {dst}")
        self.connections.append(_Connection(self._port(sender), packet, arrival))
        return self.connections[-1]

    def told(self, sender: str, dst: str, complaint: Complaint, *, at: str, src: str | None = None) -> IcmpError | None:
        if at not in self._names(self._send(sender, dst, "udp", src)):
            return None
        return IcmpError(complaint, self.scene.outside if at == OUTSIDE else dst)

    def trace(self, sender: str, dst: str, *, src: str | None = None) -> tuple[str, ...]:
        arrival = self._send(sender, dst, "udp", src)
        return () if arrival is None else (*arrival.hops, dst)

    def resolves(self, sender: str, ip: str) -> bool:
        return self._send(sender, ip, "arp") is not None

    def heard(self, sender: str, frame: Frame) -> frozenset[str]:
        proto = "arp" if frame.proto.startswith("arp") else frame.proto
        onto = f"tap-{frame.onto}" if frame.onto in {server.name for server in self.scene.servers} else None
        packet = Packet(src=frame.src, dst=frame.dst, proto=proto, mac=frame.mac, onto=onto)
        return self._names(self.plane.send(self._port(sender), packet))

    def carried(self, sender: str, make: Callable[[bytes], Sequence[bytes]]) -> frozenset[str]:
        raise NotImplementedError("this data plane knows no bytes; frames of bytes are asked of those that do IPv6")

    def _send(self, sender: str, dst: str, proto: str, src: str | None = None) -> Arrival | None:
        return self.plane.send(self._port(sender), Packet(src=src or self._own(sender), dst=dst, proto=proto))

    def _own(self, sender: str) -> str:
        return self.scene.outside if sender == OUTSIDE else self.scene.server(sender).ip

    def _port(self, sender: str) -> str:
        return sender if sender == OUTSIDE else self.scene.server(sender).device

    def _names(self, arrival: Arrival | None) -> frozenset[str]:
        to = frozenset[str]() if arrival is None else arrival.to
        machines = {server.device: server.name for server in self.scene.servers} | {OUTSIDE: OUTSIDE}
        return frozenset(machines[port] for port in to if port in machines)

    def _answer(self, arrival: Arrival | None) -> Answer | None:
        names = self._names(arrival)
        if arrival is None or len(names) != 1 or (OUTSIDE in names and arrival.dst != self.scene.outside):
            return None
        return Answer(next(iter(names)), arrival.src)

    def _cut(self) -> None:
        for one in self.connections:
            one.is_cut |= self.plane.send(one.sender, one.packet) != one.arrival
