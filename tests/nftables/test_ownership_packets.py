"""What it costs packets when ownership begins and ends: the host's table is made anew for it."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nftables.conftest import Lab, ip_batch, uplink_in_use
from tests.nftables.test_driver import EIP, VIP, Site, nft
from vipnet.backend import BackendContext
from vipnet.plan import diff
from vipnet_kernel.namespaces import entered
from vipnet_nftables import NftablesBackend, ownership
from vipnet_nftables.wire.batch import Fault, Message

pytestmark = pytest.mark.root

ROUNDS = 20


@pytest.fixture
def site(lab: Lab) -> Site:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents()])
    return site


class Flow:
    """A datagram a millisecond, each of which is answered; a context manager."""

    def __init__(self, space: str, address: str) -> None:
        with entered(space):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((address, 7))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        self.sent = self.answered = 0

    def __enter__(self) -> Flow:
        self._socket.settimeout(0.5)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _send(self) -> None:
        while not self._stop.wait(0.001):
            self._socket.send(b"?")
            self.sent += 1

    def _receive(self) -> None:
        while True:
            try:
                self._socket.recv(100)
            except TimeoutError:
                if self._stop.is_set():
                    return
            else:
                self.answered += 1


@contextmanager
def _thief(site: Site) -> Generator[list[int]]:
    """C sends from the VIP to b without a pause; the list has how much was sent and how much arrived."""
    mac = f"neigh add {site.b.ip} lladdr {site.b.mac} dev eth0"
    assert not ip_batch(site.c.space, [f"address add {VIP}/32 dev eth0", mac])
    with entered(site.c.space):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with entered(site.b.space):
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, heard:
        sender.bind((VIP, 0))
        sender.connect((site.b.ip, 9))
        heard.bind(("0.0.0.0", 9))
        heard.setblocking(False)
        counts, stop = [0, 0], threading.Event()

        def steal() -> None:
            while not stop.is_set():
                sender.send(b"!")
                counts[0] += 1

        thread = threading.Thread(target=steal)
        thread.start()
        try:
            yield counts
        finally:
            stop.set()
            thread.join()
        try:
            while heard.recv(100):
                counts[1] += 1
        except BlockingIOError:
            pass


def test_it_costs_no_packet(lab: Lab, site: Site) -> None:
    with Flow(site.a.space, site.c.ip) as inside, Flow(lab.outside, EIP) as outside:
        time.sleep(0.3)
        for _ in range(ROUNDS):
            assert lab.backend.own()
            time.sleep(0.02)
            lab.backend.disown()
    assert (inside.sent - inside.answered, outside.sent - outside.answered) == (0, 0)
    assert min(inside.sent, outside.sent) > 300


def test_it_lets_nothing_by(lab: Lab, site: Site) -> None:
    with _thief(site) as counts:
        for _ in range(ROUNDS):
            assert lab.backend.own()
            lab.backend.disown()
    assert counts[0] > 1000
    assert counts[1] == 0


def test_counters_and_elements_stay(lab: Lab, site: Site) -> None:
    before = _elements(lab.host), _elements(site.router)
    assert lab.backend.own()
    assert (_elements(lab.host), _elements(site.router)) == before
    lab.backend.disown()
    assert (_elements(lab.host), _elements(site.router)) == before
    assert not lab.plan([uplink_in_use(), *site.intents()])


def _elements(space: str) -> list[str]:
    lines = nft(space, "list", "ruleset").splitlines()
    return [line for line in lines if line and "flags" not in line and "table" not in line]


def test_more_files_are_asked_for_and_given_back(lab: Lab, site: Site) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len([*Path("/proc/self/fd").iterdir()]) + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        assert lab.backend.own()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > few
        assert _owned(lab, site) == [True, True]
        lab.backend.disown()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_finds_no_room_is_not_owned(lab: Lab, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(ownership, "_SPARE", most - 1)
    assert lab.backend.own()
    assert sorted(_owned(lab, site)) == [False, True]
    assert not lab.plan([uplink_in_use(), *site.intents()])
    lab.backend.disown()
    assert _owned(lab, site) == [False, False]


def test_a_kernel_without_tables_that_persist_owns_nothing(
    lab: Lab, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel here has them: this is one that says no."""

    def refused(link: socket.socket, messages: Sequence[Message]) -> list[Fault]:
        del link, messages
        return [Fault(0, errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))]

    monkeypatch.setattr(ownership, "transacted", refused)
    lab.backend.close()
    old = NftablesBackend(BackendContext(options={"namespace": lab.host}))
    try:
        assert not old.own()
        nft(site.router, "flush", "ruleset")
        desired = old.compile([uplink_in_use(), *site.intents()])
        for step in old.steps(diff(old.audit(desired), desired)):
            assert old.apply(step) == {}
        assert "flags" not in nft(site.router, "list", "table", "ip", "vipnet").split("map", 1)[0]
    finally:
        old.close()


def _owned(lab: Lab, site: Site) -> list[bool]:
    tables = nft(lab.host, "list", "table", "bridge", "vipnet"), nft(site.router, "list", "table", "ip", "vipnet")
    return ["flags owner" in one for one in tables]
