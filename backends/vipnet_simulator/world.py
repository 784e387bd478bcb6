"""The packet world: what happens to packets under entries that are installed, whoever wanted them.

An answer follows from the entries and from who announced each VIP last, and from nothing else. The world keeps the
connections that were opened in it, as the endpoints of a real network would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vipnet.packets import Delivered, Dropped, IntentIndex, Journey, Packet, Place, Step, Verdict
from vipnet_simulator.entry import Installed, SimulatorEntry
from vipnet_simulator.wire import Forbidden, read_frame

__all__ = ["Connection", "World"]


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """An established flow: its first packet, where that came from, and where it went. Each is itself alone."""

    packet: Packet
    from_: str
    verdict: Delivered


class World:
    """Answers packet questions. `announced` says which NIC announced a VIP last, by network, IP version and address."""

    def __init__(self, entries: Iterable[SimulatorEntry], *, announced: Mapping[Place, str] | None = None) -> None:
        self._index = _in_force(entries)
        self._holders: dict[Place, str] = dict(announced or {})
        self._connections: set[Connection] = set()

    @property
    def holders(self) -> Mapping[Place, str]:
        """The NIC that holds each VIP that anybody holds."""
        return dict(self._holders)

    def send(self, packet: Packet, *, from_: str) -> Verdict:
        """Follow the first packet of a flow from a NIC (its id), OUTSIDE, or LEG and a network's id.

        A gratuitous `arp` packet that port security lets pass also tells who holds the VIP.
        """
        verdict = self._follow(packet, from_)
        if packet.gratuitous and isinstance(verdict, Delivered):
            self._learn(packet, from_)
        return verdict

    def send_frame(self, frame: bytes, *, from_: str) -> Verdict:
        """Follow one frame, as bytes, from a NIC: what it is follows from the bytes alone."""
        read = read_frame(frame)
        if isinstance(read, Forbidden):
            steps = Step("port-security", read.why), Step("port-security", "dropped: forbidden-frame")
            return Dropped(reason="forbidden-frame", steps=steps)
        port = self._index.port(from_)
        if port is None or read.to_everyone:
            return self.send(replace(read.packet, everyone=read.to_everyone), from_=from_)
        if read.to == self.router_mac(from_):
            return self.send(read.packet, from_=from_)
        target = next((other.nic_id for other in self._index.ports_of(port.network_id) if other.mac == read.to), read.to)
        return self.send(replace(read.packet, onto=target), from_=from_)

    def router_mac(self, nic_id: str) -> str | None:
        """The MAC of the router in the subnet of a NIC."""
        port = self._index.port(nic_id)
        gateway = None if port is None else self._index.gateway(port.network_id)
        return None if gateway is None else gateway.mac

    def connect(self, packet: Packet, *, from_: str) -> Connection | Dropped:
        """Open a connection: it lives while its packets go the same way and `replace_entries` cut nothing on it."""
        verdict = self._follow(packet, from_)
        if isinstance(verdict, Dropped):
            return verdict
        connection = Connection(packet, from_, verdict)
        self._connections.add(connection)
        return connection

    def lives(self, connection: Connection) -> bool:
        """Whether an established connection still carries packets."""
        return connection in self._connections

    def replace_entries(self, entries: Iterable[SimulatorEntry]) -> None:
        """Let these entries be installed instead. Who may hold a VIP no more does not; what led elsewhere is cut."""
        self._index = _in_force(entries)
        self._holders = {place: nic_id for place, nic_id in self._holders.items() if self._may_hold(place, nic_id)}
        self._cut()

    def presume_holders(self) -> World:
        """The same world, in which the first member holds each VIP that nobody announced: keepalived's first choice."""
        presumed = {place: vip.members[0].nic_id for place, vip in self._index.vips() if vip.members}
        world = World((), announced=presumed | self._holders)
        world._index = self._index
        return world

    def _follow(self, packet: Packet, from_: str) -> Verdict:
        return Journey(self._index, self._holders.get, packet).follow(from_)

    def _learn(self, packet: Packet, from_: str) -> None:
        port = self._index.port(from_)
        place = None if port is None else (port.network_id, packet.version, packet.src)
        if place is not None and self._may_hold(place, from_):
            self._holders[place] = from_
            self._cut()

    def _may_hold(self, place: Place, nic_id: str) -> bool:
        vip = self._index.vip(place)
        return vip is not None and nic_id in {member.nic_id for member in vip.members}

    def _cut(self) -> None:
        self._connections = {connection for connection in self._connections if self._goes_on(connection)}

    def _goes_on(self, connection: Connection) -> bool:
        now = self._follow(connection.packet, connection.from_)
        return isinstance(now, Delivered) and replace(now, steps=connection.verdict.steps) == connection.verdict


def _in_force(entries: Iterable[SimulatorEntry]) -> IntentIndex:
    """The intents of entries; a DamagedLine is in force nowhere."""
    return IntentIndex(entry.intent for entry in entries if isinstance(entry, Installed))
