"""Parts of the nftables benchmark that need a process of their own; each prints one JSON document."""

from __future__ import annotations

import json
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

_NFT: Final = (
    "import json,os,resource,subprocess,sys;"
    "subprocess.run(sys.argv[1:],check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
_PATIENCE: Final = 1.0


def memory(contestant: str, eips: str) -> dict[str, float]:
    """What programming so many EIPs adds to the peak of a process: of this one and whom it starts, or of nft."""
    from nft_scene import Scene

    with Scene() as scene:
        return {"added_mb": (_of_vipnet if contestant == "vipnet" else _of_nft)(scene, int(eips)) / 1024}


def _of_vipnet(scene: Any, eips: int) -> int:
    mappings = scene.mappings(0, eips)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    before, of_others = _peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    scene.program(scene.backend.compile(mappings))
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return _peak() - before + (others if others > of_others else 0)


def _of_nft(scene: Any, eips: int) -> int:
    from nft_scene import declared, grouped, in_words

    entries = scene.backend.compile(scene.mappings(0, eips))
    peaks = list[int]()
    for text in ("", declared(scene.router, eips) + grouped(in_words(entries.values()))):
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(text)
            file.flush()
            argv = ["ip", "netns", "exec", scene.router, "nft", "-f", file.name]
            done = subprocess.run([sys.executable, "-ISc", _NFT, *argv], check=True, stdout=subprocess.PIPE)
            peaks.append(int(done.stdout))
    return peaks[1] - peaks[0]


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def probe(outside: str, server: str, eip: str) -> dict[str, float]:
    """A packet from a new port each millisecond until standard input ends; how many had no answer, and the longest wait."""
    from vipnet_kernel.namespaces import entered

    resource.setrlimit(resource.RLIMIT_NOFILE, (8_000, 8_000))
    with ExitStack() as stack:
        with entered(server):
            answering = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        answering.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        # answers must come from the address that was asked: the VIP
        answering.bind(("10.0.0.1", 7))
        answering.setblocking(False)
        stack.enter_context(entered(outside))
        return _probed(answering, eip)


def _probed(answering: socket.socket, eip: str) -> dict[str, float]:
    waiting = deque[tuple[float, socket.socket]]()
    sent = lost = 0
    longest, told, due, until = 0.0, False, time.perf_counter(), float("inf")
    while waiting or until == float("inf"):
        now = time.perf_counter()
        if now < until and now >= due:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setblocking(False)
            one.sendto(b"?", (eip, 7))
            waiting.append((now, one))
            sent, due = sent + 1, max(due + 0.001, now - 0.05)
        _echo(answering)
        while waiting:
            since, one = waiting[0]
            answered, waited = _has_answer(one), time.perf_counter() - since
            if not answered and waited < _PATIENCE:
                break
            longest, lost = max(longest, waited), lost + (not answered)
            if not told and answered:
                told, sent, lost, longest = True, len(waiting), 0, 0.0  # what went before met neighbours not known yet
                print("answered", flush=True)
            one.close()
            waiting.popleft()
        if until == float("inf") and _is_over():
            until = time.perf_counter()
        time.sleep(max(0.0, min(0.0005, due - time.perf_counter())))
    return {"sent": sent, "lost": lost, "longest_ms": longest * 1e3}


def _echo(answering: socket.socket) -> None:
    while True:
        try:
            data, peer = answering.recvfrom(100)
        except BlockingIOError:
            return
        answering.sendto(data, peer)


def _has_answer(one: socket.socket) -> bool:
    try:
        return bool(one.recv(100))
    except BlockingIOError:
        return False


def _is_over() -> bool:
    """Whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> None:
    """Do what the first argument says with the others."""
    works: dict[str, Callable[..., dict[str, float]]] = {"memory": memory, "probe": probe}
    print(json.dumps(works[sys.argv[1]](*sys.argv[2:])))


if __name__ == "__main__":
    main()
