"""What is in the kernel, as python-iptables reads it: another reader than the programs that wrote it, and than ours."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from vipnet.addresses import format_ip4
from vipnet.backend import BackendContext
from vipnet.intents import EipMapping, Intent, Uplink, UplinkSwitching, VpcRouting
from vipnet.lab import Lab, netns
from vipnet.plan import diff
from vipnet.process import run
from vipnet.testing.network import clear
from vipnet_iptables import IptablesBackend
from vipnet_kernel.names import router_namespace

pytestmark = pytest.mark.root

UPLINK = Uplink(name="pub", index=0, device="ext0", address=(0xCB000002, 16), gateway=0xCB000001)

READER = """
import json, iptc
found = {}
for name in ("nat", "mangle"):
    for chain in iptc.Table(name).chains:
        for rule in chain.rules:
            where = [rule.src, rule.dst, rule.target.name, sorted(rule.target.get_all_parameters().items())]
            found.setdefault(f"{name} {chain.name}", []).append(where)
print(json.dumps(found))
"""
"""In a process of its own: what it has read once of a namespace it takes for that of any other."""


class Rule(NamedTuple):
    """A rule as it is read: networks as address/netmask."""

    source: str
    destination: str
    target: str
    parameters: Sequence[Sequence[object]]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(prefix="iptchk") as lab:
        netns.ip(lab.host, ["link add ext0 type veth peer name ext1"])
        yield lab


def _mapping(vpc: str, number: int) -> EipMapping:
    id = f"{number:012x}-0000-4000-8000-000000000000"
    eip, vip, limit = 0xCB000010 + 7 * number, 0x0A000010 + number, 5 if number % 3 == 0 else None
    return EipMapping(eip_id=id, vpc_id=vpc, network_id="p", eip=eip, vip=vip, bandwidth=limit, uplink=UPLINK)


def _read(namespace: str) -> dict[str, list[Rule]]:
    said = run(["ip", "netns", "exec", namespace, sys.executable, "-W", "ignore", "-c", READER]).stdout
    return {chain: [Rule(*rule) for rule in rules] for chain, rules in json.loads(said).items()}


def _fits(network: str, ip: int) -> bool:
    address, mask = (sum(int(part) << 24 - 8 * at for at, part in enumerate(text.split("."))) for text in network.split("/"))
    return ip & mask == address


def _walked(chains: Mapping[str, Sequence[Rule]], table: str, chain: str, source: int, destination: int) -> list[Rule]:
    """The rules that fit, from a tree's root to its end, as a packet meets them."""
    rules = chains.get(f"{table} {chain}", ())
    fits = [rule for rule in rules if _fits(rule.source, source) and _fits(rule.destination, destination)]
    if fits and fits[0].target.startswith(chain[:11]):
        return _walked(chains, table, fits[0].target, source, destination)
    return fits


def test_another_reader_finds_each_mapping_and_no_other(lab: Lab) -> None:
    vpc = secrets.token_hex(6)
    one = IptablesBackend(BackendContext(options={"namespace": lab.host, "variant": "legacy"}))
    fixed: list[Intent] = [
        VpcRouting(vpc_id=vpc, tag=1, mode="eip", mac="02:00:00:00:00:01", uplinks=(UPLINK,)),
        UplinkSwitching(uplink=UPLINK, masquerade=False),
    ]
    try:
        first = one.compile([*fixed, *(_mapping(vpc, number) for number in range(300))])
        then = one.compile([*fixed, *(_mapping(vpc, number) for number in range(60, 320))])
        for plan in (diff({}, first), diff(first, then)):
            for step in one.steps(plan):
                assert not one.apply(step)
        chains = _read(router_namespace(vpc))
    finally:
        clear(one)
        one.close()
    for number in range(330):
        mapping = _mapping(vpc, number)
        into = _walked(chains, "nat", "VIPNET-DNAT", 0, mapping.eip)
        out = _walked(chains, "nat", "VIPNET-SNAT", mapping.vip, 0)
        judged = _walked(chains, "mangle", "VIPNET-RX0", 0, mapping.eip)
        if 60 <= number < 320:
            assert [rule.parameters for rule in into] == [[["to-destination", [format_ip4(mapping.vip)]]]]
            assert [rule.parameters for rule in out] == [[["to-source", [format_ip4(mapping.eip)]]]]
            limited = ["VIPNET-RL625000"] if mapping.bandwidth else []
            assert [rule.target for rule in judged] == [*limited, "RETURN", "DROP"]
        else:
            assert not into
            assert not out
            assert [rule.target for rule in judged] == ["DROP"]
