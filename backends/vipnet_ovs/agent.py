"""What the switch cannot do alone: it remembers who announced a VIP, asks for neighbours, and tells of packets that went too far.

One agent serves a bridge at a time, whichever process has it; another one takes over when that ends. Flows of holders count
only while the agent says, every so often, that it is there (table `watched`): so a dead one leaves no stale holder behind.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from vipnet.errors import DataplaneError
from vipnet_ovs import fields, frames
from vipnet_ovs.announcing import announcements
from vipnet_ovs.entries import Entry
from vipnet_ovs.flows import CONTROLLER, goto, load
from vipnet_ovs.names import OURS
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.punts import Punt, Reason
from vipnet_ovs.wire import actions, messages, oxm
from vipnet_ovs.wire.connection import Connection
from vipnet_ovs.wire.messages import FlowCommand, Kind, flow_mod
from vipnet_ovs.wire.replies import PacketIn, packet_in

__all__ = ["HOLDER", "Agent", "Claim", "holder_match"]

HOLDER: Final = 200
"""The priority of a holder's flow in table `neighbour`."""

_ALIVE, _RENEWED = 4, 1.5
"""Seconds for which the flow lasts that says the agent is there, and after which it is renewed."""

_PATIENCE: Final = 0.25
_REPEATS: Final = (0.0, 1.0, 2.0)
"""When an EIP is announced, in seconds: should one be lost (3 times, 1 s apart)."""

_ALL_REASONS: Final = 0b111
_TTL_REASON: Final = 2


class Claim(NamedTuple):
    """A member announced a VIP."""

    port: int
    mac: bytes
    ip: int
    version: int


