"""What trace says with something taken away behind our back is what a real packet does, and it names what is missing.

One row for each kind of entry that the standard scene compiles to.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from vipnet.controller import Controller
from vipnet.lab import Lab
from vipnet.testing import Frame, clear, standard_scene
from vipnet.testing.controlled import build, scene_config
from vipnet.testing.probe import OUTSIDE, VRRP_GROUP
from vipnet.testing.promises import EIP, EIP_GREEN, VIP, WORLD
from vipnet.testing.real import RealProbe
from vipnet.views import TraceView
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.names import far_end, router_namespace
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.route_entries import Route, Rule
from vipnet_nftables import NftablesBackend
from vipnet_nftables.entries import Count, Element, Guard, Nat, NativeEntry, Skeleton, Torn

pytestmark = pytest.mark.root

FAR = "198.51.100.9"  # beyond the gateway of the uplink
A, B, C, D = (standard_scene().server(name).ip for name in "abcd")
B6, C6, D6 = (str(standard_scene().server(name).ip6) for name in "bcd")
VIP6 = str(standard_scene().group("red").vip6)


@dataclass(frozen=True, slots=True)
class Way:
    """A packet: from whom, to where."""

    sender: str
    dst: str
    src: str | None = None
    proto: str = "udp"


IN, OUT, OUT_FAR = Way(OUTSIDE, EIP), Way("a", WORLD, VIP), Way("a", FAR, VIP)
BESIDE, ROUTED, HAIRPIN = Way("c", B), Way("c", D), Way("c", EIP)
SERVER_OUT, SERVER_FAR = Way("c", WORLD), Way("c", FAR)
BESIDE6, ROUTED6, TO_VIP6 = Way("c", B6), Way("c", D6), Way("d", VIP6)
SPOOF, VRRP, PING = Way("c", B, "192.168.7.99"), Way("a", VRRP_GROUP, None, "112"), Way("c", "192.168.4.1", None, "icmp")


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of entry (`kind` and words of its key), how it is harmed, and which packets then arrive."""

    kind: str
    words: tuple[str, ...]
    asked: list[tuple[Way, bool]]
    harm: str = "gone"

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(self.words)} {self.harm}".replace(" ", "-").replace('"', "")


def kind_of(entry: NativeEntry) -> str:
    """What entries are told apart by here: each kind needs a packet of its own."""
    match entry:
        case Element():
            return f"{entry.family} {entry.set}"
        case Guard():
            return "bridge vn_bridges"
        case Nat() | Count() | Torn():
            return f"eip {next(entry.parts()).set}"
        case Skeleton():
            return f"rules {entry.kind}"
        case Namespace():
            return f"namespace {_space(entry.name)}"
        case Bridge():
            return f"bridge {entry.name[:3]}"
        case Veth():
            return f"veth {_space(entry.namespace)} {entry.name[:3]}"
        case Up():
            return f"up {_space(entry.namespace)} {_stem(entry.device)}"
        case Address():
            kind = "6" if ":" in entry.address else ""
            return f"address{kind} {_space(entry.namespace)} {_stem(entry.device)}"
        case Route():
            return f"route {_space(entry.namespace)} {entry.table} {'default' if entry.destination == 'default' else 'network'}"
        case Rule():
            return f"rule {entry.pref}"
        case Sysctl():
            return f"sysctl {_space(entry.namespace)} {entry.name.replace(entry.device, 'leg') if entry.device else entry.name}"
        case Attachment():
            return "attachment uplink" if entry.device.startswith("uplink") else "attachment port"
        case Vlan():
            return "vlan"


def _stem(device: str) -> str:
    return "vt" if device.startswith("vt") else device[:3].removesuffix("0") if device.startswith("vnu") else device[:3]


def _space(namespace: str) -> str:
    return "host" if not namespace else "gateway" if namespace.startswith("vng-") else "router"


