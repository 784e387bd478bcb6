"""Trace: the way through the model, what it says of what is installed, and what it refuses."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import Shell
from walk import CONFIG, build, more_verbs, verbs

import vipnet as library
from vipnet.addresses import format_ip, parse_ip
from vipnet.backend import BackendContext, Usability
from vipnet.config import ClassicConfig, Config
from vipnet.controller import Controller
from vipnet.derive import all_scopes, derive
from vipnet.evidence import Finding, Need, Role
from vipnet.intents import EipMapping, PortSecurity, SubnetRouting, VipBinding
from vipnet.model import Eip, Nic, Server
from vipnet.packets import OUTSIDE, Delivered, IntentIndex, Packet, Protocol, Reason, Step
from vipnet.plan import TargetPlan
from vipnet.store import MemoryStore
from vipnet.testing import Faults, FaultyBackend, Scene, standard_scene
from vipnet.testing.controlled import build as build_scene
from vipnet.testing.controlled import scene_config
from vipnet.testing.strategies import scenes
from vipnet.trace import ModelIndex, explain
from vipnet.views import TraceReason
from vipnet_simulator import Installed, SimulatorBackend, SimulatorEntry, World

EIP, VIP, WORLD = "203.0.113.100", "192.168.7.246", "198.51.100.1"


def _ip(text: str) -> int:
    return parse_ip(text, what="address")[1]


# ----------------------------------------------------------------------------------------------------- the model


def _cloud(seed: int) -> Controller:
    """A simulator after a random walk."""
    chance, count = random.Random(seed), itertools.count().__next__
    cloud = Controller.open(replace(CONFIG, store="memory:", backend="simulator"))
    build(cloud)
    for _ in range(40):
        operation = chance.choice([*verbs(chance, count), *more_verbs(chance, count)])
        try:
            operation(cloud)
        except library.RefusedError:
            continue
    return cloud


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_the_model_is_asked_by_key_what_all_intents_would_say(seed: int) -> None:
    with _cloud(seed) as cloud:
        intents = derive(cloud.topology, CONFIG, all_scopes(cloud.topology)).values()
        some, every = ModelIndex(cloud.topology, CONFIG), IntentIndex(intents)
        for intent in intents:
            match intent:
                case PortSecurity():
                    ips = [*((4, ip) for ip in intent.ips), *((6, ip) for ip in intent.ip6s)]
                    places = [(intent.network_id, version, ip) for version, ip in ips]
                    assert some.port(intent.nic_id) == every.port(intent.nic_id)
                    assert [set(some.ports_at(one)) for one in places] == [set(every.ports_at(one)) for one in places]
                    assert set(some.ports_of(intent.network_id)) == set(every.ports_of(intent.network_id))
                case VipBinding():
                    assert some.vip((intent.network_id, 4, intent.ip)) == every.vip((intent.network_id, 4, intent.ip)) == intent
                    assert some.mapped(intent.vpc_id, intent.ip) == every.mapped(intent.vpc_id, intent.ip)
                case EipMapping():
                    assert some.eip(intent.eip) == every.eip(intent.eip) == intent
                case SubnetRouting():
                    assert set(some.gateways_of(intent.vpc_id)) == set(every.gateways_of(intent.vpc_id))
                    assert some.gateway(intent.network_id) == intent
                    assert some.segment(intent.network_id) == every.segment(intent.network_id)
                    assert some.router(intent.vpc_id) == every.router(intent.vpc_id)
                case _:
                    pass
        assert list(some.uplinks()) == list(every.uplinks())
        for ip in ("10.1.0.3", "10.7.0.3", "203.0.113.9"):
            assert (some.vpc_around(4, _ip(ip)) is None) == (every.vpc_around(4, _ip(ip)) is None)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_trace_says_what_the_simulator_does(seed: int) -> None:
    chance = random.Random(seed)
    with _cloud(seed) as cloud:
        world = World(cloud.backend.read().values()).presume_holders()
        nics = list(cloud.topology.all(Nic))
        addresses = [nic.ip for nic in nics] + [row.ip for row in cloud.topology.all(Eip)] + [_ip("10.1.0.14"), _ip(WORLD)]
        for _ in range(20):
            nic = chance.choice([*nics, None]) if nics else None
            dst, proto = chance.choice(addresses), chance.choice(["tcp", "icmp", "arp", "112"])
            _compare(cloud, world, nic, dst, proto)


def _compare(cloud: Controller, world: World, nic: Nic | None, dst: int, proto: str) -> None:
    from_ = "external" if nic is None else nic.server_id
    src = _ip(WORLD) if nic is None else nic.ip
    said = cloud.trace(from_=from_, src=format_ip(4, src), dst=format_ip(4, dst), proto=proto)
    known: Protocol = "vrrp" if proto == "112" else proto  # type: ignore[assignment]
    verdict = world.send(Packet(src=src, dst=dst, proto=known), from_=OUTSIDE if nic is None else nic.id)
    if isinstance(verdict, Delivered):
        names = {OUTSIDE: "external"} | {one.id: cloud.topology.at(Server, one.server_id).name for one in cloud.topology.all(Nic)}
        to = ", ".join(sorted(names.get(one, one) for one in verdict.to)) or None
        assert (said.verdict, said.to, said.reason) == ("delivered", to, None)
        assert (_ip(said.src), _ip(said.dst)) == (verdict.src, verdict.dst)
    else:
        assert (said.verdict, said.to, said.reason) == ("dropped", None, verdict.reason)
    assert [(step.stage, step.action.split(":")[0]) for step in said.steps][-1][0] == verdict.steps[-1].stage


@given(scene=scenes(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_scenes_are_explained_as_the_simulator_has_them(scene: Scene, data: st.DataObject) -> None:
    backend = SimulatorBackend(BackendContext())
    entries = backend.compile(scene.intents())
    for target in {entry.target for entry in entries.values()}:
        backend.apply(TargetPlan(target, create=tuple(entry for entry in entries.values() if entry.target == target)))
    servers = {server.nic_id: server.ip for server in scene.servers}
    from_ = data.draw(st.sampled_from([OUTSIDE, *servers]))
    targets = [*servers.values(), *(group.vip for group in scene.groups), *(eip.ip for eip in scene.eips), WORLD, scene.outside]
    own = [WORLD] if from_ == OUTSIDE else [servers[from_], *(group.vip for group in scene.groups)]
    packet = Packet(
        src=_ip(data.draw(st.sampled_from(own))),
        dst=_ip(data.draw(st.sampled_from(targets))),
        proto=data.draw(st.sampled_from(get_args(Protocol))),
    )
    expected = World(Installed(intent) for intent in scene.intents()).presume_holders().send(packet, from_=from_)
    found = explain(IntentIndex(scene.intents()), packet, from_, backend)
    assert found.verdict == expected
    assert not found.stopped
    assert found.to == (expected.to if isinstance(expected, Delivered) else ())


# ----------------------------------------------------------------------------------------------------- what is installed


@pytest.fixture
def cloud() -> Any:
    scene = standard_scene()
    with Controller.open(scene_config(scene, name="simulator")) as one:
        build_scene(one, scene)
        yield one


def _remove(cloud: Controller, *, text: str) -> Any:
    """Take away the one entry whose text has some words in it."""
    (entry,) = [entry for entry in cloud.backend.read().values() if text in entry.text]
    assert cloud.backend.apply(TargetPlan(entry.target, delete=(entry,))) == {}
    return entry


def test_the_way_from_outside_to_an_eip(cloud: Controller) -> None:
    way = cloud.trace(from_="external", dst=EIP, dport=80)
    assert (way.verdict, way.to, way.src, way.dst, way.reason) == ("delivered", "a", WORLD, VIP, None)
    assert [step.stage for step in way.steps] == ["uplink", "dnat", "router", "holder", "deliver"]
    assert {one.state for step in way.steps for one in step.evidence} == {"installed", "presumed"}
    assert way.warnings == ()


@pytest.mark.parametrize(
    ("text", "question", "stage"),
    [
        ("EIP 203.0.113.100", {"from_": "external", "dst": EIP}, "uplink"),
        ("port tap-a is", {"from_": "external", "dst": EIP}, "deliver"),
        ("port tap-c is", {"from_": "c", "dst": "192.168.7.248"}, "port-security"),
        ("gateway 192.168.8.1/24", {"from_": "c", "dst": "192.168.8.10"}, "router"),
        ("EIP 203.0.113.102", {"from_": "p", "src": VIP, "dst": "8.8.8.8"}, "snat"),
        ("uplink pub", {"from_": "c", "dst": "8.8.8.8"}, "masquerade"),
    ],
)
def test_what_is_missing_is_the_cause(cloud: Controller, text: str, question: dict[str, Any], stage: str) -> None:
    assert cloud.trace(**question).verdict == "delivered"
    entry = _remove(cloud, text=text)
    way = cloud.trace(**question)
    assert (way.verdict, way.to, way.reason) == ("dropped", None, "not-installed")
    assert way.steps[-1].stage == stage
    assert "is missing; vipnet apply puts it right" in way.steps[-1].action
    assert [one.entry for one in way.steps[-1].evidence if one.state == "missing"] == [entry.text]
    cloud.apply(audit=True)
    assert cloud.trace(**question).verdict == "delivered"


def test_what_is_different_is_the_cause(cloud: Controller) -> None:
    (entry,) = [entry for entry in cloud.backend.read().values() if "EIP 203.0.113.100" in entry.text]
    other = Installed(replace(entry.intent, vip=_ip("192.168.7.240")))
    cloud.backend.apply(TargetPlan(entry.target, replace=((entry, other),)))
    way = cloud.trace(from_="external", dst=EIP)
    assert way.reason == "not-installed"
    assert f"is not so, there is {other.text}; vipnet apply" in way.steps[-1].action


def test_what_is_beside_the_way_does_not_matter(cloud: Controller) -> None:
    _remove(cloud, text="EIP 203.0.113.101")
    _remove(cloud, text="port tap-b is")
    assert cloud.trace(from_="external", dst=EIP).verdict == "delivered"


def test_vrrp_reaches_those_whose_port_is_there() -> None:
    scene = standard_scene().with_members("red", "a", "b", "c")
    with Controller.open(scene_config(scene, name="simulator")) as cloud:
        build_scene(cloud, scene)
        assert cloud.trace(from_="a", proto="112").to == "b, c"
        _remove(cloud, text="port tap-b is")
        way = cloud.trace(from_="a", proto="112")
        assert (way.verdict, way.to) == ("delivered", "c")
        assert [step.action.startswith("dropped: not-installed") for step in way.steps] == [False, False, False, True]
        _remove(cloud, text="port tap-c is")
        assert cloud.trace(from_="a", proto="112").reason == "not-installed"


def test_a_pending_revision_is_named() -> None:
    faults = Faults()
    scene = standard_scene()
    backend = FaultyBackend(SimulatorBackend(BackendContext()), faults)
    with Controller(config=scene_config(scene, name="simulator"), store=MemoryStore(), backend=backend) as cloud:
        build_scene(cloud, scene)
        faults.fail_next()
        with pytest.raises(library.DataplaneError):
            cloud.servers.create("late", nets=["red-web:192.168.7.66"])
        way = cloud.trace(from_="late", dst="192.168.7.248")
        assert way.reason == "not-installed"
        assert f"revision {cloud.status().revision} is pending, vipnet apply finishes it" in way.steps[-1].action
        cloud.apply()
        assert cloud.trace(from_="late", dst="192.168.7.248").verdict == "delivered"


def test_without_evidence_the_model_answers(cloud: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = cloud.trace(from_="external", dst=EIP)
    monkeypatch.setattr(cloud.backend, "usability", lambda: Usability(False, "run it as root"))
    way = cloud.trace(from_="external", dst=EIP)
    assert [(step.stage, step.action) for step in way.steps] == [(step.stage, step.action) for step in expected.steps]
    assert {one.state for step in way.steps for one in step.evidence} == {"presumed"}
    assert way.warnings == (
        "there is no evidence, this is what the model says: backend simulator cannot be used here: run it as root",
    )


class _Guarding(SimulatorBackend):
    """A backend whose rules check what an element switches on, as the roles of entries say."""

    roles: dict[str, Role]
    states: dict[str, Finding]

    def passage(self, packet: Packet, step: Step) -> list[Need[SimulatorEntry]]:
        del packet
        role = self.roles.get(step.stage)
        return [] if role is None else [Need(Installed(step.intents[0]), role)]

    def evidence(self, entries: Any) -> dict[str, Finding]:
        return {entry.key: self.states.get(entry.key.partition(":")[0], Finding("installed")) for entry in entries}


def _guarded(roles: dict[str, Role], states: dict[str, Finding], packet: Packet, from_: str) -> Any:
    backend = _Guarding(BackendContext())
    backend.roles, backend.states = roles, states
    return explain(IntentIndex(standard_scene().intents()), packet, from_, backend)


def test_where_the_guard_is_gone_nothing_is_checked() -> None:
    spoof = Packet(src=_ip(VIP), dst=_ip("192.168.7.248"), proto="udp")
    nic = standard_scene().server("c").nic_id
    held = _guarded({"port-security": "guards"}, {}, spoof, nic)
    assert held.verdict.reason == "port-security"
    let = _guarded({"port-security": "guards"}, {"port": Finding("missing")}, spoof, nic)
    assert (let.to, let.stopped) == ((standard_scene().server("b").nic_id,), False)
    assert let.steps[0].cause is not None


def test_what_leads_leads_elsewhere() -> None:
    packet, nic = Packet(src=_ip(VIP), dst=_ip(WORLD), proto="udp"), standard_scene().server("a").nic_id
    out = _guarded({"snat": "leads"}, {"eip": Finding("missing")}, packet, nic)
    assert (out.to, out.verdict.src) == ((OUTSIDE,), _ip("203.0.113.2"))
    none = _guarded({"snat": "leads"}, {"eip": Finding("missing")}, packet, standard_scene().server("p").nic_id)
    assert none.verdict.reason == "private-source"


def test_reasons_are_one_closed_set() -> None:
    assert {*get_args(Reason), "not-installed"} == {word for part in get_args(TraceReason) for word in get_args(part)}


# ----------------------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("question", "kind", "words"),
    [
        ({"from_": "nobody", "dst": EIP}, library.ResourceNotFoundError, "server 'nobody' not found"),
        ({"from_": "a", "dst": "10.0.0.012"}, library.InputParameterError, "dst '10.0.0.012' is no IPv4 address"),
        ({"from_": "a", "dst": EIP, "src": "1.2.3"}, library.InputParameterError, "src '1.2.3' is no IPv4 address"),
        ({"from_": "a", "dst": "fe80::1%eth0"}, library.InputParameterError, "is no IPv6 address"),
        ({"from_": "q", "dst": "fd00::1"}, library.InputParameterError, "server q has no IPv6 address"),
        ({"from_": "a", "dst": "fd00::1", "src": VIP}, library.InputParameterError, "of different IP versions"),
        ({"from_": "a", "dst": EIP, "proto": "sctp"}, library.InputParameterError, "use one of tcp, udp, icmp, arp, 112"),
        ({"from_": "a", "dst": EIP, "proto": "icmp", "dport": 8}, library.InputParameterError, "dport 8 has no meaning for"),
        ({"from_": "a", "dst": EIP, "sport": 0}, library.InputParameterError, "sport 0 is out of bounds"),
        ({"from_": "a", "dst": EIP, "dport": 65536}, library.InputParameterError, "dport 65536 is out of bounds"),
        ({"from_": "a"}, library.MissingParameterError, "trace of tcp needs dst"),
    ],
)
def test_what_cannot_be_asked(cloud: Controller, question: dict[str, Any], kind: type[library.VipnetError], words: str) -> None:
    with pytest.raises(kind, match=words):
        cloud.trace(**question)


def test_a_server_sends_by_the_nic_that_fits(cloud: Controller) -> None:
    cloud.servers.create("two", nets=["red-web:192.168.7.70", "red-db:192.168.8.70"])
    assert cloud.trace(from_="two", dst="192.168.8.10").src == "192.168.8.70"
    assert cloud.trace(from_="two", dst="192.168.7.10").src == "192.168.7.70"
    assert cloud.trace(from_="two", dst="8.8.8.8", src="192.168.8.70").verdict == "delivered"


def test_ipv6_inside_a_vpc(cloud: Controller) -> None:
    cloud.vpcs.create("six", "10.0.0.0/8", cidr6="fd00::/16")
    cloud.networks.create("six-a", "10.1.0.0/24", vpc="six", prefix6="fd00:1::/64")
    for name in ("s1", "s2"):
        cloud.servers.create(name, nets=["six-a"])
    nic = cloud.servers.show("s2").nics[0]
    assert nic.ip6_addr is not None
    assert cloud.trace(from_="s1", dst=nic.ip6_addr).to == "s2"
    assert cloud.trace(from_="external", dst=nic.ip6_addr).reason == "closed"


def test_from_outside_into_a_classic_network_it_comes_by_the_leg() -> None:
    config = Config(store="memory:", backend="simulator", classic={"office": ClassicConfig(name="office", device="eth2")})
    with Controller.open(config) as cloud:
        cloud.networks.create("office", "10.9.0.0/24", gateway="10.9.0.1")
        cloud.servers.create("desk", nets=["office:10.9.0.7"])
        way = cloud.trace(from_="external", dst="10.9.0.7", src="10.9.0.50")
        assert (way.verdict, way.to, way.steps[0].stage) == ("delivered", "desk", "leg")
        assert cloud.trace(from_="external", dst="10.9.0.7", src="10.9.0.7").reason == "port-security"


def test_the_command_line(worked_example: Shell) -> None:
    vipnet = worked_example
    way = vipnet.json("trace", "--from", "external", "--dst", "172.30.0.2", "--dport", "80")
    assert list(way) == ["verdict", "to", "src", "dst", "reason", "steps", "warnings"]
    assert (way["verdict"], way["to"], way["reason"]) == ("delivered", "node1", None)
    assert [list(step) for step in way["steps"]] == [["stage", "action", "evidence"]] * len(way["steps"])
    assert list(way["steps"][0]["evidence"][0]) == ["target", "entry", "state", "detail"]
    said = vipnet("trace", "--from", "node1", "--dst", "8.8.8.8", "--src", "192.168.7.1")
    assert (said.code, said.out.splitlines()[0]) == (0, "dropped (port-security), 192.168.7.1 > 8.8.8.8")
    assert vipnet("trace", "--dst", "8.8.8.8").code == 2
    assert vipnet("-o", "json", "trace", "--from", "nobody", "--dst", "8.8.8.8").error["class"] == "ResourceNotFoundError"
    assert vipnet("trace", "--from", "node1", "--dst", "8.8.8.8", "--dport", "x").code == 1

