"""P17: vipnet dies and comes back; somebody else damages the data plane."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from subprocess import Popen
from typing import ClassVar, Final, Self

from vipnet.lab import LabNode
from vipnet.process import spawn
from vipnet.testing import changing
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.probe import OUTSIDE, Answer
from vipnet.testing.promises import EIP, EIP_BLUE, VIP, WORLD, C, D, settle, within
from vipnet.testing.real import RealProbe
from vipnet.testing.scene import standard_scene

__all__ = ["RestartPromises"]

KILLS: Final = 4
PORT: Final = 7017
TICK: Final = 0.001
_LAST: Final = 0.3
"""Seconds that the last datagrams may take."""

_FORCED_BUFFER: Final = 33  # SO_RCVBUFFORCE, socket(7): past net.core.rmem_max
_NUMBER: Final = struct.Struct("!I")


class RestartPromises:
    """P17 without watching, of a system whose probe is a `RealProbe`."""

    needs: ClassVar[frozenset[str]] = frozenset({"time"})

    def test_p17_killed_and_restarted(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        connections = [controlled.probe.connect(OUTSIDE, eip) for eip in (EIP, EIP_BLUE)]
        controlled.stop()
        try:
            lost = _lost_over_kills(controlled) and _lost_over_kills(controlled)  # the machine itself may lose something once
        finally:
            controlled.start()
        controlled.cloud.apply()
        changing.take_back(controlled.cloud)
        assert not lost
        assert all(connection.alive() for connection in connections)
        controlled.become(standard_scene().without_eip(EIP_BLUE))
        settle(controlled)
        assert not controlled.cloud.plan()

    def test_p17_what_was_damaged_is_whole_at_the_next_verb(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        hows = list(controlled.system.damages(controlled.cloud.backend))
        assert hows, "the system names no way to damage it"
        for number, how in enumerate(hows):
            controlled.system.damages(controlled.cloud.backend)[how]()
            controlled.become(standard_scene().with_members("spare", *("ec"[: 2 - number % 2])))
            assert within(5.0, lambda: controlled.probe.tcp(OUTSIDE, EIP) == Answer("a", WORLD)), how
            assert controlled.probe.tcp("a", WORLD, src=VIP) == Answer(OUTSIDE, EIP), how
            assert controlled.probe.tcp("d", C) == Answer("c", D), how
        assert not (left := controlled.cloud.plan()), str(left)


def _lost_over_kills(controlled: ControlledNetwork) -> list[str]:
    """What datagrams were lost, in both directions, while vipnet was killed and started again and again."""
    probe = controlled.probe
    assert isinstance(probe, RealProbe), "datagrams at every millisecond need real machines"
    outside, holder = probe.node(OUTSIDE), probe.node("a")
    with _Stream(outside, holder, to=EIP) as inwards, _Stream(holder, outside, to=WORLD, src=VIP) as outwards:
        chance = random.Random(17)  # noqa: S311 -- the same every time
        for kill in range(KILLS):
            with _vipnet(controlled) as said:
                for _ in range(1 + kill):
                    assert said.readline(), "vipnet ended by itself"
                time.sleep(chance.uniform(0, 0.05))
    streams = (("to the EIP", inwards), ("from the VIP", outwards))
    assert all(stream.sent > 100 for _, stream in streams)
    return [f"{way}: {lost} of {stream.sent}" for way, stream in streams if (lost := stream.lost())]


@contextmanager
def _vipnet(controlled: ControlledNetwork) -> Generator[_Lines, None, None]:
    """A process that makes changes, killed at the end."""
    system = controlled.system
    process = spawn(changing.arguments(system.name, system.context(), controlled.config.store), pipes=True)
    try:
        yield _Lines(process)
    finally:
        process.kill()
        process.communicate()


class _Lines:
    """What a process says, line by line."""

    def __init__(self, process: Popen[bytes]) -> None:
        self._process = process

    def readline(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class _Stream:
    """A numbered datagram at each tick from one machine to another. A context manager; what was lost is known at its end."""

    def __init__(self, sender: LabNode, receiver: LabNode, *, to: str, src: str = "") -> None:
        self.sent = 0
        self._to = (to, PORT)
        self._out = sender.call(partial(_bound, src, 0))
        self._in = receiver.call(partial(_bound, "", PORT))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        time.sleep(_LAST)
        self._got = set(_numbers(self._in))
        self._out.close()
        self._in.close()

    def lost(self) -> list[int]:
        """The numbers that did not arrive."""
        return sorted(set(range(self.sent)) - self._got)

    def _send(self) -> None:
        while not self._stop.wait(TICK):
            self._out.sendto(_NUMBER.pack(self.sent), self._to)
            self.sent += 1


def _bound(ip: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, 64 << 20)
    opened.bind((ip, port))
    return opened


def _numbers(received: socket.socket) -> Generator[int, None, None]:
    while True:
        try:
            yield _NUMBER.unpack(received.recv(64, socket.MSG_DONTWAIT))[0]
        except BlockingIOError:
            return
