"""The switch of the Open vSwitch benchmark, in a lab of its own, and what is sent to it by others than vipnet."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self
from uuid import UUID

from vipnet.backend import BackendContext
from vipnet.intents import EipMapping, Intent, VipBinding
from vipnet.lab import Lab
from vipnet.lab.switch import LabSwitch
from vipnet.plan import TargetPlan, diff
from vipnet.process import run
from vipnet.testing import Scene as Cloud
from vipnet.testing import standard_scene
from vipnet_ovs import OvsBackend
from vipnet_ovs.entries import Entry
from vipnet_ovs.flows import Flow
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.wire import messages
from vipnet_ovs.wire.connection import Connection
from vipnet_ovs.wire.messages import FlowCommand, flow_mod

__all__ = ["Scene", "SwitchHost", "filled", "is_bundle", "os_ken_messages", "ours", "replay", "resident", "text_of"]

_EIPS, _VIPS = 0x14000001, 0x0A000001
_TABLES: Final = ("uplink_arp", "public", "hairpin", "leave", "count_out", "arrived")
"""Tables that hold the flows of EIPs."""
_SOCKET: Final = "vipnet0.mgmt"
_CONFIG: Final = """
store = "{store}"
backend = "ovs"
[uplinks.pub]
device = "ext0"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[backends.ovs]
namespace = "{namespace}"
database = "{database}"
"""
_WALK: Final = 2000
_PORT: Final = 7777


class Scene:
    """A lab with a switch, and the standard scene of the promises programmed on it, without EIPs. A context manager.

    `servers`: with machines that answer; then red's EIP is mapped.
    """

    def __init__(self, *, servers: bool = False) -> None:
        self._lab = Lab(prefix="bench")
        try:
            self._make(servers=servers)
        except BaseException:
            self._lab.close()
            raise

    def _make(self, *, servers: bool) -> None:
        options = self._lab.options("ovs")
        self.cloud: Cloud = standard_scene(ipv6=False)
        if not servers:
            for eip in self.cloud.eips:
                self.cloud = self.cloud.without_eip(eip.ip)
        self._probe: Any = None
        if servers:
            from vipnet.testing.real import RealProbe

            self._probe = RealProbe(self._lab, self.cloud)
        self.switch = next(node for node in self._lab.nodes if isinstance(node, LabSwitch))
        self.socket = self.switch.rundir / _SOCKET
        self.backend = OvsBackend(BackendContext(options=options))
        self._vip = next(one for one in self.cloud.intents() if isinstance(one, VipBinding))
        self._uplink = next(one for one in standard_scene().intents() if isinstance(one, EipMapping)).uplink
        self.base = self.backend.compile(self.cloud.intents())
        self.carry_out(self.steps({}, self.base))
        if servers:
            self._serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.backend.close()
        if self._probe is not None:
            self._server.close()
            self._probe.__exit__(None, None, None)
        self._lab.close()

    eip, vip = "203.0.113.100", "192.168.7.246"
    """Those of red, with servers."""

    @property
    def outside(self) -> str:
        """The namespace of a client beyond the uplink."""
        return str(self._probe.node("outside").netns)

    @property
    def server(self) -> str:
        """That of the VIP's holder."""
        return str(self._probe.node("a").netns)

    @property
    def pid(self) -> int:
        """The process of ovs-vswitchd."""
        return self.switch.pids("ovs-vswitchd")[0]

    def mappings(self, count: int, *, first: int = 0) -> list[Intent]:
        """So many EIPs of VPC red, each with a limit, but for the scale of meters: every tenth."""
        return [self.mapped(number) for number in range(first, first + count)]

    def mapped(self, number: int) -> EipMapping:
        """An EIP by number, to the VIP of that number."""
        return EipMapping(
            eip_id=str(UUID(int=number << 80 | 4 << 76 | 8 << 60)),
            vpc_id=self._vip.vpc_id,
            network_id=self._vip.network_id,
            eip=_EIPS + number,
            vip=_VIPS + number,
            bandwidth=10 if number % 10 == 0 else None,
            uplink=self._uplink,
        )

    def steps(self, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[TargetPlan[Entry]]:
        """What is to be done."""
        return list(self.backend.steps(diff(before, after)))

    def carry_out(self, steps: Iterable[TargetPlan[Entry]]) -> None:
        """Do it; nothing may be refused."""
        for step in steps:
            refused = self.backend.apply(step)
            assert not refused, refused

    def ofctl(self, *arguments: str, text: str | None = None) -> str:
        """Run ovs-ofctl on the bridge and return what it prints."""
        *options, verb = sorted(arguments, key=lambda one: not one.startswith("--"))
        words = ["ovs-ofctl", "-O", "OpenFlow15", *options, verb, f"unix:{self.socket}"]
        return run(words if text is None else [*words, "-"], stdin=text, timeout=600).stdout

    def listed(self, flows: Sequence[Flow]) -> str:
        """What ovs-ofctl lists of flows of one EIP, which are put in and taken out again."""
        self.backend.apply(TargetPlan("flows", create=tuple(flows)))
        where = f"cookie={flows[0].cookie:#x}/-1"
        lines = run(["ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", f"unix:{self.socket}", where]).stdout
        self.backend.apply(TargetPlan("flows", delete=tuple(flows)))
        return lines

    def empty(self) -> None:
        """Take all EIPs away."""
        tables = [NUMBERS[name] for name in _TABLES]
        with Connection(self.socket) as connection:
            connection.transact([flow_mod(FlowCommand.DELETE, table=table) for table in tables])
            connection.transact([messages.meter_mod(messages.MeterCommand.DELETE, 0xFFFFFFFF)])
        self.backend.forget()

    @contextmanager
    def recorded(self) -> Generator[list[bytes], None, None]:
        """Have a list of what the backend sends as bundles in a `with` block."""
        sent: list[bytes] = []
        connection = self.backend.connection()
        genuine = connection.send

        def send(*octets: bytes) -> None:
            sent.append(b"".join(octets))
            genuine(*octets)

        connection.send = send  # type: ignore[method-assign]
        try:
            yield sent
        finally:
            del connection.send

    def _serve(self) -> None:
        self._probe.hold("a", self.vip)
        holder = self._probe.node("a")
        self._server = holder.call(partial(_bound, self.vip))
        self._client = self._probe.node("outside")

    def walk(self, *, fresh: bool) -> float:
        """Seconds that a packet takes from outside to the holder, of many, each from a port of its own or all from one."""
        sockets = [self._client.call(partial(_bound, "")) for _ in range(_WALK if fresh else 1)]
        begun = time.perf_counter()
        for number in range(_WALK):
            one = sockets[number if fresh else 0]
            one.sendto(b"?", (self.eip, _PORT))
            self._server.recv(16)
        took = time.perf_counter() - begun
        for one in sockets:
            one.close()
        return took / _WALK


class SwitchHost:
    """A lab with a switch alone, for a Controller to program. A context manager."""

    def __init__(self) -> None:
        self._lab = Lab(prefix="bench")
        try:
            self._options = self._lab.options("ovs")
        except BaseException:
            self._lab.close()
            raise
        self.switch = next(node for node in self._lab.nodes if isinstance(node, LabSwitch))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lab.close()

    def configuration(self, folder: Path, *, store: str) -> Path:
        """A configuration file for a Controller at work here."""
        path = folder / "vipnet.toml"
        path.write_text(_CONFIG.format(store=store, **self._options))
        return path

    def wipe(self) -> None:
        """Lose all flows, as by a restart of the switch."""
        self.switch.kill_vswitchd()
        self.switch.start_vswitchd()

    def flows(self) -> int:
        """How many of ours the switch has."""
        words = ["ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "--no-stats", f"unix:{self.switch.rundir / _SOCKET}"]
        return ours(run(words, timeout=600).stdout)


def ours(dump: str) -> int:
    """How many flows of a dump are of objects: not those that say that an agent is alive, or who programmed last."""
    lines = (line for line in dump.splitlines() if "cookie=0x766e" in line)
    return sum("hard_timeout" not in line and f"table={NUMBERS['marker']}," not in line for line in lines)


def _bound(ip: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.settimeout(2)
    opened.bind((ip, _PORT if ip else 0))
    return opened


def filled(flows: Sequence[Flow]) -> list[bytes]:
    """Flow mods as vipnet encodes them."""
    add = partial(flow_mod, FlowCommand.ADD)
    return [
        add(table=one.table, priority=one.priority, match=one.match, instructions=one.instructions, cookie=one.cookie)
        for one in flows
    ]


def replay(path: Path, sent: bytes) -> None:
    """Send bytes again, from a plain socket, until the last bundle's commit is answered."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(path))
        stream.sendall(messages.hello())
        stream.setblocking(False)
        view, received, wanted = memoryview(sent), b"", _commits(sent)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and wanted > 0:
            with suppress(BlockingIOError):
                if view:
                    view = view[stream.send(view) :]
            with suppress(BlockingIOError):
                received += stream.recv(1 << 16)
                answers, received = _cut(received)
                wanted -= sum(1 for kind, body in answers if kind == messages.Kind.BUNDLE_CONTROL and body[4:6] == b"\0\5")


def is_bundle(sent: bytes) -> bool:
    """Whether bytes that were sent are a change, and not a question."""
    return _commits(sent) > 0


def _commits(sent: bytes) -> int:
    return sum(1 for kind, body in _cut(sent)[0] if kind == messages.Kind.BUNDLE_CONTROL and body[4:6] == b"\0\4")


def _cut(octets: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    found, at = list[tuple[int, bytes]](), 0
    while len(octets) - at >= 8:
        length = struct.unpack_from("!H", octets, at + 2)[0]
        if len(octets) - at < length:
            break
        found.append((octets[at + 1], octets[at + 8 : at + min(length, 24)]))
        at += length
    return found, octets[at:]


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def text_of(dump: str) -> str:
    """What `ovs-ofctl dump-flows --no-stats` prints, as `add-flows` reads it: EIPs alone, without their meters."""
    return "".join(_lines(dump))


def _lines(dump: str) -> Iterator[str]:
    wanted = {f"table={NUMBERS[name]}," for name in _TABLES}
    for line in map(str.strip, dump.splitlines()):
        if any(table in line for table in wanted) and "priority=100" in line:
            yield re.sub(r"meter:\d+,", "", line).replace(" actions=", ",actions=") + "\n"


def os_ken_messages(flows: Sequence[Flow]) -> float | None:
    """Seconds that os-ken takes to encode as many flow mods of such a kind; None: it is not installed."""
    try:
        ofproto: Any = import_module("os_ken.ofproto.ofproto_v1_5")
        parser: Any = import_module("os_ken.ofproto.ofproto_v1_5_parser")
    except ImportError:
        return None
    datapath, begun = SimpleNamespace(ofproto=ofproto, ofproto_parser=parser), time.perf_counter()
    for number, one in enumerate(flows):
        match = parser.OFPMatch(metadata=1, eth_type=0x0800, ipv4_dst=number)
        acts = [parser.OFPActionSetField(metadata=1), parser.NXActionResubmitTable(table_id=3)]
        inst = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, acts)]
        mod = parser.OFPFlowMod(datapath, cookie=one.cookie, table_id=one.table, priority=100, match=match, instructions=inst)
        mod.serialize()
    return time.perf_counter() - begun
