"""The lab: a network namespace that stands for the host, servers on its ports, clients beyond its uplink."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from vipnet.errors import DataplaneError
from vipnet.lab import netns
from vipnet.lab.leader import Leader
from vipnet.lab.node import LabClient, LabNode, LabServer
from vipnet.lab.switch import LabSwitch, send_whole_checksums
from vipnet.model import check_name, mac_of

__all__ = ["Lab"]


Record = Callable[[str, str], None]


def _no_record(kind: str, value: str) -> None:
    del kind, value


class Lab:
    """A context manager that makes namespaces and folders, and removes all that it made, also on error.

    `host` names the network namespace that stands for the host: ports and uplink devices appear there, down and on no
    bridge. Names carry `prefix` and a random part, so that labs never meet; `namespaces` are all that it made. Servers'
    folders live below `root` (default: a temporary folder, removed at the end). `record` is told ("namespace", name),
    ("process", pid) and ("folder", path): namespaces and folders before they are made, processes, which die with us, as
    soon as they exist.
    """

    def __init__(self, *, prefix: str = "lab", root: Path | None = None, record: Record = _no_record) -> None:
        if os.geteuid() != 0:
            raise DataplaneError("a lab needs root: only root may make network namespaces")
        self.prefix = prefix
        self.id = secrets.token_hex(4)
        self.nodes: list[LabNode] = []
        self._record = record
        self.namespaces: list[str] = []
        self._folders: list[Path] = []
        self._bridges: dict[str, str] = {}
        self._has_switch = False
        self.root = root.absolute() if root else self._temporary_root()
        self.host = self._name("host")
        self._or_close(lambda: self._add_namespace(self.host))

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add_server(
        self,
        name: str,
        *,
        device: str,
        mac: str,
        address: str,
        gateway: str | None,
        address6: str | None = None,
        gateway6: str | None = None,
    ) -> LabServer:
        """Start a server whose `eth0` is joined to the port `device` of the host.

        Addresses come with their prefix length ("192.168.7.247/22"). Without `address6` IPv6 is off inside. The port is
        made down: whoever programs it opens it.
        """
        space, leader = self._start(name, ipv6=address6 is not None)
        server = LabServer(name=name, netns=space, folder=self._folder(name), mac=mac, leader=leader)
        self._join(server, device, self.host)
        _configure(server, [address, *filter(None, [address6])], _defaults(gateway, gateway6))
        return server

    def add_outside(
        self,
        *,
        device: str = "uplink0",
        address: str = "203.0.113.1/24",
        routes: Sequence[str] = (),
        name: str = "outside",
        mac: str | None = None,
    ) -> LabClient:
        """Start a client beyond the uplink `device` of the host; another call with the same device adds one beside it.

        All clients of an uplink share a plain bridge in a namespace of its own, as hosts on the provider's segment do.
        `routes` are lines of `ip route add`: "198.51.100.0/24 via 203.0.113.9".
        """
        bridge = self._bridge(device)
        space, leader = self._start(name, ipv6=False)
        client = LabClient(name=name, netns=space, folder=self._folder(name), mac=mac or mac_of(str(uuid4())), leader=leader)
        port = f"p{len(self.nodes)}"
        self._join(client, port, bridge)
        netns.ip(bridge, [f"link set {port} master br0 up"])
        _configure(client, [address], routes)
        return client

    def options(self, backend: str) -> dict[str, Any]:
        """Start what a backend needs that is no part of the kernel, and return the options by which it programs the host.

        Before machines are added.
        """
        return {"namespace": self.host} | ({"database": self.add_switch().database} if backend == "ovs" else {})

    def outlives(self, backend: str) -> bool:
        """Whether what a backend installs stays when all processes of the lab have ended."""
        return backend != "ovs"

    def add_switch(self) -> LabSwitch:
        """Start an Open vSwitch of the host's own. Machines that are added after it send whole checksums."""
        folder = self._folder("switch")
        leader = self._leader("switch", self.host, folder, ipv6=True)
        switch = LabSwitch(name="switch", netns=self.host, folder=folder, mac="", leader=leader)
        self._has_switch = True
        self._admit(switch)
        switch.start()
        return switch

    def keep(self) -> None:
        """Let everything outlive this process; `close` does nothing any more."""
        for node in self.nodes:
            node.keep()
        self._forget_all()

    def close(self) -> None:
        """Kill all processes, then remove namespaces and folders. Idempotent."""
        for node in self.nodes:
            node.leader.kill()
        for node in self.nodes:
            node.wait()
        for name in self.namespaces:
            netns.delete(name)
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._forget_all()

    def _forget_all(self) -> None:
        self.nodes, self.namespaces, self._folders = [], [], []

    def _or_close(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException:
            self.close()
            raise

    def _name(self, role: str) -> str:
        return f"{self.prefix}-{self.id}-{role}"

    def _temporary_root(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"vipnet-{self.prefix}-"))
        self._folders.append(folder)
        return folder

    def _folder(self, name: str) -> Path:
        return self.root / name

    def _add_namespace(self, name: str) -> None:
        self._record("namespace", name)
        self.namespaces.append(name)
        netns.add(name)

    def _start(self, name: str, *, ipv6: bool) -> tuple[str, Leader]:
        check_name("server", name)
        space = self._name(name)
        if space in self.namespaces:
            raise DataplaneError(f"the lab has a machine {name} already")
        self._add_namespace(space)
        return space, self._leader(name, space, self._folder(name), ipv6=ipv6)

    def _leader(self, name: str, space: str, folder: Path, *, ipv6: bool) -> Leader:
        self._record("folder", str(folder))
        self._folders.append(folder)
        folder.mkdir(parents=True)
        return Leader(netns=space, name=name, folder=folder, ipv6=ipv6)

    def _admit(self, node: LabNode) -> None:
        self.nodes.append(node)
        self._record("process", str(node.pid))

    def _join(self, node: LabNode, device: str, space: str) -> None:
        self._admit(node)
        netns.ip(space, [f"link add {device} type veth peer name eth0 address {node.mac} netns {node.netns}"])
        if self._has_switch:
            node.call(lambda: send_whole_checksums("eth0"))

    def _bridge(self, device: str) -> str:
        if device not in self._bridges:
            space = self._bridges[device] = self._name(f"{device}-segment")
            self._add_namespace(space)
            netns.call_in(space, _keep_frames_whole)
            # snooping off: without a querier a bridge may forget who listens to VRRP's group
            netns.ip(space, ["link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up"])
            netns.ip(self.host, [f"link add {device} type veth peer name up0 netns {space}"])
            netns.ip(space, ["link set up0 master br0 up"])
        return self._bridges[device]


def _keep_frames_whole() -> None:
    """Keep the IP layer of the calling thread's namespace off bridged frames, from which it cuts what is behind a packet."""
    for family in ("ip", "ip6", "arp"):
        with suppress(FileNotFoundError):  # a kernel without br_netfilter
            Path(f"/proc/sys/net/bridge/bridge-nf-call-{family}tables").write_text("0")


def _configure(node: LabNode, addresses: Sequence[str], routes: Sequence[str]) -> None:
    given = [f"addr add {address} {'nodad' if ':' in address else 'brd +'} dev eth0" for address in addresses]
    netns.ip(node.netns, [*given, "link set eth0 up", *(f"route add {route}" for route in routes)])


def _defaults(gateway: str | None, gateway6: str | None) -> list[str]:
    return [f"default via {gateway}"] * (gateway is not None) + [f"default via {gateway6}"] * (gateway6 is not None)
