"""The backend: all input and output."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from vipnet.backend import Backend, BackendContext, Capability, Usability, check_options
from vipnet.errors import DataplaneError
from vipnet.evidence import Finding, Location
from vipnet.intents import EipMapping, Intent, Released, VipBinding
from vipnet.plan import Plan, TargetPlan
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters
from vipnet_kernel.handles import Handles
from vipnet_kernel.linklist import list_links
from vipnet_kernel.requests import RouteRequest, SwitchOffIpv6, send
from vipnet_ovs.agent import Agent
from vipnet_ovs.announcing import is_announced
from vipnet_ovs.asking import counted
from vipnet_ovs.buffers import Buffers
from vipnet_ovs.bundle import carry_out, touches_ports
from vipnet_ovs.compiler import compile_intents
from vipnet_ovs.database import Database, Reading
from vipnet_ovs.entries import FLOWS, PORTS, Entry, Plug
from vipnet_ovs.evidence import find, held_by
from vipnet_ovs.eyes import OvsEyes
from vipnet_ovs.jsonrpc import gather
from vipnet_ovs.metering import Mapped, is_counter, mapped, unmapped
from vipnet_ovs.releasing import flush_connections
from vipnet_ovs.switch import PATIENCE, State, Switch, poke
from vipnet_ovs.wire.connection import Connection

__all__ = ["OvsBackend"]

_ROOM: Final = 4 << 20
_DATABASE: Final = "unix:/var/run/openvswitch/db.sock"
_OPTIONS: Final[Mapping[str, type]] = {
    "namespace": str,
    "bridge": str,
    "database": str,
    "datapath": str,
    "existing": bool,
    "receive_buffer": int,
}


class OvsBackend(Backend[Entry]):
    """One bridge of Open vSwitch that switches, routes, translates and limits for any number of VPCs.

    Options: `namespace` where the ports' and uplinks' devices are ("": the process's own); `bridge`, its name; `database`,
    the switch's ("unix:PATH"); `datapath`, "system" (the kernel's) or "netdev" (userspace); `existing`: the bridge is somebody
    else's, and only our ports and tables are ours; `receive_buffer`, octets for what arrives by a device while the switch is busy
    (userspace datapath; 0: as the kernel has it). Not for use by two threads at once; needs root.
    """

    name: ClassVar[str] = "ovs"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"ipv4", "ipv6", "eip", "distgw", "classic", "limits"})
    copies: ClassVar[bool] = True

    def __init__(self, context: BackendContext) -> None:
        check_options(self.name, context.options, _OPTIONS)
        options = context.options
        self._host: str = options.get("namespace", "")
        bridge: str = options.get("bridge", "vipnet0")
        remote: str = options.get("database", _DATABASE)
        datapath: str = options.get("datapath", "netdev")
        existing: bool = options.get("existing", False)
        self._existing = existing
        self._new_database = partial(Database, remote, bridge, datapath=datapath, existing=existing)
        self._database = self._new_database()
        self._path = Path(remote.removeprefix("unix:")).parent / f"{bridge}.mgmt"
        self._switch = Switch(self._path)
        self._agent: Agent | None = None
        self._buffers = Buffers(options.get("receive_buffer", _ROOM) if datapath == "netdev" else 0)
        self._handles = Handles()
        self._known: Reading | None = None
        self._seqno = 0

    @classmethod
    def usability(cls) -> Usability:
        """Say whether the user is root, and Open vSwitch and the Python package ovs are installed."""
        if os.geteuid() != 0:
            return Usability(False, "the ovs backend programs a switch: run it as root")
        if shutil.which("ovs-vswitchd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])) is None:
            return Usability(False, "not installed: ovs-vswitchd (Debian package openvswitch-switch)")
        for package in ("ovs", "pyroute2"):
            if find_spec(package) is None:
                return Usability(False, f"not installed: {package} (pip install 'vipnet[ovs]')")
        return Usability(True)

    def compile(self, intents: Iterable[Intent]) -> dict[str, Entry]:
        """Translate intents into ports, flows and buckets."""
        return compile_intents(intents)

    def steps(self, plan: Plan[Entry]) -> Iterable[TargetPlan[Entry]]:
        """Ports come before flows, which know them by number, and go after them."""
        return _ordered(plan)

    def read(self) -> dict[str, Entry]:
        """Return every entry that is installed."""
        reading = self._looked_at_ports()
        entries: dict[str, Entry] = {plug.key: plug._replace(up=plug.device not in reading.down) for plug in reading.plugs}
        if reading.bridge:
            entries.update(self._switch.read(reading.numbers).entries)
        return entries

    def apply(self, step: TargetPlan[Entry]) -> Mapping[str, str]:
        """Change ports in one transaction of the database, or flows in one bundle."""
        refused = self._apply_flows(step) if step.target == FLOWS else self._apply_ports(step)
        if step.delete and not refused:
            self._sweep()
        return refused

    def _apply_flows(self, step: TargetPlan[Entry]) -> Mapping[str, str]:
        reading = self._database.read()
        if not reading.bridge and (step.create or step.replace):
            self._database.make_bridge()
            reading = self._database.read()
        if not reading.bridge:
            return {}
        refused = carry_out(self._switch, step, reading.numbers)
        if not refused:
            self._tell(step)
            if touches_ports(step):
                gather(self._path.parent, lambda: self._switch.connection().send(poke()))
        return refused

    def _apply_ports(self, step: TargetPlan[Entry]) -> Mapping[str, str]:
        plugs = [entry for entry in (*step.create, *(new for _, new in step.replace)) if isinstance(entry, Plug)]
        self._database.change(plugs, [entry for entry in step.delete if isinstance(entry, Plug)])
        self._set_up({plug.device for plug in plugs})
        self._looked_at_ports()
        return {}

    def _sweep(self) -> None:
        """Take away what belongs to no object when there is none left, and then the bridge."""
        reading = self._database.read()
        if reading.bridge and not reading.plugs and self._switch.is_bare():
            self._switch.clear()
            self._database.drop_bridge()
            self._looked_at_ports()

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:
        """See who claims addresses, devices come and go, and the switch change."""
        return OvsEyes(self._host, self._new_database(), self._path, report)

    def changed(self) -> bool:
        """Whether our ports, the mark of who programmed last, or the number of flows of a table is another."""
        known = self._known
        if known is None or self._seqno != self._database.seqno():
            if known is None or known != self._ports():
                return True
            self._seqno = self._database.seqno()
        return known.bridge and (self._switch.state is None or self._switch.looked() != self._switch.state)

    def stamp(self) -> str:
        """Name our ports, who programmed last, and the number of flows of each table, as last seen."""
        known = self._known
        if known is None or (known.bridge and self._switch.state is None):
            return ""
        return _stamp(known, self._switch.state)

    def adopt(self, stamp: str) -> bool:
        """Take ports and flows for known if they are as stamped; what somebody modified in place is not noticed."""
        with suppress(DataplaneError):
            reading = self._ports()
            state = self._switch.looked() if reading.bridge else None
            if _stamp(reading, state) != stamp:
                return False
            self._known, self._seqno = reading, self._database.seqno()
            self._switch.trust(state)
            return True
        return False

    def is_prepared(self) -> bool:
        """Whether there is no group and no meter that nobody uses; on a bridge that is lent they are its owner's."""
        return self._existing or not self._switch.has_orphans

    def prepare(self) -> None:
        """Take away groups and meters that somebody who died has left."""
        if not self.is_prepared():
            self._switch.sweep()

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        """Ask the switch what the flows of each EIP have counted, when it has gathered that from its datapath."""
        return self._counted(mapped(mappings))

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:
        """Ask what was counted of EIPs that have left a VPC: the flows that `steps` leaves for last."""
        return self._counted(unmapped(ended))

    def flush(self, released: Sequence[Released]) -> None:
        """Cut what lives on addresses that left: the datapath's own cache of what flows said, and connections of EIPs."""
        if released and self._database.read().bridge:
            gather(self._path.parent, lambda: self._switch.connection().send(poke()))
            flush_connections(self._switch, released)

    def evidence(self, entries: Sequence[Entry]) -> Mapping[str, Finding]:
        """Look for entries by key: flows with what they count, buckets, ports."""
        reading = self._database.read()
        if not reading.bridge:
            return {entry.key: Finding("missing") for entry in entries}
        links = list_links(self._host)
        return find(self._switch, reading, entries, lambda device: device not in links)

    def holder(self, vip: VipBinding, version: int) -> Location | None:
        """Say which member has last announced a VIP, as far as an agent is there to hear it."""
        return held_by(self._switch, vip, version) if self._database.read().bridge else None

    def versions(self) -> dict[str, str]:
        """Versions of the kernel, the switch and the Python package."""
        return {"kernel": os.uname().release, "openvswitch": self._database.version(), "ovs": version("ovs")}

    def _tell(self, step: TargetPlan[Entry]) -> None:
        """Announce EIPs that are answered for from now on, and ask for the gateways of uplinks."""
        told = [entry for entry in step.create if is_announced(entry)]
        if step.create and self._agent is None:
            self._agent = Agent(self._path)
            self._agent.start()
        if self._agent is not None and told:
            self._agent.announce(told)

    def connection(self) -> Connection:
        """The connection to the bridge by which it is programmed. Raises DataplaneError."""
        return self._switch.connection()

    def forget(self) -> None:
        """Take nothing of what is installed for known."""
        self._switch.forget()

    def close(self) -> None:
        """Close the connections; what is installed stays."""
        if self._agent is not None:
            self._agent.close()
        self._switch.close()
        self._database.close()
        self._handles.close()

    def _counted(self, asked: list[Mapped]) -> Mapping[str, Counters]:
        """By a connection of its own: another thread may be in the middle of a change."""
        with Connection(self._path, patience=PATIENCE) as connection:
            gather(self._path.parent, lambda: connection.send(poke()))
            return counted(connection, asked)

    def _looked_at_ports(self) -> Reading:
        self._known, self._seqno = self._ports(), self._database.seqno()
        if self._known.bridge:
            self._buffers.widen(self._switch.connection().peer())
        return self._known

    def _ports(self) -> Reading:
        """What the database has; what it says of a device that is down comes a moment late, so the kernel is asked."""
        reading = self._database.read()
        if not reading.down:
            return reading
        links = list_links(self._host)
        down = frozenset(device for device in reading.down if device in links and not links[device].up)
        return reading._replace(down=down)

    def _set_up(self, devices: Iterable[str]) -> None:
        there = list_links(self._host)
        for device in sorted(set(devices) & there.keys()):
            up = RouteRequest("link", "set", {"ifname": device, "state": "up"})
            refused = send(self._handles, self._host, [SwitchOffIpv6(device), up])
            if refused:
                raise DataplaneError(f"{device} cannot be set up: {next(iter(refused.values()))}")


def _stamp(reading: Reading, state: State | None) -> str:
    ports = sorted(reading.plugs), sorted(reading.numbers.items()), sorted(reading.down), reading.bridge
    flows = None if state is None else (state.marker, sorted(state.counts.items()))
    return blake2b(repr((ports, flows)).encode(), digest_size=16).hexdigest()


def _ordered(plan: Plan[Entry]) -> list[TargetPlan[Entry]]:
    before: list[TargetPlan[Entry]] = []
    after: list[TargetPlan[Entry]] = []
    for target in plan.targets:
        if target.target == PORTS:
            before.insert(0, replace(target, delete=()))
            after.insert(0, replace(target, create=(), replace=()))
            continue
        counters = tuple(filter(is_counter, target.delete))
        before.append(target.without(frozenset(entry.key for entry in counters)) if counters else target)
        if counters:
            after.append(TargetPlan(target.target, delete=counters, last=True))
    return [step for step in (*before, *after) if len(step)]
