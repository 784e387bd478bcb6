"""The differential test can fail: what is wrong by hand is found, made small, and printed as a script that runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from differential_run import PREFIX

from vipnet.backend import Backend
from vipnet.intents import EipMapping, Intent, PortSecurity
from vipnet.plan import TargetPlan, diff
from vipnet.testing.differential import Announce, Arena, Ask, Case, Pair, Question, Together, Verb
from vipnet.testing.differential.run import explained
from vipnet.testing.differential.setting import MACS, PUBLIC, WORLD

EIP, VIP, OWN = "203.0.113.100", "10.1.0.20", "10.1.0.10"

Meddle = Callable[[Pair], None]


def _verb(path: str, *args: Any, **options: Any) -> Verb:
    return Verb(path, args, tuple(options.items()))


def _case() -> Case:
    """A group with an EIP, among much else, and many packets."""
    servers = [
        _verb("servers.create", f"s{n}", nets=[f"n1:10.1.0.{10 + n}"], devices=[f"tap{n}"], macs=[MACS[f"tap{n}"]])
        for n in range(4)
    ]
    return Case(
        "plain",
        (
            _verb("vpcs.create", "v1", "10.0.0.0/8"),
            _verb("networks.create", "n1", "10.1.0.0/24", vpc="v1"),
            _verb("networks.create", "pub", PUBLIC, server_type="eip", start_ip=EIP),
            Together(tuple(servers)),
            *(_verb("groups.create", name) for name in ("g1", "g2")),
            _verb("groups.bind_guests", "g1", ["s0", "s1"]),
            _verb("groups.bind_guests", "g2", ["s2"]),
            _verb("groups.attach_network", "g1", ip_addr=VIP),
            _verb("groups.attach_network", "g2", ip_addr="10.1.0.21"),
            _verb("groups.create_eip", "g1", bandwidth=5),
            _verb("groups.create_eip", "g2", bandwidth=5),
            Announce("tap0", VIP),
            Announce("tap2", "10.1.0.21", "reply"),
            Ask(tuple(_questions())),
        ),
    )


def _questions() -> list[Question]:
    asked = [
        Question(sender=sender, proto=proto, src=src, dst=dst)
        for sender, src in (("tap3", "10.1.0.13"), ("tap1", "10.1.0.11"))
        for proto in ("tcp", "udp", "icmp")
        for dst in (WORLD, "10.1.0.1", OWN, VIP, "10.1.0.99")
    ]
    asked.append(Question(sender="tap0", proto="vrrp", src=OWN, dst="224.0.0.18"))
    asked.append(Question(sender="outside", proto="tcp", src=WORLD, dst="203.0.113.150"))
    return [*asked, Question(sender="outside", proto="tcp", src=WORLD, dst=EIP)]


def _without(backend: Backend[Any], intents: list[Intent]) -> None:
    """Take what follows from intents out of a data plane, behind the back of its Controller."""
    plan = diff(backend.compile(intents), {})
    for step in backend.steps(plan):
        assert not backend.apply(step)


def _lose_an_eip(pair: Pair) -> None:
    """Let the backend's data plane forget the first mapping, right before packets are asked."""
    mappings = [one for one in pair.intents if isinstance(one, EipMapping)]
    if mappings:
        _without(pair.tested.backend, [min(mappings, key=lambda one: one.eip)])