ROWS = [
    Row("bridge vn_ports", ("tap-c",), [(SPOOF, True), (BESIDE, True)]),
    Row("bridge vn_arp", ("tap-c", C), [(BESIDE, False), (Way("c", C, C, "arp"), False)]),
    Row("bridge vn_arp", ("tap-b", B), [(BESIDE, False)]),
    Row("bridge vn_arp", ("tap-a", VIP), [(IN, False)]),
    Row("bridge vn_ip", ("tap-c", C), [(BESIDE, False)]),
    Row("bridge vn_ip", ("tap-b", B), [(BESIDE, False)]),
    Row("bridge vn_ip", ("tap-a", VIP), [(IN, False)]),
    Row("bridge vn_ip", ("tap-a", A), [(IN, True)]),
    Row("bridge vn_ip6", ("tap-c", C6), [(BESIDE6, False), (BESIDE, True)]),
    Row("bridge vn_ip6", ("tap-b", B6), [(BESIDE6, False)]),
    Row("bridge vn_ip6", ("tap-a", VIP6), [(TO_VIP6, False)]),
    Row("bridge vn_targets", ("tap-b", "0248"), [(BESIDE6, False)]),
    Row("bridge vn_options", ("tap-c", "0x101"), [(BESIDE6, False)]),
    Row("bridge vn_options", ("tap-b", "0x201"), [(BESIDE6, False)]),
    Row("bridge vn_vrrp", ('"tap-a" . "tap-b"',), [(VRRP, False)]),
    Row("bridge vn_bridges", ("guard vnb", "red-web"), [(BESIDE, True)]),
    Row("bridge vn_outer", (), [(IN, True)]),
    Row("ip vn_eip_vip", (EIP,), [(IN, False), (HAIRPIN, False), (OUT, True)]),
    Row("ip vn_vip_eip", ("red",), [(OUT, False), (IN, True)]),
    Row("ip vn_vip_out", ("red",), [(OUT, True)]),
    Row("ip vn_vip_out", ("green",), [(Way("p", WORLD, VIP), False)]),
    Row("ip vn_came_by", ("red",), [(IN, False)]),
    Row("ip vn_eips", (EIP,), [(IN, False), (OUT, False)]),
    Row("arp vn_eips", (EIP,), [(IN, False), (OUT, True)]),
    Row("ip vn_rx_limit", (EIP,), [(IN, True)]),
    Row("ip vn_tx_limit", (EIP,), [(OUT, True)]),
    Row("ip vn_rx_count", (EIP,), [(IN, True)]),
    Row("ip vn_tx_count", (EIP,), [(OUT, True)]),
    Row("namespace router", ("red",), [(IN, False)]),
    Row("namespace gateway", (), [(SERVER_OUT, False)]),
    Row("bridge vnb", ("red-web",), [(BESIDE, False)]),
    Row("bridge vnu", (), [(IN, False)]),
    Row("veth router vns", ("red-web",), [(ROUTED, False)]),
    Row("veth router vns", ("red-web",), [(ROUTED, False)], "down"),
    Row("veth router up0", ("red uplink",), [(IN, False), (OUT, True), (Way("a", FAR, VIP), True)]),
    Row("veth router tr0", ("red",), [(SERVER_OUT, False)]),
    Row("veth gateway up0", (), [(SERVER_OUT, False)]),
    Row("up host vnb", ("red-web",), [(BESIDE, False)]),
    Row("up host vnu", (), [(IN, False)]),
    Row("up host vnr", ("red-web",), [(ROUTED, False)]),
    Row("up host vnl", ("red uplink",), [(IN, False)]),
    Row("up gateway vt", ("red",), [(SERVER_OUT, False)]),
    Row("address6 router vns", ("red-web", "fd00"), [(ROUTED6, False), (ROUTED, True)]),
    Row("address6 router vns", ("red-db", "fe80"), [(ROUTED6, False)]),
    Row("route router main network", ("red", "192.168.8"), [(ROUTED, False), (BESIDE, True)]),
    Row("sysctl router ipv6/conf/leg/disable_ipv6", ("red-db",), [(ROUTED6, False), (ROUTED, True)], "1"),
    Row("sysctl router ipv6/conf/all/forwarding", ("red",), [(ROUTED6, False), (ROUTED, True)], "0"),
    Row("sysctl router ipv6/conf/default/addr_gen_mode", ("red",), [(ROUTED6, True)], "0"),
    Row("sysctl router ipv6/conf/default/accept_dad", ("red",), [(ROUTED6, True)], "1"),
    Row("sysctl router ipv4/conf/all/promote_secondaries", ("red",), [(IN, True)], "0"),
    Row("sysctl gateway ipv6/conf/all/forwarding", (), [(SERVER_OUT, True)], "0"),
    Row("sysctl gateway ipv6/conf/default/addr_gen_mode", (), [(SERVER_OUT, True)], "0"),
    Row("sysctl gateway ipv6/conf/default/accept_dad", (), [(SERVER_OUT, True)], "1"),
    Row("sysctl gateway ipv4/conf/all/promote_secondaries", (), [(SERVER_OUT, True)], "0"),
    Row("address router vns", ("red-web",), [(ROUTED, False)]),
    Row("address router tr0", ("red",), [(SERVER_OUT, False)]),
    Row("address gateway vt", ("red",), [(SERVER_OUT, False)]),
    Row("address gateway up0", (), [(SERVER_OUT, False)]),
    Row("route router 90 default", ("red",), [(IN, False)]),
    Row("route router 100 network", ("red",), [(OUT, True)]),
    Row("route router 100 default", ("red",), [(OUT, True), (OUT_FAR, True)]),
    Row("route router main default", ("red",), [(SERVER_OUT, False)]),
    Row("route gateway main default", (), [(SERVER_FAR, False), (SERVER_OUT, True)]),
    Row("rule 90", ("red",), [(IN, False)]),
    Row("rule 91", ("red",), [(IN, False)]),
    Row("rule 100", ("red",), [(OUT, True)]),
    Row("rule 100", ("green",), [(Way("p", WORLD, VIP), False)]),
    Row("sysctl router ipv4/ip_forward", ("red",), [(ROUTED, False)], "0"),
    Row("sysctl gateway ipv4/ip_forward", (), [(SERVER_OUT, False)], "0"),
    Row("sysctl router ipv4/conf/all/rp_filter", ("red",), [(IN, False)], "1"),
    Row("sysctl router ipv4/conf/default/rp_filter", ("red",), [(IN, True)], "1"),
    Row("sysctl router ipv4/conf/all/src_valid_mark", ("red",), [(IN, True)], "0"),
    Row("sysctl router ipv4/fwmark_reflect", ("red",), [(IN, True)], "0"),
    Row("sysctl router ipv6/conf/all/disable_ipv6", ("red",), [(IN, True)], "0"),
    Row("sysctl router ipv6/conf/default/disable_ipv6", ("red",), [(IN, True)], "0"),
    Row("sysctl router ipv4/conf/leg/arp_ignore", ("red-web",), [(ROUTED, True), (IN, True)], "0"),
    Row("sysctl router ipv4/neigh/leg/locktime", ("red-web",), [(IN, True)], "100"),
    Row("sysctl gateway ipv4/conf/all/rp_filter", (), [(SERVER_OUT, True)], "1"),
    Row("sysctl gateway ipv4/conf/default/rp_filter", (), [(SERVER_OUT, True)], "1"),
    Row("sysctl gateway ipv4/conf/all/src_valid_mark", (), [(SERVER_OUT, True)], "0"),
    Row("sysctl gateway ipv4/fwmark_reflect", (), [(SERVER_OUT, True)], "0"),
    Row("sysctl gateway ipv6/conf/all/disable_ipv6", (), [(SERVER_OUT, True)], "0"),
    Row("sysctl gateway ipv6/conf/default/disable_ipv6", (), [(SERVER_OUT, True)], "0"),
    Row("rules router-eip-distgw", ("red",), [(IN, False), (ROUTED, True)]),
    Row("rules router-eip", ("green",), [(Way(OUTSIDE, EIP_GREEN), False), (Way("p", WORLD, VIP), False)]),
    Row("rules router-distgw", ("grey",), [(Way("q", WORLD), True)]),
    Row("rules router-none", ("black",), [(Way("r", "192.168.4.1", None, "icmp"), True)]),
    Row("rules gateway", (), [(SERVER_OUT, True)]),
    Row("attachment port", ("tap-c",), [(BESIDE, False)]),
    Row("attachment port", ("tap-b",), [(BESIDE, False)], "down"),
    Row("attachment port", ("tap-b",), [(BESIDE, False)], "absent"),
    Row("attachment uplink", (), [(IN, False)]),
    Row("attachment uplink", (), [(SERVER_OUT, False)], "down"),
]


