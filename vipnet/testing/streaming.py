"""The programs behind `vipnet.testing.streams`: one that sends a datagram in each flow at each tick, one that answers.

They are processes of their own, so that nothing that the system under test does in Python delays them. Standard input is a
Unix socket of messages: a command in JSON, with the descriptors of the sockets that it is about, opened elsewhere in
whatever network namespace. "stop" brings a file that the report is written into.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vipnet.testing.batches import NAME, STAMP, Batch
from vipnet.testing.echo import AT_ONCE, SIZE, WHO, Echo, dropped

__all__ = ["main"]

_QUESTION: Final = struct.Struct("=II")
_ANSWER: Final = struct.Struct(f"={WHO}s4x4s8xII{SIZE - _QUESTION.size}x")
_NUMBER: Final = struct.Struct("=I")
_COUNT: Final = struct.Struct("=Q")
_PATIENCE: Final = 500_000_000
"""Nanoseconds of silence after which what has not come will not come."""

_STALL: Final = 2_000_000
"""Nanoseconds between two answers that are noted."""

_BEATS_AT_ONCE: Final = 20
"""So many missed beats are made up for before answers are read again."""

_PRIORITY: Final = -10
"""Nice value: a tick that waits for the machine measures the machine."""

_AUTOGROUP: Final = Path("/proc/self/autogroup")
_TOTAL_RETRANSMISSIONS = 100  # its offset in struct tcp_info, <linux/tcp.h>

_Command = tuple[dict[str, Any], list[int]]


class _Flow:
    """What became of the datagrams of one flow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got = bytearray()
        self.newest = -1
        self.reordered = self.repeated = 0
        self.last = self.gap = self.delay = 0
        self.stalls: list[tuple[int, int]] = []
        self.runs: list[tuple[int, int, str, str, str]] = []
        self._from: tuple[bytes, bytes, bytes] | None = None

    def note(self, number: int, when: int, sent: int, origin: tuple[bytes, bytes, bytes]) -> None:
        self.repeated += self.got[number]
        self.got[number] = 1
        self.delay = max(self.delay, when - sent)
        if number < self.newest:
            self.reordered += 1
            return
        self.newest = number
        if self.last and when - self.last > _STALL:
            self.stalls.append((self.last, when))
        self.gap, self.last = max(self.gap, when - (self.last or when)), when
        if origin != self._from:
            self._from = origin
            who, saw, source = origin
            words = who.rstrip(b"\0").decode(), socket.inet_ntoa(saw), socket.inet_ntoa(source)
            self.runs.append((when, number, *words))

    def report(self) -> dict[str, Any]:
        lost = [number for number, got in enumerate(self.got) if not got]
        names = ("name", "reordered", "repeated", "gap", "delay", "stalls", "runs")
        return {"lost": lost, **{name: getattr(self, name) for name in names}}


