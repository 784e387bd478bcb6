"""The simulator as a network that the packet promises are asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vipnet.addresses import format_ip4, parse_ip4
from vipnet.backend import Backend
from vipnet.testing.probe import Announcement, Answer, Frame
from vipnet.testing.scene import Scene
from vipnet_simulator.entry import SimulatorEntry
from vipnet_simulator.packets import OUTSIDE, Delivered, Packet, Protocol, Verdict
from vipnet_simulator.world import Connection, World

__all__ = ["SimulatedProbe"]


@dataclass(frozen=True, slots=True)
class _Connection:
    world: World
    connection: Connection

    def alive(self) -> bool:
        return self.world.lives(self.connection)


class SimulatedProbe:
    """Implements `vipnet.testing.Probe` on the entries that a backend has installed.

    `nics` gives the id of each server's NIC where it is not the scene's own.
    """

    def __init__(self, backend: Backend[SimulatorEntry], scene: Scene, *, nics: Mapping[str, str] | None = None) -> None:
        self._backend = backend
        self._scene = scene
        self._nics = {server.name: server.nic_id for server in scene.servers} | dict(nics or {}) | {OUTSIDE: OUTSIDE}
        self._names = {nic_id: name for name, nic_id in self._nics.items()}
        self.world = World(backend.read().values())

    def refresh(self, scene: Scene) -> None:
        self._scene = scene
        self.world.replace_entries(self._backend.read().values())

    def hold(self, server: str, vip: str, form: Announcement = "request") -> None:
        del form  # both forms count alike
        self._send(server, vip, vip, "arp")

    def drop(self, server: str, vip: str) -> None:
        """Do nothing: who has an address counts only as far as it was announced."""

    def udp(self, sender: str, dst: str, *, src: str | None = None, size: int = 64) -> Answer | None:
        del size  # fragments go where the first one goes
        return self._answer(self._send(sender, src, dst, "udp"))

    def tcp(self, sender: str, dst: str, *, src: str | None = None) -> Answer | None:
        return self._answer(self._send(sender, src, dst, "tcp"))

    def ping(self, sender: str, dst: str, *, src: str | None = None) -> bool:
        verdict = self._send(sender, src, dst, "icmp")
        return isinstance(verdict, Delivered) and (OUTSIDE not in verdict.to or verdict.dst == _ip(self._scene.outside))

    def connect(self, sender: str, dst: str) -> _Connection:
        packet = Packet(src=self._source(sender, None), dst=_ip(dst), proto="tcp", sport=40000, dport=80)
        opened = self.world.connect(packet, from_=self._from(sender))
        if not isinstance(opened, Connection):
            raise ConnectionError(opened.reason)
        return _Connection(self.world, opened)

    def resolves(self, sender: str, ip: str) -> bool:
        return isinstance(self._send(sender, None, ip, "arp"), Delivered)

    def heard(self, sender: str, frame: Frame) -> frozenset[str]:
        packet = Packet(
            src=_ip(frame.src),
            dst=_ip(frame.dst),
            proto="arp" if frame.proto in ("arp-request", "arp-reply") else "vrrp" if frame.proto == "vrrp" else "udp",
            mac=frame.mac,
            onto=self._onto(frame.onto),
        )

        return self._listeners(self.world.send(packet, from_=self._from(sender)))

    def _onto(self, name: str | None) -> str | None:
        return None if name is None else self._nics.get(name)  # of an address, a router's: where a host would send it

    def _send(self, sender: str, src: str | None, dst: str, proto: Protocol) -> Verdict:
        packet = Packet(src=self._source(sender, src), dst=_ip(dst), proto=proto)
        return self.world.send(packet, from_=self._from(sender))

    def _source(self, sender: str, src: str | None) -> int:
        return _ip(src or (self._scene.outside if sender == OUTSIDE else self._scene.server(sender).ip))

    def _from(self, sender: str) -> str:
        return self._nics[sender]

    def _answer(self, verdict: Verdict) -> Answer | None:
        heard = self._listeners(verdict)
        if not isinstance(verdict, Delivered) or len(heard) != 1:
            return None
        if OUTSIDE in heard and verdict.dst != _ip(self._scene.outside):
            return None  # it left, but no machine beyond has that address
        return Answer(next(iter(heard)), format_ip4(verdict.src))

    def _listeners(self, verdict: Verdict) -> frozenset[str]:
        to = verdict.to if isinstance(verdict, Delivered) else ()
        return frozenset(self._names[nic_id] for nic_id in to if nic_id in self._names)


def _ip(text: str) -> int:
    return parse_ip4(text, what="an address of the probe")
