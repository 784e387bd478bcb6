"""Why an address cannot be had: every verdict, word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plane import DictBackend
from small import empty, fill

import vipnet
from vipnet.cli import main
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.store import MemoryStore, open_store
from vipnet.views import WhyView


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(clock: Clock) -> Controller:
    cloud = Controller(config=Config(), store=MemoryStore(), backend=DictBackend(), world=World(clock=clock))
    fill(cloud)
    cloud.networks.reserve_ip("n", "guests", ["10.1.0.21"], duration="1H")
    cloud.servers.create("gone", nets=["n:10.1.0.30"])
    cloud.servers.delete("gone")
    return cloud


def test_held(cloud: Controller) -> None:
    assert cloud.networks.why("n", "10.1.0.9") == WhyView(
        network="n",
        ip_addr="10.1.0.9",
        verdict="held",
        owner_type="servers",
        owner="a",
        until=None,
        reason="10.1.0.9 of network n is held by server a",
        nearby=("10.1.0.8", "10.1.0.7", "10.1.0.11"),
    )
    assert cloud.networks.why("n", "10.1.0.100").reason == "10.1.0.100 of network n is held by instancegroup g"
    assert cloud.networks.why("pub", "203.0.113.3").reason == "203.0.113.3 of network pub is held by eip e"


@pytest.mark.parametrize(
    ("network", "ip", "verdict", "owner", "until", "reason"),
    [
        ("n", "10.1.0.50", "free", None, None, "10.1.0.50 of network n is free"),
        (
            "n", "10.1.0.20", "reserved", None, None,
            "10.1.0.20 of network n is held by a reservation (printer) for ever; a VIP may take it with --reserved",
        ),
        (
            "n", "10.1.0.21", "reserved", None, "2001-09-09T02:46:40+00:00",
            (
                "10.1.0.21 of network n is held by a reservation (guests) until 2001-09-09T02:46:40+00:00; "
                "a VIP may take it with --reserved"
            ),
        ),
        (
            "n", "10.1.0.30", "resting", None, "2001-09-09T01:47:10+00:00",
            (
                "10.1.0.30 of network n was released by a server and rests until 2001-09-09T01:47:10+00:00: "
                "the automatic choice passes it over, asked for by name it can be had"
            ),
        ),
        (
            "n", "10.1.0.1", "outside", None, None,
            "10.1.0.1 is the gateway of network n, outside the range 10.1.0.2-10.1.0.253 of network n",
        ),
        ("n", "10.9.0.1", "outside", None, None, "10.9.0.1 is outside the range 10.1.0.2-10.1.0.253 of network n"),
        ("n", "2001:db8::1", "outside", None, None, "2001:db8::1 is in no range of network n, which has none for IPv6"),
    ],
)  # fmt: skip
def test_verdicts(
    cloud: Controller, network: str, ip: str, verdict: str, owner: str | None, until: str | None, reason: str
) -> None:
    said = cloud.networks.why(network, ip)
    assert (said.verdict, said.owner, said.until, said.reason) == (verdict, owner, until, reason)


def test_what_is_over_is_free(cloud: Controller, clock: Clock) -> None:
    clock.now += 86_400
    assert cloud.networks.why("n", "10.1.0.21").reason == (
        "10.1.0.21 of network n is free: its reservation ended at 2001-09-09T02:46:40+00:00"
    )
    said = cloud.networks.why("n", "10.1.0.30")
    assert said.reason == "10.1.0.30 of network n is free: its rest ended at 2001-09-09T01:47:10+00:00"
    assert (said.verdict, said.until, said.nearby) == ("free", None, ())


def test_leaving(tmp_path: Path) -> None:
    plane = DictBackend()
    cloud = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
    fill(cloud)
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.detach_network("k")
    cloud.close()
    again = empty(open_store(f"sqlite:///{tmp_path}/a.db"), plane)
    said = again.networks.why("n", "10.1.0.101")
    assert (said.verdict, said.owner) == ("leaving", "k")
    assert said.reason == (
        "10.1.0.101 of network n was released by instancegroup k, but the data plane has not been seen without it yet; "
        "vipnet apply finishes that"
    )
    again.close()


def test_what_is_near_when_all_around_is_taken() -> None:
    cloud = empty()
    cloud.vpcs.create("v", "10.0.0.0/8")
    cloud.networks.create("n", "10.1.0.0/24", vpc="v")
    cloud.networks.reserve_ip("n", "", [f"10.1.0.{last}" for last in range(60, 140)])
    assert cloud.networks.why("n", "10.1.0.90").nearby == ("10.1.0.2", "10.1.0.253")
    assert cloud.networks.why("n", "10.0.0.1").nearby == ("10.1.0.2", "10.1.0.3", "10.1.0.4")
    cloud.networks.reserve_ip("n", "", [f"10.1.0.{last}" for last in range(2, 254)])
    assert cloud.networks.why("n", "10.1.0.90").nearby == ()


@pytest.mark.parametrize("ip", ["10.1.0.009", "10.1.0.9/24", "", "x"])
def test_text_that_is_no_address(cloud: Controller, ip: str) -> None:
    with pytest.raises(vipnet.InputParameterError) as caught:
        cloud.networks.why("n", ip)
    assert caught.value.details == f"ip {ip!r} is no IPv4 address; write it like 192.168.7.246"


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["network-create", "n", "10.1.0.0/24"]) == 0
    capsys.readouterr()
    assert main(["-o", "json", "network-why-not", "n", "10.1.0.9"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "network": "n", "ip_addr": "10.1.0.9", "verdict": "free", "owner_type": None, "owner": None, "until": None,
        "reason": "10.1.0.9 of network n is free", "nearby": [], "warnings": [],
    }  # fmt: skip