@dataclass(frozen=True, slots=True)
class Traced:
    """The standard scene, programmed by verbs into a real host."""

    cloud: Controller
    probe: RealProbe
    host: str
    entries: tuple[NativeEntry, ...]

    @property
    def backend(self) -> NftablesBackend:
        assert isinstance(self.cloud.backend, NftablesBackend)
        return self.cloud.backend

    def pick(self, row: Row) -> NativeEntry:
        """The entry of a row: of its kind, with its words in the key; of VPCs and networks by name."""
        words = [self._native(word) for word in row.words]
        found = [one for one in self.entries if kind_of(one) == row.kind and all(word in one.key for word in words)]
        assert len(found) == 1, (row, [one.key for one in found])
        return found[0]

    def _native(self, word: str) -> str:
        for vpc in self.cloud.vpcs.list():
            if vpc.name == word:
                return vpc.id.replace("-", "")[:12]
            if f"{vpc.name} uplink" == word:
                return far_end(router_namespace(vpc.id), "up0")
        for network in self.cloud.networks.list():
            if network.name == word:
                return network.id.replace("-", "")[:12]
        return word

    def harm(self, entry: NativeEntry, harm: str) -> None:
        """Do it behind the back of vipnet."""
        if isinstance(entry, Namespace):  # open sockets keep a namespace alive: be like a process that has ended
            self.backend._handles.forget(entry.name)  # pyright: ignore[reportPrivateUsage]
        _harm(self.host, entry, harm)

    def mend(self, entry: NativeEntry, harm: str) -> None:
        """Let vipnet put it right; an interface comes back by whoever makes it."""
        if harm == "absent":
            assert isinstance(entry, Attachment)
            _run("ip", "-n", self.host, "link", "set", "elsewhere", "name", entry.device)
        self.cloud.apply(audit=True)

    def trace(self, way: Way) -> TraceView:
        from_ = "external" if way.sender == OUTSIDE else way.sender
        src = WORLD if way.sender == OUTSIDE else way.src
        return self.cloud.trace(from_=from_, src=src, dst=way.dst, proto=way.proto)

    def arrives(self, way: Way) -> set[str]:
        """Where a real packet arrives, as trace names it, of which no machine on its way knows a MAC yet."""
        self.probe.forget()
        for one in self.entries:
            if isinstance(one, Namespace):
                _run("ip", "-n", one.name, "neigh", "flush", "all", fails=True)
        return {"external" if name == OUTSIDE else name for name in self._heard(way)}

    def _heard(self, way: Way) -> frozenset[str]:
        own = standard_scene().server(way.sender).ip if way.sender != OUTSIDE else WORLD
        match way.proto:
            case "icmp":
                return frozenset({"router"} if self.probe.ping(way.sender, way.dst, src=way.src) else ())
            case "arp":
                return self.probe.arrives_raw(way.sender, Frame(proto="arp-request", src=way.src or own, dst=way.dst))
            case "112":
                return self.probe.arrives_raw(way.sender, Frame(proto="vrrp", src=own, dst=way.dst))
            case _ if way is SPOOF:
                return self.probe.arrives_raw("c", Frame(proto="udp", src=way.src or own, dst=way.dst, onto="b"))
            case _:
                return self.probe.arrives(way.sender, way.dst, src=way.src)


