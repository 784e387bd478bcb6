"""The programs: which variant, what is told of the lock, what is refused."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError, InputParameterError
from vipnet.intents import EipMapping, Intent, Uplink, UplinkSwitching, VpcRouting
from vipnet.lab import Lab, netns
from vipnet.plan import Plan, TargetPlan, diff
from vipnet.process import run
from vipnet.testing.network import clear
from vipnet_iptables import IptablesBackend, tools
from vipnet_iptables.entries import Count, Nat, NativeEntry, Skeleton
from vipnet_kernel.names import router_namespace

pytestmark = pytest.mark.root

UPLINK = Uplink(name="pub", index=0, device="ext0", address=(0xCB007102, 24), gateway=0xCB007101)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(prefix="iptdrv") as lab:
        netns.ip(lab.host, ["link add ext0 type veth peer name ext1"])
        yield lab


def backend(lab: Lab, **options: str) -> IptablesBackend:
    return IptablesBackend(BackendContext(options={"namespace": lab.host, **options}))


def router(vpc: str) -> list[Intent]:
    mac = f"02:00:00:{vpc[:2]}:{vpc[2:4]}:01"
    routing = VpcRouting(vpc_id=vpc, tag=1, mode="eip", mac=mac, uplinks=(UPLINK,))
    return [routing, UplinkSwitching(uplink=UPLINK, masquerade=False)]


def mapping(vpc: str, number: int, bandwidth: int | None = None) -> EipMapping:
    id = f"{number:012x}-0000-4000-8000-000000000000"
    eip, vip = 0xCB007110 + number, 0x0A000010 + number
    return EipMapping(eip_id=id, vpc_id=vpc, network_id="p", eip=eip, vip=vip, bandwidth=bandwidth, uplink=UPLINK)


def program(one: IptablesBackend, plan: Plan[NativeEntry]) -> None:
    for step in one.steps(plan):
        assert not one.apply(step)


def test_an_option_says_what_it_takes(lab: Lab) -> None:
    with pytest.raises(InputParameterError, match="variant of backend iptables is 'old'; it takes: legacy, nft"):
        backend(lab, variant="old")


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_the_variant_is_that_in_which_the_host_has_rules(lab: Lab, variant: str) -> None:
    run(["ip", "netns", "exec", lab.host, f"iptables-{variant}", "-A", "INPUT", "-s", "198.51.100.1", "-j", "DROP"])
    one = backend(lab)
    assert f"({variant})" in one.versions()["iptables"]
    one.close()


def test_a_mix_is_reported(lab: Lab) -> None:
    for variant in ("legacy", "nft"):
        run(["ip", "netns", "exec", lab.host, f"iptables-{variant}", "-A", "INPUT", "-s", "198.51.100.1", "-j", "DROP"])
    one = backend(lab)
    assert one.versions()["iptables"].endswith("(nft, and rules in the other variant, too)")
    one.close()


def test_a_lock_that_others_hold_is_waited_for_and_then_said(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    monkeypatch.setattr(tools, "_PATIENCE", 1)
    one, vpc = backend(lab, variant="legacy"), secrets.token_hex(6)
    try:
        program(one, diff({}, one.compile(router(vpc))))
        more = diff({}, one.compile([mapping(vpc, 0)]))
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(DataplaneError, match="lock of xtables is held by another program"):
                program(one, more)
        program(one, more)
        assert not diff(one.audit({}), one.compile([*router(vpc), mapping(vpc, 0)]))
    finally:
        clear(one)
        one.close()


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_what_is_refused_is_named_and_nothing_of_it_is_there(lab: Lab, variant: str) -> None:
    """Of a step whose first table is committed before the second one is refused, nothing is left."""
    one, vpc = backend(lab, variant=variant), secrets.token_hex(6)
    try:
        program(one, diff({}, one.compile([*router(vpc), mapping(vpc, 0)])))
        before = one.read()
        entries = one.compile([mapping(vpc, 1)])
        bad = Nat(router_namespace(vpc), 0xCB007111, 0x0A000011, 0, -5)  # no program takes such a rate
        counts = (entry for entry in entries.values() if isinstance(entry, Count))
        step: TargetPlan[NativeEntry] = TargetPlan(bad.target, create=(bad, *counts))
        refused = one.apply(step)
        assert refused
        assert one.read() == before
        program(one, diff(before, before | entries))
        assert not diff(one.read(), before | entries)
    finally:
        clear(one)
        one.close()


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_another_process_recognises_what_is_there_and_goes_on(lab: Lab, variant: str) -> None:
    one, vpc = backend(lab, variant=variant), secrets.token_hex(6)
    wanted = one.compile([*router(vpc), *(mapping(vpc, number, 30 if number % 2 else None) for number in range(40))])
    try:
        program(one, diff({}, wanted))
        stamp = (one.read(), one.stamp())[1]
        other = backend(lab, variant=variant)
        assert other.adopt(stamp)
        assert not diff(other.read(), wanted)
        less = {key: entry for key, entry in wanted.items() if not isinstance(entry, Nat | Count) or entry.eip % 3}
        program(other, diff(wanted, less))
        assert not diff(other.read(), less)
        assert one.changed()
        assert not diff(one.read(), less)
        other.close()
    finally:
        clear(one)
        one.close()


def test_fixed_rules_that_somebody_changed_are_put_back_among_others(lab: Lab) -> None:
    one, vpc = backend(lab, variant="nft"), secrets.token_hex(6)
    space = router_namespace(vpc)
    wanted = one.compile([*router(vpc), mapping(vpc, 0)])
    try:
        program(one, diff({}, wanted))
        twice = "-t mangle -A PREROUTING -j VIPNET-PRE"
        foreign = "-t nat -A VIPNET-POST -s 198.51.100.9 -j ACCEPT"
        for command in ("-t mangle -D VIPNET-FORWARD 1", "-t filter -P FORWARD ACCEPT", twice, foreign):
            run(["ip", "netns", "exec", space, "iptables-nft", *command.split()])
            assert one.changed()
            found = one.audit(wanted)
            assert found[f"rules {space}"] == Skeleton(space, None)
            program(one, diff(found, wanted))
            assert not diff(one.read(), wanted)
    finally:
        clear(one)
        one.close()
