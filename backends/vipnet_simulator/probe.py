"""The simulator as a network that the packet promises are asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from vipnet.addresses import format_ip, ip_of
from vipnet.backend import Backend
from vipnet.intents import PortSecurity
from vipnet.packets import OUTSIDE, Delivered, Packet, Protocol, Verdict
from vipnet.testing import frames
from vipnet.testing.probe import Announcement, Answer, Complaint, Frame, IcmpError
from vipnet.testing.scene import Scene
from vipnet_simulator.entry import Installed, SimulatorEntry
from vipnet_simulator.world import Connection, World

__all__ = ["SimulatedProbe"]


@dataclass(frozen=True, slots=True)
class _Connection:
    world: World
    connection: Connection

    def alive(self) -> bool:
        return self.world.lives(self.connection)


class SimulatedProbe:
    """Implements `vipnet.testing.Probe` on the entries that a backend has installed."""

    def __init__(self, backend: Backend[SimulatorEntry], scene: Scene) -> None:
        self._backend = backend
        self.world = World(())
        self.refresh(scene)

    def refresh(self, scene: Scene) -> None:
        entries = self._backend.read().values()
        self._scene = scene
        self._nics = {server.name: server.nic_id for server in scene.servers} | _plugged(scene, entries) | {OUTSIDE: OUTSIDE}
        self._names = {nic_id: name for name, nic_id in self._nics.items()}
        self.world.replace_entries(entries)

    def hold(self, server: str, vip: str, form: Announcement = "request") -> None:
        del form  # both forms count alike
        self._send(server, vip, vip, "arp")

    def drop(self, server: str, vip: str) -> None:
        """Do nothing: who has an address counts only as far as it was announced."""

    def udp(self, sender: str, dst: str, *, src: str | None = None, size: int = 64) -> Answer | None:
        del size  # fragments go where the first one goes
        return self._answer(dst, self._send(sender, src, dst, "udp"))

    def tcp(self, sender: str, dst: str, *, src: str | None = None) -> Answer | None:
        return self._answer(dst, self._send(sender, src, dst, "tcp"))

    def ping(self, sender: str, dst: str, *, src: str | None = None) -> bool:
        verdict = self._send(sender, src, dst, "icmp")
        return isinstance(verdict, Delivered) and (OUTSIDE not in verdict.to or verdict.dst == ip_of(self._scene.outside))

    def connect(self, sender: str, dst: str) -> _Connection:
        opened = self.world.connect(self._packet(sender, None, dst, "tcp"), from_=self._from(sender))
        if not isinstance(opened, Connection):
            raise ConnectionError(opened.reason)
        return _Connection(self.world, opened)

    def told(self, sender: str, dst: str, complaint: Complaint, *, at: str, src: str | None = None) -> IcmpError | None:
        verdict = self._send(sender, src, dst, "udp")
        if at not in self._listeners(verdict):
            return None
        # An error goes back the way that an answer would, and comes from where the sender believes that machine to be.
        return IcmpError(complaint, self._scene.outside if at == OUTSIDE else dst)

    def trace(self, sender: str, dst: str, *, src: str | None = None) -> tuple[str, ...]:
        verdict = self._send(sender, src, dst, "udp")
        return () if self._answer(dst, verdict) is None else (*self._routers(sender, dst, verdict), dst)

    def _routers(self, sender: str, dst: str, verdict: Verdict) -> Iterator[str]:
        """As whom routers on the way answer: by the gateway to whom they serve, by the EIP to whom comes in by it."""
        here = "" if sender == OUTSIDE else self._vpc(self._scene.server(sender).segment)
        if here and any(step.stage == "router" for step in verdict.steps):
            yield self._scene.segment(self._scene.server(sender).segment).gateway_ip
        groups = [self._scene.group(eip.group) for eip in self._scene.eips if eip.ip == dst]
        yield from (dst for group in groups if self._vpc(group.segment) != here)

    def _vpc(self, segment: str) -> str:
        return self._scene.segment(segment).vpc

    def resolves(self, sender: str, ip: str) -> bool:
        return isinstance(self._send(sender, None, ip, "arp"), Delivered)

    def heard(self, sender: str, frame: Frame) -> frozenset[str]:
        if sender == OUTSIDE:  # beyond a router there are no frames
            return self._listeners(self._send(sender, frame.src, frame.dst, "udp" if frame.proto == "udp" else "vrrp"))
        source = frames.mac_bytes(frame.mac or self._scene.server(sender).mac)
        target = self._target(sender, frame.onto)
        return self.carried(sender, lambda mark: [frames.build(frame, source=source, target=target, mark=mark)])

    def carried(self, sender: str, make: Callable[[bytes], Sequence[bytes]]) -> frozenset[str]:
        verdicts = [self.world.send_frame(frame, from_=self._from(sender)) for frame in make(bytes(8))]
        return frozenset[str].intersection(*map(self._listeners, verdicts))

    def _target(self, sender: str, onto: str | None) -> bytes | None:
        """A machine's MAC, or of an address, which is the router's, the router's."""
        if onto is None:
            return None
        mac = self._scene.server(onto).mac if onto in self._nics else self.world.router_mac(self._from(sender))
        assert mac is not None, f"nobody answers for {onto}"
        return frames.mac_bytes(mac)

    def _send(self, sender: str, src: str | None, dst: str, proto: Protocol) -> Verdict:
        return self.world.send(self._packet(sender, src, dst, proto), from_=self._from(sender))

    def _packet(self, sender: str, src: str | None, dst: str, proto: Protocol) -> Packet:
        source = src or self._source(sender, dst)
        return Packet(src=ip_of(source), dst=ip_of(dst), proto=proto, version=6 if ":" in dst else 4)

    def _source(self, sender: str, dst: str) -> str:
        """The address that a machine asks from; one without any of the family asks from none."""
        if ":" in dst:
            return (None if sender == OUTSIDE else self._scene.server(sender).ip6) or "::"
        return self._scene.outside if sender == OUTSIDE else self._scene.server(sender).ip

    def _from(self, sender: str) -> str:
        return self._nics[sender]

    def _answer(self, dst: str, verdict: Verdict) -> Answer | None:
        heard = self._listeners(verdict)
        if not isinstance(verdict, Delivered) or len(heard) != 1:
            return None
        if OUTSIDE in heard and verdict.dst != ip_of(self._scene.outside):
            return None  # it left, but no machine beyond has that address
        return Answer(next(iter(heard)), format_ip(6 if ":" in dst else 4, verdict.src))

    def _listeners(self, verdict: Verdict) -> frozenset[str]:
        to = verdict.to if isinstance(verdict, Delivered) else ()
        return frozenset(self._names[nic_id] for nic_id in to if nic_id in self._names)


def _plugged(scene: Scene, entries: Iterable[SimulatorEntry]) -> dict[str, str]:
    """The NICs of servers by what is installed: an id may be another than the scene's, a device is not."""
    installed = [entry.intent for entry in entries if isinstance(entry, Installed)]
    nics = {intent.device: intent.nic_id for intent in installed if isinstance(intent, PortSecurity)}
    return {server.name: nics[server.device] for server in scene.servers if server.device in nics}