@pytest.fixture(scope="module")
def traced() -> Iterator[Traced]:
    scene = standard_scene()
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(prefix="trace"))
        probe = stack.enter_context(RealProbe(lab, scene))
        cloud = stack.enter_context(Controller.open(scene_config(scene, name="nftables", namespace=lab.host)))
        stack.callback(clear, cloud.backend)
        build(cloud, scene)
        cloud.eips.change_bandwidth(f"eip-{EIP}", 50)
        for server, group in (("a", "red"), ("e", "spare"), ("x", "blue"), ("p", "green")):
            one = scene.group(group)
            for vip in filter(None, (one.vip, one.vip6)):
                probe.hold(server, vip)
        assert isinstance(cloud.backend, NftablesBackend)
        there = cloud.backend.read().values()
        alone = [part for entry in there for part in (entry.parts() if isinstance(entry, Nat | Count) else [entry])]
        yield Traced(cloud, probe, lab.host, tuple(alone))


def _run(*words: str, fails: bool = False) -> None:
    subprocess.run(words, check=not fails, capture_output=fails)


def _harm(host: str, entry: NativeEntry, harm: str) -> None:
    """Take an entry away, or make it other than it should be, with the tools of an operator."""
    match entry:
        case Element() | Guard() | Nat() | Count() | Torn():
            for part in entry.parts():
                _run("ip", "netns", "exec", part.namespace or host, "nft", part.line("delete"))
        case Skeleton():
            _run("ip", "netns", "exec", entry.namespace, "nft", "delete table ip vipnet")
        case Namespace():
            _run("ip", "netns", "del", entry.name)
            _settle_links(host)
        case Bridge():
            _run("ip", "-n", host, "link", "del", entry.name)
        case Veth() if harm == "down":
            _run("ip", "-n", entry.namespace, "link", "set", entry.name, "down")
        case Veth():
            _run("ip", "-n", entry.namespace, "link", "del", entry.name)
        case Up():
            _run("ip", "-n", entry.namespace or host, "link", "set", entry.device, "down")
        case Address():
            _run("ip", "-n", entry.namespace, "address", "del", entry.address, "dev", entry.device)
        case Route():
            words = ["local", entry.destination] if entry.kind == "local" else [entry.destination]
            _run("ip", "-n", entry.namespace, "route", "del", *words, "table", entry.table)
        case Rule():
            _run("ip", "-n", entry.namespace, "rule", "del", "pref", str(entry.pref))
        case Sysctl():
            _run("ip", "netns", "exec", entry.namespace, "sysctl", "-q", "-w", f"net/{entry.name}={harm}")
        case Attachment() if harm == "down":
            _run("ip", "-n", host, "link", "set", entry.device, "down")
        case Attachment() if harm == "absent":
            _run("ip", "-n", host, "link", "set", entry.device, "down")
            _run("ip", "-n", host, "link", "set", entry.device, "nomaster")
            _run("ip", "-n", host, "link", "set", entry.device, "name", "elsewhere")
        case Attachment():
            _run("ip", "-n", host, "link", "set", entry.device, "nomaster")
        case Vlan():
            raise AssertionError("the standard scene has none")


