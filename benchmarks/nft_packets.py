"""What packets notice: a new flow through an EIP among so many, and EIPs that come by the thousand meanwhile."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

from figures import Report
from nft_scene import Scene
from raw_netfilter import connections, forget_connections

from vipnet_kernel.namespaces import entered

__all__ = ["ended", "flows", "flows_through", "growth", "raw", "sent", "warm"]

_CHILD: Final = Path(__file__).with_name("nft_child.py")
_EIP: Final = "20.0.0.1"
_FLOWS: Final = 20_000
_WARM: Final = 100


def flows(report: Report, eips: int, repeats: int) -> None:
    """Packets of new connections, from outside to the VIP's holder; those of a connection that is there, subtracted."""
    with Scene() as scene:
        scene.program(scene.backend.compile(scene.mappings(0, eips)))
        scene.reopen()
        flows_through(report, scene, eips, repeats)


def flows_through(report: Report, scene: Scene, eips: int, repeats: int, *, what: str = "") -> float:
    """The same, through a scene that has so many EIPs; the median of what a new flow takes, in seconds."""
    fresh, known = list[float](), list[float]()
    with ended(scene.server) as server, raw(scene.outside) as client:
        warm(client, server)
        for _ in range(repeats):
            report.calibrate()
            forget_connections(scene.router)
            fresh.append(sent(client, range(20_000, 20_000 + _FLOWS)))
            if connections(scene.router) < _FLOWS:
                sys.exit(f"{connections(scene.router)} connections of {_FLOWS} packets")
            known.append(sent(client, [20_000] * _FLOWS))
    report.samples("flows", eips, f"a packet that begins a connection{what}", fresh)
    report.samples("flows", eips, f"a packet of a connection{what}", known)
    new = [one - other for one, other in zip(fresh, known, strict=True)]
    report.samples("flows", eips, f"a new flow{what}", new)
    return median(new)


def growth(report: Report, eips: int, repeats: int) -> None:
    """As many EIPs again, at once and then a hundred at a time, while each millisecond somebody begins to talk to an EIP."""
    for how, slice_ in (("at once", eips), ("100 at a time", 100)):
        took = list[float]()
        lost = sent = gap = 0.0
        for _ in range(min(repeats, 3)):
            report.calibrate()
            one, seen = _grown(eips, slice_)
            took.append(one)
            lost, sent, gap = lost + seen["lost"], sent + seen["sent"], max(gap, seen["longest_ms"])
        report.samples("growth", eips, f"as many again, {how}", took, unit="ms")
        report.value("growth", eips, f"packets lost of {sent:.0f}, {how}", lost, unit="packets", goal="0")
        report.value("growth", eips, f"longest wait for an answer, {how}", gap, unit="ms")


def _grown(eips: int, slice_: int) -> tuple[float, dict[str, float]]:
    with Scene() as scene:
        scene.program(scene.backend.compile(scene.mappings(0, eips)))
        last = min(2 * eips, eips + 20 * slice_)
        words = [sys.executable, str(_CHILD), "probe", scene.outside, scene.server, _EIP]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
            assert probe.stdin is not None
            assert probe.stdout is not None
            probe.stdout.readline()  # it has had its first answer
            begun = time.perf_counter()
            for first in range(eips, last, slice_):
                scene.program(scene.backend.compile(scene.mappings(first, min(last, first + slice_))))
            took = time.perf_counter() - begun
            time.sleep(0.1)
            probe.stdin.close()
            return took, json.loads(probe.stdout.read())


def ended(space: str) -> closing[socket.socket]:
    """Where the packets end; of those that nobody reads the kernel lets go."""
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("0.0.0.0", 7))
    one.settimeout(2)
    return closing(one)


def raw(space: str) -> closing[socket.socket]:
    """Where they come from: whatever port a packet says."""
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    one.bind(("203.0.113.1", 0))
    return closing(one)


def warm(client: socket.socket, server: socket.socket) -> None:
    """Have every neighbour known, and packets arrive."""
    for port in range(_WARM):
        sent(client, [10_000 + port])
        time.sleep(0.001)
    server.recv(100)


def sent(client: socket.socket, ports: Iterable[int]) -> float:
    """Seconds each, of packets from these ports: in a veth a packet has arrived when `sendto` returns."""
    packets = [struct.pack("!HHHH", port, 7, 12, 0) + b"ping" for port in ports]
    begun = time.perf_counter()
    for packet in packets:
        client.sendto(packet, (_EIP, 0))
    return (time.perf_counter() - begun) / len(packets)
