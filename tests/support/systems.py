"""The systems of our own backends, for the contract and for whatever else asks them packet questions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from drifts import DRIFTS

from vipnet.backend import Backend, BackendContext
from vipnet.lab import netns
from vipnet.lab.switch import LabSwitch
from vipnet.process import run
from vipnet.testing import HostSystem, Probe, Scene, System
from vipnet_simulator.probe import SimulatedProbe

__all__ = ["IptablesLegacySystem", "IptablesSystem", "NftablesSystem", "OvsSystem", "SimulatorSystem", "UnownedSystem"]


class SimulatorSystem(System):
    """Entries in a file; others have theirs beside it."""

    name = "simulator"

    def probe(self, backend: Backend[Any], scene: Scene) -> Probe:
        return SimulatedProbe(backend, scene)

    def plant(self) -> None:
        (self.folder / "state.other").write_text("not of our making\n")
        (self.folder / "other").mkdir()
        with closing(sqlite3.connect(self.folder / "other" / "state")) as database, database:
            database.execute("CREATE TABLE entries (key TEXT, line TEXT)")
            database.execute("INSERT INTO entries VALUES ('port:other', '{}')")

    def others(self) -> frozenset[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("store.db"))
        return frozenset(f"{path}: {sha256(path.read_bytes()).hexdigest()}" for path in files if path != self.folder / "state")


class NftablesSystem(HostSystem):
    """A host of namespaces. Rules of ours are out of reach while somebody watches, so no damage is done to them."""

    name = "nftables"
    settings = frozenset(f"bridge/bridge-nf-call-{tables}" for tables in ("arptables", "ip6tables", "iptables"))

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        bridges, routers = _names(backend, "bridge vnb"), _names(backend, "namespace vn-")
        host = self.lab.host
        return {
            "links are set down": lambda: netns.ip(host, [f"link set {bridges[0]} down", "link set tap-a down"]),
            "bridges are deleted": lambda: netns.ip(host, [f"link del {bridge}" for bridge in bridges]),
            "ways out are deleted": lambda: _each(routers, _cut_off),
            "namespaces are deleted": lambda: _each(routers, netns.delete),
        }

    def drifts(self) -> Mapping[str, Callable[[], object]]:
        return {what: partial(drift, self.lab.host) for what, drift in DRIFTS.items()}


class IptablesSystem(HostSystem):
    """A host of namespaces, with the programs of iptables-nft."""

    name = "iptables"
    variant = "nft"
    settings = NftablesSystem.settings

    def context(self) -> BackendContext:
        return BackendContext(options={**super().context().options, "variant": self.variant})

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        bridges, routers = _names(backend, "bridge vnb"), _names(backend, "namespace vn-")
        host = self.lab.host
        return {
            "links are set down": lambda: netns.ip(host, [f"link set {bridges[0]} down", "link set tap-a down"]),
            "bridges are deleted": lambda: netns.ip(host, [f"link del {bridge}" for bridge in bridges]),
            "ways out are deleted": lambda: _each(routers, _cut_off),
            "namespaces are deleted": lambda: _each(routers, netns.delete),
            "rules of routers are flushed": lambda: _each(routers, self._flush),
            "rules of the host are flushed": lambda: self._flush_host(host),
        }

    def others(self) -> frozenset[str]:
        """What is there, but for tables and chains of iptables that it makes when it lists them, of which nothing is in use."""
        return frozenset(line for line in super().others() if not _is_made_by_listing(line))

    def _flush(self, space: str) -> None:
        for table in ("filter", "nat", "mangle"):
            _in(space, f"iptables-{self.variant}", "-t", table, "-F")

    def _flush_host(self, space: str) -> None:
        _in(space, "ebtables-nft", "-t", "nat", "-F", "VIPNET-PRE")
        _in(space, "ebtables-nft", "-t", "filter", "-F")
        _in(space, "nft", "flush", "table", "bridge", "vipnet_iptables")


class IptablesLegacySystem(IptablesSystem):
    """The same, with the programs of iptables-legacy."""

    variant = "legacy"


class OvsSystem(HostSystem):
    """A host with a switch of its own, whose datapath takes a processor for 50,000 packets a second: fewer are sent."""

    name = "ovs"
    streams = 12

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._options = self.lab.options(self.name)

    @property
    def switch(self) -> LabSwitch:
        """The switch, with which tests do as they like."""
        return next(node for node in self.lab.nodes if isinstance(node, LabSwitch))

    def context(self) -> BackendContext:
        return BackendContext(options=self._options)

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        del backend  # names of ports and the bridge are known
        host = self.lab.host
        return {
            "ports are set down": lambda: netns.ip(host, ["link set tap-a down", "link set uplink0 down"]),
            "flows are deleted": lambda: self._ofctl("del-flows"),
            "some flows are deleted": lambda: self._ofctl("del-flows", "table=0"),
            "groups are deleted": lambda: self._ofctl("del-groups"),
            "ports are deleted": lambda: self._vsctl("--", "del-port", "tap-a", "--", "del-port", "uplink0"),
            "the bridge is deleted": lambda: self._vsctl("del-br", "vipnet0"),
            "the switch is killed, and started again": self._restart,
        }

    def drifts(self) -> Mapping[str, Callable[[], object]]:
        foreign = "table=30,priority=7,cookie=0x5,ip,nw_src=198.51.100.1,actions=drop"
        return {
            "a flow is added": lambda: self._ofctl("add-flow", foreign),
            "a port is said to be another's": lambda: self._vsctl("remove", "port", "tap-b", "external_ids", "vipnet-owner"),
        }

    def _ofctl(self, verb: str, *arguments: str) -> None:
        run(["ovs-ofctl", "-O", "OpenFlow15", verb, f"unix:{self.switch.rundir}/vipnet0.mgmt", *arguments])

    def _vsctl(self, *arguments: str) -> None:
        run(["ovs-vsctl", f"--db={self.switch.database}", *arguments])

    def _restart(self) -> None:
        self.switch.kill_vswitchd()
        self.switch.start_vswitchd()


class UnownedSystem(NftablesSystem):
    """A host whose rules others can change also while somebody watches."""

    def context(self) -> BackendContext:
        return BackendContext(options={**super().context().options, "own": False})

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        spaces = (self.lab.host, *_names(backend, "namespace vn-"))
        return {
            **super().damages(backend),
            "rules are flushed": lambda: _each(spaces, lambda space: _nft(space, "flush", "ruleset")),
        }


def _names(backend: Backend[Any], kind: str) -> list[str]:
    return [key.partition(" ")[2] for key in backend.read() if key.startswith(kind)]


def _each(spaces: Iterable[str], damage: Callable[[str], object]) -> None:
    for space in spaces:
        damage(space)


def _cut_off(router: str) -> None:
    run(["ip", "-n", router, "link", "del", "up0"], check=False)  # some have no way out


_MADE: Final = ("filter", "nat", "mangle", "raw")
"""Tables of iptables-nft and ebtables-nft, which are there from the first time on that somebody looks at them."""


def _is_made_by_listing(line: str) -> bool:
    kind, _, row = line.partition(": nft ")[2].partition(" ")
    if kind not in ("table", "chain"):
        return False
    said: dict[str, Any] = json.loads(row)
    return said.get("table" if kind == "chain" else "name") in _MADE and said.get("policy") in (None, "accept")


def _in(space: str, *command: str) -> None:
    run(["ip", "netns", "exec", space, *command])


def _nft(space: str, *command: str) -> None:
    run(["ip", "netns", "exec", space, "nft", *command])