class Agent(threading.Thread):
    """A thread that serves the bridge at a socket, as soon as nobody else does."""

    def __init__(self, socket: Path) -> None:
        super().__init__(name="vipnet-ovs", daemon=True)
        self._socket = socket
        self._lock_file = socket.with_suffix(".vipnet")
        self._ended = threading.Event()
        self._news: queue.SimpleQueue[list[Entry]] = queue.SimpleQueue()
        self._due: list[tuple[float, bytes]] = []
        self._asked: dict[tuple[int, int], float] = {}
        self._told: dict[tuple[int, int, int], bytes] = {}
        self.report: Callable[[Claim], None] | None = None

    def close(self) -> None:
        """End; who comes next may serve."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def announce(self, created: list[Entry]) -> None:
        """Tell the outside of what is created; of EIPs as often as announcements are made."""
        self._news.put(created)

    def run(self) -> None:
        """Serve until closed."""
        while not self._ended.is_set():
            with suppress(OSError, DataplaneError):
                self._wait_for_turn()
            with suppress(DataplaneError):  # another agent serves, but what is ours to tell is told by us
                self._tell_outside()
            self._ended.wait(_PATIENCE)

    def _tell_outside(self) -> None:
        if self._due or not self._news.empty():
            with Connection(self._socket) as connection:
                self._send_due(connection)

    def _wait_for_turn(self) -> None:
        file = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with Connection(self._socket) as connection:
                self._serve(connection)
        finally:
            os.close(file)

    def _serve(self, connection: Connection) -> None:
        self._told.clear()
        connection.send(messages.set_controller_id(CONTROLLER), messages.packet_in_format(), messages.set_async(_ALL_REASONS))
        connection.transact([_no_holders(), _here()])
        renewed = time.monotonic()
        try:
            while not self._ended.is_set():
                message = connection.receive(self._pause())
                if message is not None:
                    self._heard(connection, message)
                self._send_due(connection)
                if time.monotonic() - renewed > _RENEWED:
                    connection.send(_here())
                    renewed = time.monotonic()
        finally:
            with suppress(DataplaneError):
                connection.transact([_gone(), _no_holders()])

    def _pause(self) -> float:
        return 0.005 if self._due or not self._news.empty() else 0.05

    def _send_due(self, connection: Connection) -> None:
        now = time.monotonic()
        while not self._news.empty():
            for message, repeated in announcements(connection, self._news.get()):
                self._due += [(now + after, message) for after in (_REPEATS if repeated else (0.0,))]
        sent = [message for at, message in self._due if at <= now]
        if sent:
            self._due = [one for one in self._due if one[0] > now]
            connection.send(*sent)

    def _heard(self, connection: Connection, message: bytes) -> None:
        packet = packet_in(message) if message[1] == Kind.EXPERIMENTER else None
        if packet is None or len(packet.data) < 34:
            return
        punt = Punt.decode(packet.userdata)
        if punt is None:
            if packet.reason == _TTL_REASON:
                self._tell(connection, packet, packet.data[30:34])
        elif punt.reason == Reason.EXPIRED:
            self._tell(connection, packet, punt.more)
        elif punt.reason == Reason.NEIGHBOUR:
            self._ask(connection, packet)
        elif punt.reason == Reason.CLAIM:
            self._claimed(connection, packet)

    def _tell(self, connection: Connection, packet: PacketIn, source: bytes) -> None:
        answer = frames.time_exceeded(packet.data, source)
        port = packet.fields.get(oxm.IN_PORT.header)
        if answer is not None and port is not None:
            connection.send(messages.packet_out(answer, actions.output(actions.IN_PORT), in_port=port[0]))

    def _ask(self, connection: Connection, packet: PacketIn) -> None:
        """Ask for a neighbour as the very packet that needs it; no more often than every half second."""
        uplink, next_hop = _slot(packet, fields.UPLINK), _slot(packet, fields.NEXT_HOP)
        now = time.monotonic()
        if now - self._asked.get((uplink, next_hop), 0.0) < _PATIENCE:
            return
        self._asked = {key: at for key, at in self._asked.items() if now - at < _PATIENCE} | {(uplink, next_hop): now}
        question = frames.asking(packet.data[6:12], int.from_bytes(packet.data[26:30]), next_hop)
        connection.send(messages.packet_out(question, _out_by(uplink)))

    def _claimed(self, connection: Connection, packet: PacketIn) -> None:
        segment, port, mac = _slot(packet, fields.SEGMENT), _slot(packet, fields.PORT), packet.data[6:12]
        is_arp = packet.data[12:14] == b"\x08\x06"
        ip = int.from_bytes(packet.data[28:32] if is_arp else packet.data[62:78])
        if self._told.get((segment, ip, 4 if is_arp else 6)) != mac:
            self._told[segment, ip, 4 if is_arp else 6] = mac
            connection.send(_holder(segment, port, mac, ip, is_ip4=is_arp))
        if self.report is not None:
            self.report(Claim(port, mac, ip, 4 if is_arp else 6))


def _slot(packet: PacketIn, slot: fields.Slot) -> int:
    value, _ = packet.fields.get(slot.field.header, (0, None))
    return (value & slot.mask) >> slot.shift


def _out_by(uplink: int) -> bytes:
    return load(fields.UPLINK, uplink).wire + goto("uplink_out").wire


def _holder(segment: int, port: int, mac: bytes, ip: int, *, is_ip4: bool) -> bytes:
    wanted = {oxm.ETH_TYPE: 0x0800, oxm.IPV4_DST: ip} if is_ip4 else {oxm.ETH_TYPE: 0x86DD, oxm.IPV6_DST: ip}
    match = holder_match(oxm.match({fields.SEGMENT.field: segment, **wanted}))
    acts = (load(fields.TO, port), load(oxm.ETH_DST, int.from_bytes(mac)), goto("output"))
    instructions = actions.apply(*(act.wire for act in acts))
    where = NUMBERS["neighbour"]
    return flow_mod(FlowCommand.ADD, table=where, priority=HOLDER, match=match, instructions=instructions, cookie=HOLDER_COOKIE)


def holder_match(match: bytes) -> bytes:
    """The match of a holder's flow, for that of the VIP's own flow."""
    found = {oxm.BY_HEADER[header]: value for header, (value, _) in oxm.fields_of(match).items()}
    return oxm.match({**found, fields.WATCHED.field: (fields.WATCHED.mask, fields.WATCHED.mask)})


HOLDER_COOKIE: Final = OURS | 0x686F6C646572
_EVERY_BIT: Final = 0xFFFFFFFFFFFFFFFF


def _no_holders() -> bytes:
    return flow_mod(FlowCommand.DELETE, table=NUMBERS["neighbour"], cookie=HOLDER_COOKIE, cookie_mask=_EVERY_BIT)


def _here() -> bytes:
    instructions = actions.apply(load(fields.WATCHED, 1).wire)
    return flow_mod(FlowCommand.ADD, table=NUMBERS["watched"], instructions=instructions, cookie=HOLDER_COOKIE, hard=_ALIVE)


def _gone() -> bytes:
    return flow_mod(FlowCommand.DELETE, table=NUMBERS["watched"])