class _Stream:
    """A TCP connection: a growing number goes out at every tick that is due, and is to come back from who said its name."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.name, self.who = name, ""
        self.echoed = 0
        self.last = self.gap = self.ended = 0
        self._sent_at: list[int] = []
        self.wrong = False
        self._received = b""

    def tick(self, now: int, *, listens: bool = False) -> None:
        """Read what came and, unless it `listens` only, send the next number."""
        if self.ended:
            return
        try:
            self._read(now)
            if not listens:
                self.connection.send(_COUNT.pack(len(self._sent_at)))
                self._sent_at.append(now)
        except BlockingIOError:
            pass
        except OSError:
            self.ended = now

    def is_answered(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.ended) or self.echoed == len(self._sent_at)

    def _read(self, now: int) -> None:
        with suppress(BlockingIOError):
            got = self.connection.recv(65536)
            if not got:
                raise ConnectionResetError
            self._received += got
        if not self.who and len(self._received) >= WHO:
            self.who, self._received = self._received[:WHO].rstrip(b"\0").decode(), self._received[WHO:]
        while self.who and len(self._received) >= _COUNT.size:
            (number,), self._received = _COUNT.unpack_from(self._received), self._received[_COUNT.size :]
            self.wrong |= number != self.echoed
            self.echoed += 1
            self.gap, self.last = max(self.gap, now - (self.last or now)), now

    def report(self) -> dict[str, Any]:
        names = ("name", "who", "echoed", "last", "gap", "ended", "wrong")
        last_echoed = self._sent_at[self.echoed - 1] if self.echoed else 0
        information = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        (retransmitted,) = struct.unpack_from("=I", information, _TOTAL_RETRANSMISSIONS)
        counts = {"sent": len(self._sent_at), "last_echoed": last_echoed, "retransmitted": retransmitted}
        return {**counts, **{name: getattr(self, name) for name in names}}


class _Ticker:
    """Sends on the beat, makes up for beats that were missed, and notes what comes back."""

    def __init__(self) -> None:
        self.period = self.stream_period = 0
        self.flows: list[_Flow] = []
        self.streams: list[_Stream] = []
        self.sent_at: list[int] = []
        self.crowded = self.late = 0
        self._questions: list[tuple[socket.socket, Batch]] = []
        self._answers = Batch(AT_ONCE, _ANSWER.size, stamped=True)
        self._start = 0

    def flow(self, command: Mapping[str, Any], sockets: list[socket.socket]) -> None:
        """One socket, and all that is sent from it: pairs of a flow's name and an IP, to one port."""
        batch = Batch(len(command["to"]), SIZE)
        for at, (name, ip) in enumerate(command["to"]):
            batch.address(at, ip, command["port"])
            _QUESTION.pack_into(batch.payloads, at * SIZE, len(self.flows), 0)
            self.flows.append(_Flow(name))
        self._questions.append((sockets[0], batch))

    def stream(self, command: Mapping[str, Any], sockets: list[socket.socket]) -> None:
        self.streams.append(_Stream(command["name"], sockets[0]))

    def start(self, command: Mapping[str, Any], _: list[socket.socket]) -> None:
        self.period, self.stream_period = command["period"], command["stream_period"]
        self._start = time.monotonic_ns()

    def quiet(self, _: Mapping[str, Any], __: list[socket.socket]) -> None:
        """Send nothing more, listen until nothing has come for a while."""
        self.period = 0
        self._await_the_last()

    def _await_the_last(self) -> None:
        patience = max(_PATIENCE, 2 * max((flow.delay for flow in self.flows), default=0))
        while time.time_ns() - max(self.sent_at[-1], *(flow.last for flow in self.flows)) < patience:
            self.step()
            if all(flow.got[-1] for flow in self.flows) and all(stream.is_answered() for stream in self.streams):
                return
            time.sleep(0.001)

    def wait(self) -> float | None:
        """Seconds until there is something to do; None: nothing is."""
        if not self._start:
            return None
        if not self.period:
            return 0.001
        return max(0, self._start + len(self.sent_at) * self.period - time.monotonic_ns()) / 1e9

    def step(self) -> None:
        for _ in range(_BEATS_AT_ONCE):
            if not self.period or (late := time.monotonic_ns() - self._start - len(self.sent_at) * self.period) < 0:
                break
            self.late = max(self.late, late)
            self._send()
        if not self.period:
            for stream in self.streams:
                stream.tick(time.time_ns(), listens=True)
        for sender, _ in self._questions:
            while self._note(self._answers.receive(sender.fileno())) == AT_ONCE:
                pass

    def _send(self) -> None:
        number = len(self.sent_at)
        for flow in self.flows:
            flow.got.append(0)
        now = time.time_ns()
        self.sent_at.append(now)
        for sender, batch in self._questions:
            for at in range(batch.count):
                _NUMBER.pack_into(batch.payloads, at * SIZE + 4, number)
            self.crowded += batch.send(sender.fileno(), batch.count)
        if number % self.stream_period == 0:
            for stream in self.streams:
                stream.tick(now)

    def _note(self, count: int) -> int:
        answers = _ANSWER.iter_unpack(memoryview(self._answers.payloads)[: count * _ANSWER.size])
        stamps = STAMP.iter_unpack(memoryview(self._answers.stamps)[: count * STAMP.size])
        sources = NAME.iter_unpack(memoryview(self._answers.names)[: count * NAME.size])
        for (who, saw, flow, number), (seconds, rest), (_, _, source) in zip(answers, stamps, sources, strict=True):
            self._note_one(flow, number, seconds * 1_000_000_000 + rest, (who, saw, source))
        return count

    def _note_one(self, flow: int, number: int, when: int, origin: tuple[bytes, bytes, bytes]) -> None:
        self.flows[flow].note(number, when, self.sent_at[number], origin)

    def report(self) -> dict[str, Any]:
        return {
            "flows": [flow.report() for flow in self.flows],
            "streams": [stream.report() for stream in self.streams],
            "sent_at": self.sent_at,
            "crowded": self.crowded,
            "late": self.late,
            "dropped": dropped(sender for sender, _ in self._questions),
        }


def main(role: str) -> None:
    """Do as the Unix socket on standard input says, until it says stop or closes."""
    _hurry()
    gc.disable()  # a collection would be a late tick; nothing here has cycles
    control = socket.socket(fileno=0)
    work: _Ticker | Echo = _Ticker() if role == "tick" else Echo()
    waiting: list[Any] = [control, *([work.descriptors()] if isinstance(work, Echo) else [])]
    while True:
        ready, _, _ = select.select(waiting, [], [], work.wait())
        if control in ready:
            command, descriptors = _received(control)
            if not command:
                return
            if command["do"] == "stop":
                with os.fdopen(descriptors[0], "w") as file:
                    json.dump(work.report(), file)
            else:
                getattr(work, command["do"])(command, [socket.socket(fileno=one) for one in descriptors])
            control.send(b"done")
        work.step()


def _hurry() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    if _AUTOGROUP.exists():  # a session is a group, and its nice value the only one that counts among others: sched(7)
        _AUTOGROUP.write_text(str(_PRIORITY))


def _received(control: socket.socket) -> _Command:
    message, descriptors, _, _ = socket.recv_fds(control, 65536, 253)
    return (json.loads(message) if message else {}), list(descriptors)


if __name__ == "__main__":
    main(sys.argv[1])
