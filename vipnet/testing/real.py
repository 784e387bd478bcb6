"""Real packets between the namespaces of a lab. Needs root."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from vipnet.addresses import format_ip6, link_local
from vipnet.lab import Lab, LabNode
from vipnet.testing import complaints, frames
from vipnet.testing.probe import OUTSIDE, Announcement, Answer, Complaint, Frame, IcmpError
from vipnet.testing.responder import PORT, Responders
from vipnet.testing.scene import Scene

__all__ = ["RealProbe"]

SILENCE = 0.3
"""Seconds without an answer that count as none; answers come within milliseconds."""

NOTICE = 0.01
"""Seconds that a network may take to notice an announcement (promise P15)."""

_SLICES = 10
"""Silence is waited for in as many turns: a machine that stood still for a while has used up one of them, not all."""

_LARGE = 1400
"""Bytes of a datagram that fits into an Ethernet frame, and not through a path that is `NARROW`."""

_ALL, _IPV4, _ARP, _IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
_ICMP, _ICMP6 = 1, 58
_ECHO_REPLY, _ECHO_REPLY6 = 0, 129
_ADDRESSED = {socket.PACKET_HOST, socket.PACKET_BROADCAST, socket.PACKET_MULTICAST}


@dataclass(frozen=True, slots=True)
class _Connection:
    stream: socket.socket

    def alive(self) -> bool:
        try:
            self.stream.sendall(b"?")
            return self.stream.recv(16) == b"?"
        except OSError:
            return False


class RealProbe:
    """Implements `vipnet.testing.Probe` in a lab, whose servers and outside client it adds. A context manager."""

    def __init__(self, lab: Lab, scene: Scene) -> None:
        self._scene = scene
        self._nodes: dict[str, LabNode] = {OUTSIDE: lab.add_outside(device=scene.uplink_device, address=f"{scene.outside}/24")}
        self._nodes |= {server.name: _added(lab, scene, server.name) for server in scene.servers}
        self._holders: dict[tuple[str, str], str] = {}
        self._connections: list[socket.socket] = []
        self._ears = {name: node.call(partial(_packet_socket, _ALL)) for name, node in self._nodes.items()}
        self._responders = Responders(self._nodes)

    def __enter__(self) -> RealProbe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._responders.close()
        for opened in (*self._ears.values(), *self._connections):
            opened.close()

    def node(self, name: str) -> LabNode:
        """A machine by its name."""
        return self._nodes[name]

    def refresh(self, scene: Scene) -> None:
        self._scene = scene

    def hold(self, server: str, vip: str, form: Announcement = "request") -> None:
        place = (self._scene.server(server).segment, vip)
        before = self._holders.get(place)
        if before != server:
            if before is not None:
                self.drop(before, vip)
            self._address("add", server, vip)
            self._holders[place] = server
        self._emit(server, self._claim(server, vip, form))
        time.sleep(NOTICE)

    def drop(self, server: str, vip: str) -> None:
        place = (self._scene.server(server).segment, vip)
        if self._holders.get(place) == server:
            self._address("del", server, vip)
            del self._holders[place]

    def _claim(self, server: str, vip: str, form: Announcement) -> bytes:
        if ":" in vip:
            return frames.neighbour_advertisement(self._mac(server), vip, vip)
        return frames.arp(1 if form == "request" else 2, self._mac(server), vip, vip)

    def udp(self, sender: str, dst: str, *, src: str | None = None, size: int = 64) -> Answer | None:
        with self._socket(sender, dst, src, socket.SOCK_DGRAM) as datagrams:
            try:
                datagrams.connect((dst, PORT))  # from now on answers of others are not received
                datagrams.send(bytes(size))
                answer = datagrams.recv(size) if _is_ready(datagrams, select.POLLIN) else None
            except OSError:
                return None
        if answer is None:
            return None
        assert len(answer) == size
        return _said(answer)

    def tcp(self, sender: str, dst: str, *, src: str | None = None) -> Answer | None:
        with self._socket(sender, dst, src, socket.SOCK_STREAM) as stream:
            stream.setblocking(False)
            try:
                stream.connect_ex((dst, PORT))
                is_open = _is_ready(stream, select.POLLOUT) and _is_ready(stream, select.POLLIN)
                return _said(stream.recv(200)) if is_open else None
            except OSError:
                return None

    def ping(self, sender: str, dst: str, *, src: str | None = None) -> bool:
        mark, is_ip6 = os.urandom(8), ":" in dst
        at, kind = (0, _ECHO_REPLY6) if is_ip6 else (20, _ECHO_REPLY)  # a raw IPv6 socket does not show the header
        with self._socket(sender, dst, src, socket.SOCK_RAW, _ICMP6 if is_ip6 else _ICMP) as raw:
            try:
                raw.sendto(frames.echo_request(mark, version=6 if is_ip6 else 4), (dst, 0))
            except OSError:
                return False
            is_answer = partial(_is_from, dst, lambda packet: packet.endswith(mark) and packet[at] == kind)
            return _received(raw, is_answer) is not None

    def connect(self, sender: str, dst: str) -> _Connection:
        stream = self._socket(sender, dst, None, socket.SOCK_STREAM)
        self._connections.append(stream)
        try:
            stream.connect((dst, PORT))
            stream.recv(200)
        except OSError as error:
            raise ConnectionError(f"{sender} cannot connect to {dst}") from error
        return _Connection(stream)

    def told(self, sender: str, dst: str, complaint: Complaint, *, at: str, src: str | None = None) -> IcmpError | None:
        mark, node = os.urandom(8), self._nodes[at]
        with (
            complaints.listening(self._socket(sender, dst, src, socket.SOCK_DGRAM)) as datagrams,
            node.call(partial(_packet_socket, _IPV4)) as ear,
        ):
            datagrams.connect((dst, PORT))
            datagrams.send(mark.ljust(_LARGE, b"\0"))
            frame = _received(ear, lambda frame, peer: peer[2] in _ADDRESSED and frame[42:50] == mark)
            if frame is None:
                return None
            by = self._scene.outside if at == OUTSIDE else socket.inet_ntoa(frame[30:34])
            complaints.complain(node, frame[14:], complaint, by=by)
            error = complaints.heard_of(datagrams, SILENCE)
        self._nodes[sender].run("ip", "route", "flush", "cache")  # forget the MTU again
        return error

    def trace(self, sender: str, dst: str, *, src: str | None = None) -> tuple[str, ...]:
        return complaints.hops(lambda: self._socket(sender, dst, src, socket.SOCK_DGRAM), dst, SILENCE)

    def resolves(self, sender: str, ip: str) -> bool:
        return self._resolve(sender, ip) is not None

    def heard(self, sender: str, frame: Frame) -> frozenset[str]:
        source = self._mac(sender) if frame.mac is None else frames.mac_bytes(frame.mac)
        target = self._target(sender, frame.onto)
        return self.carried(sender, lambda mark: [frames.build(frame, source=source, target=target, mark=mark)])

    def carried(self, sender: str, make: Callable[[bytes], Sequence[bytes]]) -> frozenset[str]:
        mark = os.urandom(8)
        sent = make(mark)
        for ear in self._ears.values():
            _drain(ear)
        for frame in sent:
            self._emit(sender, frame)
        self._check_that_it_is_heard(sender)
        heard = {name: _drain(ear).count(mark) for name, ear in self._ears.items() if name != sender}
        return frozenset(name for name, times in heard.items() if times >= len(sent))

    def arrives(self, sender: str, dst: str, *, src: str | None = None) -> frozenset[str]:
        """Send one datagram and return the machines that it comes to, whether or not they answer."""
        mark = self._listening()
        with self._socket(sender, dst, src, socket.SOCK_DGRAM) as datagrams:
            try:
                datagrams.sendto(mark, (dst, PORT))
            except OSError:
                return frozenset()
            return self._listeners(sender, mark)

    def arrives_raw(self, sender: str, frame: Frame) -> frozenset[str]:
        """Send a frame and return the machines that it comes to, also where nothing else gets through to tell."""
        mark = self._listening()
        source = self._mac(sender) if frame.mac is None else frames.mac_bytes(frame.mac)
        self._emit(sender, frames.build(frame, source=source, target=self._target(sender, frame.onto), mark=mark))
        return self._listeners(sender, mark)

    def forget(self) -> None:
        """Let every machine forget the MACs that it knows."""
        for node in self._nodes.values():
            node.run("ip", "neigh", "flush", "all")

    def _listening(self) -> bytes:
        for ear in self._ears.values():
            _drain(ear)
        return os.urandom(8)

    def _listeners(self, sender: str, mark: bytes) -> frozenset[str]:
        """Who hears it until nothing comes any more, and at least one round after the first."""
        heard: dict[str, bytes] = dict.fromkeys(self._ears, b"")
        deadline, first = time.monotonic() + SILENCE, True
        while time.monotonic() < deadline:
            time.sleep(0.01)
            heard = {name: said + _drain(self._ears[name]) for name, said in heard.items()}
            if first and any(mark in said for said in heard.values()):
                deadline, first = time.monotonic() + 0.05, False
        return frozenset(name for name, said in heard.items() if name != sender and mark in said)

    def _check_that_it_is_heard(self, sender: str) -> None:
        # What comes after the frame, the same way, is answered: so the frame itself was dealt with before.
        known = self._scene.eips[0].ip if sender == OUTSIDE else self._gateway(sender)
        assert self.resolves(sender, known), f"{known} does not answer {sender}"
        time.sleep(0.02)  # a router's other side is another queue

    def _gateway(self, server: str) -> str:
        return self._scene.segment(self._scene.server(server).segment).gateway_ip

    def _target(self, sender: str, onto: str | None) -> bytes | None:
        if onto is None or onto in self._nodes:
            return None if onto is None else self._mac(onto)
        found = self._resolve(sender, onto)
        assert found is not None, f"nobody answers for {onto}"
        return found

    def _resolve(self, sender: str, ip: str) -> bytes | None:
        if ":" in ip:
            return self._resolve6(sender, ip)
        own = self._scene.outside if sender == OUTSIDE else self._scene.server(sender).ip
        with self._nodes[sender].call(partial(_packet_socket, _ARP)) as ear:
            ear.send(frames.arp(1, self._mac(sender), own, ip))
            asked = socket.inet_aton(ip)
            frame = _received(ear, lambda frame, _: frame[20:22] == b"\0\2" and frame[28:32] == asked)
        return None if frame is None else frame[22:28]

    def _resolve6(self, sender: str, ip: str) -> bytes | None:
        own = format_ip6(link_local(self._nodes[sender].mac))
        with self._nodes[sender].call(partial(_packet_socket, _IPV6)) as ear:
            ear.send(frames.neighbour_solicitation(self._mac(sender), own, ip))
            kind, asked = bytes([frames.ADVERTISEMENT]), frames.address_bytes(ip)
            frame = _received(ear, lambda frame, _: frame[54:55] == kind and frame[62:78] == asked)
        return None if frame is None else frame[80:86]

    def _mac(self, name: str) -> bytes:
        return frames.mac_bytes(self._nodes[name].mac)

    def _emit(self, sender: str, frame: bytes) -> None:
        self._ears[sender].send(frame)

    def _address(self, verb: str, server: str, vip: str) -> None:
        alone = [f"{vip}/128", *(["nodad"] if verb == "add" else [])] if ":" in vip else [f"{vip}/32"]
        self._nodes[server].run("ip", "address", verb, *alone, "dev", "eth0")

    def _socket(self, sender: str, dst: str, src: str | None, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        family = socket.AF_INET6 if ":" in dst else socket.AF_INET
        opened = self._nodes[sender].call(partial(socket.socket, family, kind, protocol))
        opened.settimeout(SILENCE)
        opened.bind((src or "", 0))
        return opened


def _added(lab: Lab, scene: Scene, name: str) -> LabNode:
    server = scene.server(name)
    segment = scene.segment(server.segment)
    address = f"{server.ip}/{segment.length}"
    gateway6, _, length6 = (segment.gateway6 or "").partition("/")
    return lab.add_server(
        name,
        device=server.device,
        mac=server.mac,
        address=address,
        gateway=segment.gateway_ip,
        address6=f"{server.ip6}/{length6}" if server.ip6 else None,
        gateway6=gateway6 if server.ip6 else None,
    )


def _packet_socket(protocol: int) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.bind(("eth0", protocol))
    return opened


def _received(ear: socket.socket, wanted: Callable[[bytes, Any], bool]) -> bytes | None:
    deadline = time.monotonic() + SILENCE
    while _is_ready(ear, select.POLLIN):
        frame, peer = ear.recvfrom(65535)
        if wanted(frame, peer):
            return frame
        if time.monotonic() > deadline:
            return None
    return None


def _is_ready(opened: socket.socket, event: int) -> bool:
    """Whether something comes, or a connection opens or fails, before it counts as silence."""
    poll = select.poll()
    poll.register(opened, event)
    return any(poll.poll(SILENCE * 1000 / _SLICES) for _ in range(_SLICES))


def _is_from(dst: str, wanted: Callable[[bytes], bool], packet: bytes, peer: Any) -> bool:
    return peer[0] == dst and wanted(packet)


def _drain(ear: socket.socket) -> bytes:
    """All that was received for this machine until now."""
    heard: list[bytes] = []
    while True:
        try:
            frame, peer = ear.recvfrom(65535, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b"".join(heard)
        if peer[2] in _ADDRESSED:
            heard.append(frame)


def _said(answer: bytes) -> Answer:
    server, saw = answer.decode().split()
    return Answer(server, saw)
