"""The machines of the lab: each an ear on its interface, which answers ARP and ND for its addresses and says nothing else."""

from __future__ import annotations

import fcntl
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from vipnet.lab import LabNode
from vipnet.process import run
from vipnet.testing import frames
from vipnet.testing.differential.packets import Heard, answer, parse
from vipnet.testing.probe import Announcement

__all__ = ["Machine", "Wire"]

_ALL = 0x0003
_ADDRESSED = {socket.PACKET_HOST, socket.PACKET_BROADCAST, socket.PACKET_MULTICAST}
_GET_FLAGS, _RUNNING = 0x8913, 0x40  # in <linux/sockios.h>, <linux/if.h>
_BUFFER = 4 << 20
_SO_RCVBUFFORCE = 33  # in <asm-generic/socket.h>


@dataclass(slots=True)
class Machine:
    """One machine; `answers` are the addresses for which it answers."""

    name: str
    mac: bytes
    ear: socket.socket
    answers: set[str] = field(default_factory=set[str])

    def send(self, frame: bytes) -> None:
        """Send a frame. What an interface without a carrier does not take is lost, as on a real one."""
        with suppress(OSError):
            self.ear.send(frame)

    def announce(self, ip: str, form: Announcement = "request") -> None:
        """Announce an address to all, by gratuitous ARP of a form or an unsolicited advertisement."""
        if ":" in ip:
            self.send(frames.neighbour_advertisement(self.mac, ip, ip))
        else:
            self.send(frames.arp(1 if form == "request" else 2, self.mac, ip, ip))

    def is_connected(self) -> bool:
        """Whether the interface has a carrier."""
        answer = fcntl.ioctl(self.ear, _GET_FLAGS, struct.pack("16s24x", b"eth0"))
        return bool(int.from_bytes(answer[16:18], "little") & _RUNNING)


class Wire:
    """All machines, by name. What they hear waits until it is asked for."""

    def __init__(self, nodes: Iterable[tuple[str, LabNode]]) -> None:
        self.machines: dict[str, Machine] = {}
        self._selector = selectors.DefaultSelector()
        for name, node in nodes:
            # From here on the machine is what we make it: its kernel has no address to answer for.
            run(["ip", "-n", node.netns, "addr", "flush", "dev", "eth0"])
            machine = Machine(name, frames.mac_bytes(node.mac), node.call(_ear))
            self.machines[name] = machine
            self._selector.register(machine.ear, selectors.EVENT_READ, machine)

    def close(self) -> None:
        self._selector.close()
        for machine in self.machines.values():
            machine.ear.close()

    def heard(self, silence: float) -> Iterator[tuple[Machine, Heard]]:
        """What arrives until nothing has come for `silence` seconds; questions of ARP and ND are answered meanwhile."""
        while ready := self._selector.select(silence):
            for key, _ in ready:
                machine: Machine = key.data
                for frame in _drained(machine.ear):
                    said = parse(frame)
                    if said is not None:
                        _answer(machine, said)
                        yield machine, said

    def wait_for_carriers(self, names: Iterable[str], patience: float) -> None:
        """Wait until the interfaces of these machines have a carrier: the kernel may notice one up to a second late."""
        until = time.monotonic() + patience
        for name in names:
            while not self.machines[name].is_connected() and time.monotonic() < until:
                time.sleep(0.002)


def _answer(machine: Machine, said: Heard) -> None:
    if said.kind == "asks" and said.dst in machine.answers and said.src not in (said.dst, "::"):
        machine.send(answer(machine.mac, said.dst, said.src, said.mac))


def _ear() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    opened.bind(("eth0", _ALL))
    opened.setblocking(False)
    return opened


def _drained(ear: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            frame, peer = ear.recvfrom(65535)
        except BlockingIOError:
            return
        except OSError:  # the interface went down in between
            continue
        if peer[2] in _ADDRESSED:
            yield frame
