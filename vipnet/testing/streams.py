"""Streams between the machines of a lab: a datagram in each flow at each tick, numbered and answered; long TCP streams.

What is measured runs in two processes of its own (`vipnet.testing.streaming`), with a higher priority than what it measures.
What the measuring machine loses by itself is told apart: `Report.noise`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from vipnet.lab import LabNode
from vipnet.process import spawn

__all__ = ["CONTROL", "PORT", "TICK", "FlowReport", "Report", "Run", "StreamReport", "Streams"]

PORT: Final = 7008
TICK: Final = 0.001
"""Seconds between two datagrams of a flow."""

CONTROL: Final = "control"
"""Flows of such names cross nothing that is under test: what they lose is the machine's."""

_STREAM_TICKS: Final = 5
_BUFFER: Final = 64 << 20
_FREEBIND, _STAMPS = 15, 35  # <linux/in.h>, <asm/socket.h>
_SOFTNET = Path("/proc/net/softnet_stat")


@dataclass(frozen=True, slots=True)
class Run:
    """From the datagram `number` on, whose answer came at `at`, `server` answered from `source`, and saw `saw`.

    Times are seconds since the epoch.
    """

    at: float
    number: int
    server: str
    saw: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """What became of a flow: the numbers without an answer; how many answers came out of order, or once more.

    `gap` is the longest time in seconds between two answers, `delay` the longest way there and back; `stalls` are the
    begin and end of each gap above 2 ms.
    """

    name: str
    sent: int
    lost: tuple[int, ...]
    reordered: int
    repeated: int
    gap: float
    delay: float
    stalls: tuple[tuple[float, float], ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """What became of a TCP stream: numbers sent and come back, the longest pause between two, whether one was wrong.

    `last`: when the last one came back; `last_echoed`: when that was sent; `ended`: when it was reset, 0 if it was not.
    """

    name: str
    who: str
    sent: int
    echoed: int
    last: float
    last_echoed: float
    gap: float
    ended: float
    wrong: bool
    retransmitted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of all streams, by name; when each number was sent; what the machine itself spoiled.

    `late` is the longest that a tick came behind its time, in seconds.
    """

    flows: Mapping[str, FlowReport]
    streams: Mapping[str, StreamReport]
    sent_at: tuple[float, ...]
    late: float
    noise: Mapping[str, int] = field(default_factory=dict[str, int])

    def noise_between(self, begin: float, end: float) -> float:
        """The longest time in seconds, overlapping that span, in which the machine's own flows stood still."""
        control = [flow for flow in self.flows.values() if _is_control(flow.name)]
        found = [until - since for flow in control for since, until in flow.stalls if since < end and until > begin]
        return max(found, default=0.0)

    def lost(self) -> dict[str, list[float]]:
        """When what had no answer was sent, by flow; no flow of the machine's own."""
        losers = (flow for flow in self.flows.values() if flow.lost and not _is_control(flow.name))
        return {flow.name: [self.sent_at[number] for number in flow.lost] for flow in losers}


class Streams:
    """A context manager: say who answers, what flows, start, and stop for the report. Needs root."""

    def __init__(self) -> None:
        self._programs: list[_Program] = []
        self._sockets: list[socket.socket] = []
        self._names: list[str] = []
        self._softnet = 0

    def __enter__(self) -> Streams:
        self._ticker, self._echo = _Program("tick"), _Program("echo")
        self._programs = [self._ticker, self._echo]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for program in self._programs:
            program.close()

    def answer(self, node: LabNode, addresses: Iterable[str]) -> None:
        """Let a machine answer datagrams at these addresses, whether it has them yet or not, and TCP at all that it has."""
        sockets = [node.call(partial(_datagrams, ip, PORT)) for ip in addresses]
        self._echo.tell({"do": "datagrams", "who": [node.name] * len(sockets)}, sockets)
        self._echo.tell({"do": "listeners", "who": [node.name]}, [node.call(_listener)])

    def flows(self, node: LabNode, to: Mapping[str, str], *, src: str = "") -> None:
        """Send from a machine, and from `src` if given, to addresses by the name of the flow."""
        opened = node.call(partial(_datagrams, src, 0))
        self._ticker.tell({"do": "flow", "to": list(to.items()), "port": PORT}, [opened])
        self._names += to

    def stream(self, node: LabNode, name: str, ip: str) -> None:
        """Open a TCP stream that lasts; also after the start. Raises OSError when it cannot be opened."""
        self._ticker.tell({"do": "stream", "name": name}, [node.call(partial(_connected, ip))])

    def start(self) -> None:
        """Begin to send."""
        self._softnet = _softnet_drops()
        self._ticker.tell({"do": "start", "period": round(TICK * 1e9), "stream_period": _STREAM_TICKS})

    def stop(self) -> Report:
        """End sending, wait for the last answers, and report."""
        self._ticker.tell({"do": "quiet"})
        sent, answered = self._ticker.report(), self._echo.report()
        noise = {
            "datagrams that the kernel had no room for": sent["crowded"] + answered["crowded"],
            "datagrams that came to full buffers": sent["dropped"] + answered["dropped"],
            "packets dropped from full backlogs": _softnet_drops() - self._softnet,
            "datagrams of control flows lost": sum(len(flow["lost"]) for flow in sent["flows"] if _is_control(flow["name"])),
        }
        return Report(
            flows={one["name"]: _flow(one, len(sent["sent_at"])) for one in sent["flows"]},
            streams={one["name"]: _stream(one) for one in sent["streams"]},
            sent_at=tuple(at / 1e9 for at in sent["sent_at"]),
            late=sent["late"] / 1e9,
            noise={what: count for what, count in noise.items() if count},
        )


class _Program:
    """One of the two programs, and the socket by which it is told what to do."""

    def __init__(self, role: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(30)
        with theirs:
            argv = [sys.executable, "-m", "vipnet.testing.streaming", role]
            self._process = spawn(argv, stdin=theirs.fileno(), log=sys.__stderr__.fileno() if sys.__stderr__ else -3)

    def tell(self, command: Mapping[str, Any], sockets: Sequence[socket.socket] = ()) -> None:
        """Give a command and the sockets that it is about, which are the program's from now on."""
        socket.send_fds(self._control, [json.dumps(command).encode()], [one.fileno() for one in sockets])
        for one in sockets:
            one.close()
        self._await(command["do"])

    def report(self) -> dict[str, Any]:
        with os.fdopen(os.memfd_create("report"), "w+b") as file:
            socket.send_fds(self._control, [b'{"do": "stop"}'], [file.fileno()])
            self._await("stop")
            file.seek(0)
            found: dict[str, Any] = json.load(file)
            return found

    def close(self) -> None:
        self._control.close()
        self._process.wait()

    def _await(self, what: str) -> None:
        if self._control.recv(100) != b"done":
            raise RuntimeError(f"the program that makes streams ended at {what!r}, with status {self._process.poll()}")


def _datagrams(ip: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
    opened.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
    for which in _FORCED_BUFFERS:
        opened.setsockopt(socket.SOL_SOCKET, which, _BUFFER)
    opened.bind((ip, port))
    return opened


_FORCED_BUFFERS: Final = (32, 33)  # SO_SNDBUFFORCE, SO_RCVBUFFORCE: past net.core.*mem_max, socket(7)


def _listener() -> socket.socket:
    opened = socket.create_server(("", PORT), backlog=64)
    opened.setblocking(False)
    return opened


def _connected(ip: str) -> socket.socket:
    opened = socket.create_connection((ip, PORT), timeout=2.0)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def _softnet_drops() -> int:
    """Packets that found the backlog of a CPU full, since boot (net/core/net-procfs.c: the second column)."""
    return sum(int(line.split()[1], 16) for line in _SOFTNET.read_text().splitlines())


def _is_control(name: str) -> bool:
    return name.startswith(CONTROL)


def _flow(row: Mapping[str, Any], sent: int) -> FlowReport:
    runs = tuple(Run(at / 1e9, *rest) for at, *rest in row["runs"])
    stalls = tuple((begin / 1e9, end / 1e9) for begin, end in row["stalls"])
    times = {name: row[name] / 1e9 for name in ("gap", "delay")}
    counts: dict[str, Any] = {name: row[name] for name in ("name", "reordered", "repeated")}
    return FlowReport(**counts, **times, sent=sent, lost=tuple(row["lost"]), stalls=stalls, runs=runs)


def _stream(row: Mapping[str, Any]) -> StreamReport:
    return StreamReport(**{**row, **{name: row[name] / 1e9 for name in ("last", "last_echoed", "gap", "ended")}})
