"""The demo's acts, each a claim that is put to the proof with real packets."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from vipnet.errors import DataplaneError
from vipnet.lab import LabServer, frames
from vipnet.lab.node import wait_for
from vipnet.lab.scene import GROUP, LENGTH, MASTER, OUTSIDER, SLAVE, VIP, Scene
from vipnet.lab.timeline import Watcher, draw, longest_gap

__all__ = ["FAILOVER_MAX", "Act", "Check", "Failed", "Failover", "closing_acts", "opening_acts"]

FAILOVER_MAX = 1.5
"""Seconds without an answer that a clean stop may cost, with advertisements every second."""

_CUT_MAX = 1.0
_LINE = f"inet {VIP}/{LENGTH} scope global secondary eth0"
_SIGNS = {MASTER: "M", SLAVE: "s"}

Act = Callable[["Stage"], str]
"""Does something and returns what was seen; raises Failed when it is not what was claimed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: whether it held, and what was seen."""

    name: str
    ok: bool
    detail: str


class Failed(Exception):  # noqa: N818 - an outcome, not an error of the program
    """What was claimed did not happen."""


@dataclass(slots=True)
class Failover:
    """What the clean stop cost the client, in seconds; None: not measured."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene with a client that asks all the time."""

    scene: Scene
    watcher: Watcher
    failover: Failover

    def server(self, name: str) -> LabServer:
        """A server of the scene."""
        return self.scene.servers[name]


def opening_acts() -> dict[str, Act]:
    """Acts that leave everything standing."""
    return {
        "the client reads the page by the EIP": _page,
        "nginx killed: the check brings it back": _restarted,
        "nginx broken: the VIP moves": _broken,
        "nginx repaired: the VIP returns": _repaired,
        f"keepalived stopped: the VIP moves within {FAILOVER_MAX:g} s": _stopped,
        "a server that is no member cannot claim the VIP": _stolen_arp,
        "nor send from it": _stolen_source,
    }


def closing_acts() -> dict[str, Act]:
    """Acts that take everything away again."""
    return {
        "EIP dissociated: the client is cut off at once": _dissociated,
        "everything deleted by verbs: nothing is programmed any more": _deleted,
    }


def _page(stage: Stage) -> str:
    _until(lambda: stage.watcher.served_by(MASTER), "no page of the master by the EIP")
    _shown(stage.server(MASTER))
    return f"http://{stage.scene.eip}/ answered by {MASTER}; its eth0 shows {_LINE!r}"


def _restarted(stage: Stage) -> str:
    master = stage.server(MASTER)
    with _drawn(stage) as seen:
        before = set(master.pids("nginx"))
        master.stop_nginx(signal.SIGKILL)
        _until(lambda: set(master.pids("nginx")) - before and stage.watcher.served_by(MASTER), "nginx was not brought back")
        _shown(master)
    return f"back after {seen.seconds:.2f} s, the VIP stayed"


def _broken(stage: Stage) -> str:
    master = stage.server(MASTER)
    with _drawn(stage) as seen:
        master.write("etc/nginx/nginx.conf", "this is no configuration;\n")
        master.stop_nginx(signal.SIGKILL)
        _until(lambda: stage.watcher.served_by(SLAVE), "the slave did not take over")
        _shown(stage.server(SLAVE))
    return f"{SLAVE} answers after {seen.seconds:.2f} s (the check runs every 2 s, then 3 advertisements are waited for)"


def _repaired(stage: Stage) -> str:
    with _drawn(stage) as seen:
        stage.server(MASTER).start_nginx(f"{MASTER}\n")
        _until(lambda: stage.watcher.served_by(MASTER), "the master did not come back")
        _shown(stage.server(MASTER))
    return f"{MASTER} answers again; the client missed {seen.seconds:.2f} s"


def _stopped(stage: Stage) -> str:
    with _drawn(stage) as seen:
        stage.server(MASTER).stop_keepalived()
        _until(lambda: stage.watcher.served_by(SLAVE), "the slave did not take over")
        _shown(stage.server(SLAVE))
    stage.failover.seconds = seen.seconds
    if seen.seconds >= FAILOVER_MAX:
        raise Failed(f"the client missed {seen.seconds:.2f} s")
    return f"the client missed {seen.seconds:.2f} s; {SLAVE} shows {_LINE!r}"


