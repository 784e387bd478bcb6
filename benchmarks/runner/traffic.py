"""What travels through an EIP among so many: datagrams of a connection that is there, and requests to a real nginx."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nft_scene import Scene
from ovs_switch import Scene as SwitchScene

from runner.packets import made
from runner.scenes import Staged
from vipnet.lab import LabServer
from vipnet.lab.leader import Leader
from vipnet.lab.probe import http_get
from vipnet_kernel.namespaces import entered

__all__ = ["Requests", "Stream"]

_PORT: Final = 7778
_ROWS, _ROW = 200, 32
"""Rows of datagrams a round, and datagrams in one: as many are on their way at once."""

_REQUESTS: Final = 150
_PAGE: Final = "here\n"
_PATIENCE: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Way:
    """From the namespace of a client to that of the VIP's holder."""

    client: str
    holder: str
    eip: str
    vip: str


class _OnTheWay(Staged):
    """Has a client outside, and the holder of a VIP, whose EIP is one of so many. Option `by`: the data plane, as of `made`."""

    def begin(self) -> None:
        self.way = self.stack.enter_context(_way(self.options["by"], self.scale))


class Stream(_OnTheWay):
    """Datagrams of one connection, each of which is received, the mean time of one."""

    received = 0

    def prepare(self) -> None:
        self._server = self.stack.enter_context(_datagrams(self.way.holder, (self.way.vip, _PORT)))
        self._client = self.stack.enter_context(_datagrams(self.way.client, ("", 0)))
        self._client.connect((self.way.eip, _PORT))
        self._client.send(b"?")
        _, peer = self._server.recvfrom(16)
        self._server.sendto(b"!", peer)  # an answer makes it a connection, also for Open vSwitch
        self._client.recv(16)

    def once(self) -> Sequence[float]:
        begun = time.perf_counter()
        for _ in range(_ROWS):
            for _ in range(_ROW):
                self._client.send(b"ping")
            for _ in range(_ROW):
                self._server.recv(16)
        took = time.perf_counter() - begun
        self.received += _ROWS * _ROW
        return [took / (_ROWS * _ROW)]

    def check(self) -> str:
        return f"{self.received} datagrams, each received"


class Requests(_OnTheWay):
    """A connection, a request and the page of nginx, again and again; each of them."""

    def prepare(self) -> None:
        self.stack.enter_context(_served(self.way.holder))
        self.once()  # neighbours are known then, and nginx has read its page

    def once(self) -> Sequence[float]:
        with entered(self.way.client):
            return [self._one() for _ in range(_REQUESTS)]

    def _one(self) -> float:
        begun = time.perf_counter()
        page = http_get(self.way.eip, port=80, timeout=_PATIENCE)
        took = time.perf_counter() - begun
        assert page == _PAGE, f"the answer is {page!r}"
        return took

    def check(self) -> str:
        return "each had the page"


@contextmanager
def _way(by: str, eips: int) -> Generator[_Way]:
    if by == "ovs":
        with SwitchScene(servers=True) as scene:
            scene.carry_out(scene.steps({}, scene.backend.compile(scene.mappings(eips))))
            yield _Way(scene.outside, scene.server, scene.eip, scene.vip)
    else:
        with made(by) as scene:
            scene.program(scene.backend.compile(scene.mappings(0, eips)))
            scene.reopen()
            yield _Way(scene.outside, scene.server, Scene.eip, Scene.vip)


def _datagrams(space: str, at: tuple[str, int]) -> socket.socket:
    with entered(space):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(_PATIENCE)
    one.bind(at)
    return one


@contextmanager
def _served(space: str) -> Generator[None]:
    """nginx in a namespace, as in servers of the lab, with processes and files of its own, which end and go."""
    with tempfile.TemporaryDirectory(prefix="vipnet-bench-") as folder:
        leader = Leader(netns=space, name="holder", folder=Path(folder), ipv6=True)
        try:
            LabServer(name="holder", netns=space, folder=Path(folder), mac="", leader=leader).start_nginx(_PAGE)
            yield
        finally:
            leader.kill()
            leader.wait()