def _settle_links(host: str) -> None:
    """Wait until the kernel has taken down what was in a namespace that was deleted: it does so later, by and by."""
    def links() -> str:
        return subprocess.run(["ip", "-n", host, "-o", "link"], check=True, capture_output=True, text=True).stdout

    end, seen = time.monotonic() + 10, links()
    while time.monotonic() < end:
        time.sleep(0.3)
        if links() == seen:
            return
        seen = links()


SAMPLE = random.Random(21).sample(ROWS, 24)
"""What is taken away in an ordinary run."""


def test_every_kind_has_a_row(traced: Traced) -> None:
    assert {kind_of(entry) for entry in traced.entries} == {row.kind for row in ROWS}


@pytest.mark.parametrize("row", SAMPLE, ids=str)
def test_what_is_harmed_is_named_and_believed(traced: Traced, row: Row) -> None:
    _check(traced, row)


@pytest.mark.long
@pytest.mark.parametrize("row", [row for row in ROWS if row not in SAMPLE], ids=str)
def test_all_that_is_harmed_is_named_and_believed(traced: Traced, row: Row) -> None:
    _check(traced, row)


def _check(traced: Traced, row: Row) -> None:
    entry = traced.pick(row)
    healthy = {way: _to(traced.trace(way)) for way, _ in row.asked}
    traced.harm(entry, row.harm)
    try:
        for way, arrives in row.asked:
            said, heard = traced.trace(way), traced.arrives(way)
            assert (said.verdict == "delivered") == arrives, said
            # what is stopped may be lost in another place, but not where it was sent
            assert heard == _to(said) if arrives else heard.isdisjoint(healthy[way]), (heard, said)
            if arrives != bool(healthy[way]):
                _is_named(entry, said)
    finally:
        traced.mend(entry, row.harm)
    for way, _ in row.asked:
        assert _to(traced.trace(way)) == traced.arrives(way) == healthy[way]