def _mislead_the_oracle(pair: Pair) -> None:
    """Let the simulator forget that members hear each other's VRRP."""
    backend = pair.oracle.backend
    found = backend.read()
    changed = {key: entry for key, entry in found.items() if entry.key.startswith("port:")}
    intents = [one for one in pair.intents if isinstance(one, PortSecurity)]
    deaf = backend.compile([replace(one, vrrp_peers=()) for one in intents])
    backend.apply(TargetPlan("", replace=tuple((changed[key], deaf[key]) for key in deaf)))
    pair.refresh()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("meddle", "words", "most"),
    [
        (_lose_an_eip, ("groups.create_eip", f"dst='{EIP}'", "proto='tcp'"), 14),
        (_mislead_the_oracle, ("groups.bind_guests", "proto='vrrp'"), 9),
    ],
    ids=["an EIP lost", "the oracle misled"],
)
def test_what_is_wrong_is_found_and_printed(
    differing: str, meddle: Meddle, words: tuple[str, ...], most: int
) -> None:
    with Arena(differing, prefix=PREFIX) as arena:
        done, error = arena.outcome(_case(), meddle)
        assert error is not None
        text = explained(arena, done, error, meddle)
    code = text.partition("\n\n")[2]
    assert all(word in code for word in words)
    assert code.count("cloud.ask(") == 1
    assert len(re.findall(r"^ +(cloud|tx)\.", code, re.MULTILINE)) <= most, code
    # Nobody meddles with the script: it runs, and there is nothing to find.
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})


def test_the_same_case_is_right_by_itself(differing: str) -> None:
    with Arena(differing, prefix=PREFIX) as arena:
        assert arena.outcome(_case())[1] is None


def test_a_router_answers_a_link_local_address(differing: str) -> None:
    # The machines of the lab did not answer when the router asked for their link-local addresses.
    with Arena(differing, prefix=PREFIX) as arena, arena.case("islands") as cloud:
        with cloud.transaction() as tx:
            tx.vpcs.create("v1", "10.0.0.0/8", cidr6="fd00::/16")
            tx.networks.create("n1", "10.1.0.0/24", vpc="v1", prefix6="fd00:1::/64")
        cloud.servers.create("s1", nets=["n1:10.1.0.10"], devices=["tap0"], macs=[MACS["tap0"]])
        cloud.ask(Question(sender="tap0", proto="icmp", src="fe80::ff:fe00:10", dst="fd00:1::1"))


def test_nobody_hears_what_a_router_answers_to_a_vip_without_a_holder(differing: str) -> None:
    # The simulator says where a packet goes; that its answer finds nobody was not thought of.
    vips = (VIP, "10.1.0.1"), ("fd00:1::20", "fd00:1::1")
    with Arena(differing, prefix=PREFIX) as arena, arena.case("islands") as cloud:
        with cloud.transaction() as tx:
            tx.vpcs.create("v1", "10.0.0.0/8", cidr6="fd00::/16")
            tx.networks.create("n1", "10.1.0.0/24", vpc="v1", prefix6="fd00:1::/64")
            tx.servers.create("s1", nets=["n1:10.1.0.10"], devices=["tap0"], macs=[MACS["tap0"]])
            tx.groups.create("g1")
            tx.groups.bind_guests("g1", ["s1"])
            tx.groups.attach_network("g1", ip_addr=vips[0][0], ip6_addr=vips[1][0])
        questions = [Question(sender="tap0", proto="icmp", src=vip, dst=gateway) for vip, gateway in vips]
        cloud.ask(*questions)
        for vip, _ in vips:
            cloud.announce("tap0", vip)
        cloud.ask(*questions)


def test_a_router_answers_for_its_address_in_another_subnet_whoever_asks(differing: str) -> None:
    # The simulator took what comes from a link-local address for unroutable, though the router itself was meant.
    with Arena(differing, prefix=PREFIX) as arena, arena.case("plain") as cloud:
        with cloud.transaction() as tx:
            tx.vpcs.create("v", "10.0.0.0/8", cidr6="fd00::/16")
            tx.networks.create("n", "10.3.0.0/22", vpc="v", prefix6="fd00:3::/64")
            tx.networks.create("other", "10.2.0.0/24", vpc="v", prefix6="fd00:2::/64")
        cloud.servers.create("s", nets=["n:10.3.0.6,fd00:3::6"], macs=[MACS["tap4"]], devices=["tap4"])
        for dst in ("fd00:2::1", "fd00:2::2"):
            cloud.ask(Question(sender="tap4", proto="icmp", src="fe80::ff:fe00:14", dst=dst))