def _stolen_arp(stage: Stage) -> str:
    began = time.monotonic()
    frames.announce(stage.server(OUTSIDER), VIP)
    time.sleep(0.5)
    answers = stage.watcher.since(began)
    wrong = [answer for answer in answers if answer.page is None or answer.page.strip() != SLAVE]
    if wrong or not answers:
        raise Failed(f"{len(wrong)} of {len(answers)} requests were not answered by {SLAVE}")
    return f"gratuitous requests and replies for {VIP} by {OUTSIDER}: all {len(answers)} pages since are {SLAVE}'s"


def _stolen_source(stage: Stage) -> str:
    thief, slave = stage.server(OUTSIDER), stage.server(SLAVE)
    listener = frames.Listener(slave, 9)
    target = slave.addresses()[0].partition("/")[0]
    for source, text in ((VIP, b"stolen"), (thief.addresses()[0].partition("/")[0], b"honest")):
        frames.send_from(thief, source, target, 9, text)
    texts = [text for _, text in listener.received(wait=0.5)]
    if texts != [b"honest"]:
        raise Failed(f"of a stolen and an honest packet arrived {texts}")
    return f"a packet from {VIP} sent by {OUTSIDER} did not arrive, one from its own address did"


def _dissociated(stage: Stage) -> str:
    eip, client = stage.scene.eip, stage.scene.client
    held = http.client.HTTPConnection(eip, 80, timeout=_CUT_MAX)
    held.sock = client.call(lambda: socket.create_connection((eip, 80), _CUT_MAX))
    try:
        if _ask(held) is None:
            raise Failed("the connection to be cut did not work before")
        began = time.monotonic()
        stage.scene.cloud.groups.dissociate_eip(GROUP)
        took = time.monotonic() - began
        if _ask(held) is not None:
            raise Failed("an established connection lived on")
    finally:
        held.close()
    if client.http_get(eip) is not None:
        raise Failed("a new connection was answered")
    return f"dissociated in {took * 1000:.0f} ms; then an established connection got no answer, nor did a new one"


def _deleted(stage: Stage) -> str:
    cloud = stage.scene.cloud
    before = set(stage.scene.namespaces.values())
    cloud.groups.detach_network(GROUP)
    cloud.groups.unbind_guests(GROUP, [MASTER, SLAVE])
    cloud.groups.delete(GROUP)
    for server in cloud.servers.list():
        cloud.servers.delete(server.id)
    for eip in cloud.eips.list():
        cloud.eips.delete(eip.id)
    for network in ("web", "pub"):
        cloud.networks.delete(network)
    cloud.vpcs.delete("prod")
    for host in cloud.hosts.list():
        cloud.hosts.delete(host.id)
    left = cloud.status().entries
    if left or cloud.plan():
        raise Failed(f"still programmed: {left}")
    after = set(stage.scene.namespaces.values())
    return f"no entry is left; namespaces that vipnet removed: {', '.join(sorted(before - after)) or 'none'}"


def _ask(connection: http.client.HTTPConnection) -> str | None:
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None


def _until(question: Callable[[], object], otherwise: str) -> None:
    try:
        wait_for(question, otherwise, timeout=15)
    except DataplaneError as error:
        raise Failed(f"{otherwise} within 15 s") from error


def _shown(server: LabServer) -> None:
    """Fail unless the server's own `ip addr show dev eth0` shows the VIP as the specification does."""
    shown = server.run("ip", "addr", "show", "dev", "eth0").stdout
    if _LINE not in shown:
        raise Failed(f"eth0 of {server.name} does not show {_LINE!r}")


@contextmanager
def _drawn(stage: Stage) -> Generator[_Seen, None, None]:
    """Draw what the client saw meanwhile, and measure what it missed."""
    began, seen = time.monotonic(), _Seen()
    yield seen
    time.sleep(0.3)  # some good answers after the event belong to the picture
    answers = stage.watcher.since(began)
    seen.seconds = longest_gap(answers)
    stage.scene.say(f"    {draw(answers, _SIGNS)}")


@dataclass(slots=True)
class _Seen:
    """What the client missed, in seconds; known when the picture is drawn."""

    seconds: float = 0.0
