"""A cloud with many streams through it, on a real backend in a lab: what continuity is asked of."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self

from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.lab import LabNode
from vipnet.store import open_store
from vipnet.testing import frames
from vipnet.testing.changes import Changes
from vipnet.testing.controlled import EIP_NETWORK, build, eip_name, scene_config
from vipnet.testing.host import HostSystem
from vipnet.testing.network import clear
from vipnet.testing.probe import OUTSIDE, Announcement
from vipnet.testing.scene import Group, Scene, SceneEip, Segment, Server, Vpc
from vipnet.testing.streams import CONTROL, Streams
from vipnet.testing.system import System

__all__ = ["FREE", "Stage", "busy_scene"]

FREE: Final = ("red-free", "blue-free", "blue-spare")
"""Groups in two VPCs, with a VIP, a holder each and no EIP."""

_WIDE: Final = "wide"
_NEAR, _FAR = "198.18.0.1", "198.18.0.2"
_RED: Final = 8
"""EIPs of red, of which some take part in changes."""

_HOLDERS: Final = {"red": "a", "blue": "x", "green": "p"}
_OTHER_HOLDERS: Final = {"blue-spare": "y"}


def busy_scene(eips: int = 20) -> Scene:
    """Three VPCs of the same addresses with so many EIPs between them, and one without EIPs.

    Red: `a` holds all VIPs, `b` is the other member, `c` nobody's, `d` in another subnet. Blue: `x`, and `y` one; green: `p`.
    """
    public = iter(range(100, 100 + eips))
    groups = [(vpc, f"{vpc}-{number}", 100 + number) for vpc, count in _shares(eips) for number in range(count)]
    groups += [(name.partition("-")[0], name, 90 + number) for number, name in enumerate(FREE)]
    members = {"red": ("a", "b"), "blue": ("x", "y"), "green": ("p",)}
    return Scene(
        vpcs=(
            Vpc(name="red", tag=1, mode="eip-distgw"),
            Vpc(name="blue", tag=2, mode="eip-distgw"),
            Vpc(name="green", tag=3, mode="eip"),
            Vpc(name="grey", tag=4, mode="distgw"),
        ),
        segments=(
            *(Segment(name=f"{vpc}-web", vpc=vpc, gateway="192.168.4.1/22") for vpc in ("red", "blue", "green", "grey")),
            Segment(name="red-db", vpc="red", gateway="192.168.8.1/24"),
        ),
        servers=(
            Server(name="a", segment="red-web", ip="192.168.7.10"),
            Server(name="b", segment="red-web", ip="192.168.7.11"),
            Server(name="c", segment="red-web", ip="192.168.7.12"),
            Server(name="d", segment="red-db", ip="192.168.8.10"),
            Server(name="x", segment="blue-web", ip="192.168.7.10"),
            Server(name="y", segment="blue-web", ip="192.168.7.11"),
            Server(name="p", segment="green-web", ip="192.168.7.10"),
            Server(name="q", segment="grey-web", ip="192.168.7.10"),
        ),
        groups=tuple(
            Group(name=name, segment=f"{vpc}-web", vip=f"192.168.7.{last}", members=members[vpc]) for vpc, name, last in groups
        ),
        eips=tuple(SceneEip(ip=f"203.0.113.{next(public)}", group=name) for _, name, _ in groups[:eips]),
    )


def _shares(eips: int) -> Iterator[tuple[str, int]]:
    blue = round((eips - _RED) * 7 / 12)
    yield from {"red": _RED, "blue": blue, "green": eips - _RED - blue}.items()


class Stage:
    """The busy scene on a system, programmed by a Controller that can be restarted, with all VIPs held. A context manager."""

    def __init__(self, system: HostSystem) -> None:
        self.system, self.lab, self.scene = system, system.lab, busy_scene(system.streams)
        self._config = _config(system, self.scene)
        self.cloud = self._opened()
        self.probe = system.probe(self.cloud.backend, self.scene)
        self.control = [
            self.lab.add_outside(device="control0", address=f"{ip}/24", name=f"{CONTROL}-{name}")
            for name, ip in (("near", _NEAR), ("far", _FAR))
        ]
        self._changes: Changes | None = None

    def __enter__(self) -> Self:
        build(self.cloud, self.scene)
        self.cloud.networks.create(_WIDE, "198.51.100.0/22", server_type="eip")
        for group in self.scene.groups:
            self.probe.hold(self.holder(group.name), group.vip)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        clear(self.cloud.backend)
        self.cloud.close()

    def restart(self) -> None:
        """Close the Controller and open another one over the same store."""
        self.cloud.close()
        self.cloud = self._opened()

    def holder(self, group: str) -> str:
        """The server that holds a group's VIP."""
        return _OTHER_HOLDERS.get(group) or _HOLDERS[group.partition("-")[0]]

    def node(self, name: str) -> LabNode:
        """A machine by its name in the scene."""
        return self.probe.node(name)

    @contextmanager
    def streaming(self, *more: tuple[str, str, str, str]) -> Generator[Streams, None, None]:
        """Streams to every EIP and of every other kind, started; stop them for the report.

        `more`: flows as (name, sender, source, destination).
        """
        with Streams() as streams:
            self._answer(streams)
            streams.flows(self.node(OUTSIDE), {f"to {eip.ip}": eip.ip for eip in self.scene.eips})
            self._flow_inside(streams)
            streams.flows(self.control[0], {CONTROL: _FAR})
            for name, sender, src, dst in more:
                streams.flows(self.node(sender), {name: dst}, src=src)
            streams.start()
            yield streams

    def changes(self, seed: int) -> Changes:
        """Changes of everything that no stream is about; asked again, the same go on."""
        if self._changes is None:
            self._changes = Changes(
                home=self,
                seed=seed,
                segments={"red": "red-web", "blue": "blue-web", "green": "green-web"},
                watched=[eip_name(eip.ip) for eip in self.scene.eips[:4]],
                standbys=[(group.name, "c") for group in self.scene.groups[4:8]],
                wide=_WIDE,
                drifts=self.system.drifts(),
            )
        return self._changes

    def take(self, server: str, vip: str) -> None:
        """Give a server an address, of which nobody is told yet."""
        self.node(server).run("ip", "address", "add", f"{vip}/32", "dev", "eth0")

    def leave(self, server: str, vip: str) -> None:
        """Take the address away again."""
        self.node(server).run("ip", "address", "del", f"{vip}/32", "dev", "eth0")

    def announce(self, server: str, vip: str, form: Announcement) -> float:
        """Send one gratuitous ARP of a server's; return the time right before, in seconds since the epoch."""
        node = self.node(server)
        frame = frames.arp(1 if form == "request" else 2, frames.mac_bytes(node.mac), vip, vip)
        with node.call(partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)) as raw:
            raw.bind(("eth0", 0))
            before = time.time()
            raw.send(frame)
        return before

    def _opened(self) -> Controller:
        return Controller(config=self._config, store=open_store(self._config.store), backend=self.system.backend())

    def _answer(self, streams: Streams) -> None:
        for server in self.scene.servers:
            vips = [group.vip for group in self.scene.groups if server.name in group.members]
            streams.answer(self.node(server.name), [server.ip, *vips])
        streams.answer(self.node(OUTSIDE), [self.scene.outside])
        streams.answer(self.control[1], [_FAR])

    def _flow_inside(self, streams: Streams) -> None:
        """One flow of each kind that is not from outside to an EIP."""
        red, blue = (next(eip for eip in self.scene.eips if eip.group.startswith(vpc)) for vpc in ("red", "blue"))
        ways = {"on the segment": "192.168.7.11", "routed": "192.168.8.10", "masqueraded": self.scene.outside}
        streams.flows(self.node("c"), {**ways, "hairpin": red.ip, "to another VPC": blue.ip})
        streams.flows(self.node("q"), {"masqueraded, no EIPs": self.scene.outside})
        streams.flows(self.node("a"), {"as an EIP": self.scene.outside}, src=self.scene.group(red.group).vip)


def _config(system: System, scene: Scene) -> Config:
    config = scene_config(scene, name=system.name)
    ways = {name: replace(way, networks=(EIP_NETWORK, _WIDE)) for name, way in config.uplinks.items()}
    return replace(config, store=f"sqlite:///{system.folder}/store.db", uplinks=ways)