def _to(said: TraceView) -> set[str]:
    return set() if said.to is None else set(said.to.split(", "))


def _is_named(entry: NativeEntry, said: TraceView) -> None:
    assert said.reason in ("not-installed", "private-source", None), said
    assert any(entry.text in step.action and "apply" in step.action for step in said.steps), said
    found = [one for step in said.steps for one in step.evidence if one.entry == entry.text]
    assert found, said
    assert all(one.state in ("missing", "different", "absent") for one in found), said


WAYS = [
    *(IN, OUT, OUT_FAR, BESIDE, ROUTED, HAIRPIN, SERVER_OUT, SPOOF, VRRP, PING, BESIDE6, ROUTED6, TO_VIP6),
    *(Way(OUTSIDE, "203.0.113.150"), Way("p", WORLD), Way("r", WORLD), Way("c", VRRP_GROUP, None, "112"), Way(OUTSIDE, A)),
]


def test_the_words_are_those_of_the_simulator(traced: Traced) -> None:
    scene = standard_scene()
    with Controller.open(scene_config(scene, name="simulator")) as oracle:
        build(oracle, scene)
        oracle.eips.change_bandwidth(f"eip-{EIP}", 50)
        for way in WAYS:
            said, expected = traced.trace(way), Traced(oracle, traced.probe, "", ()).trace(way)
            assert _without_evidence(said) == _without_evidence(expected)
            assert _to(said) == traced.arrives(way)


def _without_evidence(said: TraceView) -> TraceView:
    return replace(said, steps=tuple(replace(step, evidence=()) for step in said.steps))


def _counted(said: TraceView) -> int:
    """The packets that came in, as the counter of the EIP has them."""
    found = [one for step in said.steps for one in step.evidence if f"vn_rx_count {{ {EIP} " in one.entry]
    assert [one.state for one in found] == ["installed"]
    return int(re.findall(r"counter packets (\d+)", found[0].detail)[0])


def test_evidence_counts_and_knows_the_holder(traced: Traced) -> None:
    assert traced.arrives(IN) == {"a"}
    steps = traced.trace(IN).steps
    found = {one.entry: one for step in steps for one in step.evidence}
    assert found[f"add element ip vipnet vn_eip_vip {{ {EIP} : {VIP} }}"].state == "installed"
    before = _counted(traced.trace(IN))
    assert traced.arrives(IN) == {"a"}
    assert _counted(traced.trace(IN)) == before + 1
    (holder,) = [step for step in steps if step.stage == "holder"]
    assert holder.evidence[0].state == "seen"
    assert standard_scene().server("a").name in holder.action
    traced.probe.hold("b", VIP)
    try:
        assert traced.trace(IN).to == "b"
        assert traced.arrives(IN) == {"b"}
    finally:
        traced.probe.hold("a", VIP)


def test_changed_rules_are_said(traced: Traced) -> None:
    _run("ip", "netns", "exec", traced.host, "nft", "add rule bridge vipnet vn_guest counter")
    said = traced.trace(BESIDE)
    assert said.verdict == "delivered"
    assert any("somebody changed rules of table bridge vipnet" in text for text in said.warnings)
    traced.cloud.apply(audit=True)
    assert traced.trace(BESIDE).warnings == ()
