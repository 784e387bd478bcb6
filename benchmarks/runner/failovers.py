"""How long a client beyond the uplink has no answer while the VIP moves: by real keepalived, and by the data plane alone."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from runner.scenes import Staged
from vipnet.lab import Lab, LabServer, frames
from vipnet.lab.netns import ip
from vipnet.lab.node import wait_for
from vipnet.lab.record import Run, clear_all
from vipnet.lab.scene import GROUP, LENGTH, MASTER, SLAVE, VIP, Scene, build
from vipnet.lab.timeline import Answer, Watcher, longest_gap

__all__ = ["Failover", "Handover"]

_PATIENCE: Final = 30.0
_SETTLED: Final = 0.3
_GIVEN_UP: Final = 0.05
"""Seconds after which a request is given up: what is as little is no more exact than that."""
_PORT: Final = 7777
_PKTINFO: Final = 8
"""IP_PKTINFO of linux/in.h, which Python does not name."""
_SWITCH: Final = 0.00005
"""Seconds that a thread of Python holds the others up: by default longer than what is measured here."""

_EACH: Final = 0.0005
"""Seconds between two packets of the client."""

_AFTER: Final = 0.01
"""Seconds for which it goes on."""


class _InScene(Staged):
    """Has the worked example: two servers, with nginx and keepalived, a client, an EIP. Option `backend`."""

    def begin(self) -> None:
        run = Run.start()
        self.stack.callback(clear_all, [run])
        lab = self.stack.enter_context(Lab(prefix="bench", root=run.folder / "lab", record=run.record))
        self.scene: Scene = build(run, lab, self.options["backend"], _unsaid)
        self.stack.enter_context(self.scene.cloud)
        self.scene.eip = self.scene.cloud.groups.create_eip(GROUP, charge_type="traffic").vip_eip or ""

    def server(self, name: str) -> LabServer:
        """A server of the scene."""
        return self.scene.servers[name]


class Failover(_InScene):
    """A new connection every 20 ms; keepalived is stopped, killed, frozen or cut off (option `event`); seconds without a page.

    Option `advert`: seconds between two advertisements.
    """

    def prepare(self) -> None:
        for name in (MASTER, SLAVE):
            self.server(name).stop_keepalived()
            self._start(name)
        self._watcher = self.stack.enter_context(Watcher(self.scene.client, self.scene.eip, timeout=_GIVEN_UP))

    def once(self) -> Sequence[float]:
        self._served(MASTER)
        time.sleep(_SETTLED)
        began = time.monotonic()
        undo = self._strike()
        self._served(SLAVE)
        time.sleep(_SETTLED)
        gap = longest_gap(self._watcher.since(began))
        self._seen = [_moment(answer, began) for answer in self._watcher.since(began - _SETTLED)]
        undo()
        self._served(MASTER)
        return [gap]

    def check(self) -> str:
        answers = self._watcher.answers
        assert any(answer.page is not None for answer in answers)
        return f"{len(answers)} requests"

    def timeline(self) -> Sequence[tuple[float, str]]:
        return self._seen

    def _served(self, name: str) -> None:
        wait_for(lambda: self._watcher.served_by(name) or None, f"{name} to answer", timeout=_PATIENCE)

    def _start(self, name: str) -> None:
        config = self.scene.cloud.groups.keepalived_config(GROUP, name, advert_int=self.options["advert"])
        self.server(name).start_keepalived(config)

    def _strike(self) -> Callable[[], object]:
        """Do to the master what is to be done; what makes it good again."""
        master = self.server(MASTER)
        match self.options["event"]:
            case "TERM":
                master.stop_keepalived()
                return partial(self._start, MASTER)
            case "KILL":
                master.stop_keepalived(signal.SIGKILL)
                return partial(self._start, MASTER)
            case "freeze":
                _signalled(master, signal.SIGSTOP)
                return partial(_signalled, master, signal.SIGCONT)
            case _:
                ip(master.netns, ["link set eth0 down"])
                return partial(self._link_up, master)

    def _link_up(self, master: LabServer) -> None:
        ip(master.netns, ["link set eth0 up"])
        with suppress(Exception):
            ip(master.netns, ["route replace default via 192.168.4.1"])


class Handover(_InScene):
    """The data plane's part: from a member's gratuitous ARP to the first answer of that member, with 2,000 packets a second."""

    def prepare(self) -> None:
        sys.setswitchinterval(_SWITCH)
        self._over = threading.Event()
        self._raw = dict[str, socket.socket]()
        self.stack.callback(self._over.set)
        for name in (MASTER, SLAVE):
            self.server(name).stop_keepalived()
            ip(self.server(name).netns, [f"address flush dev eth0 to {VIP}/32"])
            one = self.server(name).call(partial(_bound, _PORT))
            self.stack.callback(one.close)
            threading.Thread(target=self._echo, args=(one, name.encode()), daemon=True).start()
            self._raw[name] = self.stack.enter_context(self.server(name).call(_raw))  # to close one takes longer than this
        self._client = self.scene.client.call(partial(_bound, 0))
        self.stack.callback(self._client.close)
        self._holder = SLAVE

    def once(self) -> Sequence[float]:
        before, after = self._holder, MASTER if self._holder == SLAVE else SLAVE
        ip(self.server(before).netns, [f"address flush dev eth0 to {VIP}/32"])
        ip(self.server(after).netns, [f"address add {VIP}/{LENGTH} dev eth0"])
        request, _ = frames.gratuitous(self.server(after), VIP)
        begun = time.perf_counter()
        self._raw[after].send(request)
        answered = self._answered_by(after, begun)
        self._holder = after
        time.sleep(0.2)
        return [answered - begun]

    def check(self) -> str:
        return f"{self._holder} answers"

    def timeline(self) -> Sequence[tuple[float, str]]:
        return self._seen

    def _answered_by(self, name: str, begun: float) -> float:
        """Ask until somebody has answered, and a little longer; when that was."""
        self._seen, first, due = list[tuple[float, str]](), begun + _PATIENCE, begun
        while (now := time.perf_counter()) < min(first + _AFTER, begun + _PATIENCE):
            self._client.sendto(b"?", (self.scene.eip, _PORT))
            due += _EACH
            while (left := due - time.perf_counter()) > 0:
                self._client.settimeout(left)
                with suppress(TimeoutError):
                    who, now = self._client.recv(64).decode(), time.perf_counter()
                    self._seen.append((round(now - begun, 6), who))
                    first = min(first, now) if who == name else first
        assert first < begun + _PATIENCE, f"{name} does not answer within {_PATIENCE:g} s"
        return first

    def _echo(self, one: socket.socket, name: bytes) -> None:
        one.settimeout(0.2)
        while not self._over.is_set():
            with suppress(TimeoutError, OSError):
                _, ancillary, _, peer = one.recvmsg(64, 64)
                one.sendmsg([name], ancillary, 0, peer)  # from the address that was asked


def _moment(answer: Answer, began: float) -> tuple[float, str]:
    return round(answer.ended - began, 4), (answer.page or "").strip()


def _unsaid(_: str) -> None:
    """What is under way."""


def _signalled(server: LabServer, number: int) -> None:
    for pid in server.pids("keepalived"):
        os.kill(pid, number)


def _raw() -> socket.socket:
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    one.bind(("eth0", 0))
    return one


def _bound(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IP, _PKTINFO, 1)
    one.bind(("0.0.0.0", port))
    return one
