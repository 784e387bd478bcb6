"""Generated keepalived.conf: what it says, that keepalived reads it, and that it moves the VIP."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vipnet.addresses import parse_ip4, parse_ip6
from vipnet.errors import InputParameterError, NotSupportedError
from vipnet.keepalived import MEMBERS_MAX, keepalived_config
from vipnet.lab import LabServer
from vipnet.lab.node import wait_for
from vipnet.process import run

Pair = tuple[LabServer, LabServer]

A, B, VIP = (parse_ip4(f"192.168.7.{last}", what="address") for last in (247, 248, 246))
CHECK = "/etc/keepalived/check_nginx.sh"


def config(
    position: int,
    *,
    addresses: tuple[int, ...] = (A, B),
    vrid: int | None = 66,
    advert_int: float = 1.0,
    check: str = CHECK,
    preempt: bool = True,
) -> str:
    return keepalived_config(
        router_id=f"server-{position}",
        position=position,
        addresses=addresses,
        vip=VIP,
        length=22,
        vrid=vrid,
        advert_int=advert_int,
        check=check,
        preempt=preempt,
    )


def numbers(text: str) -> tuple[int, int]:
    priority, weight = (re.findall(rf"^ *{word} (\d+)$", text, re.MULTILINE) for word in ("priority", "weight"))
    return int(priority[0]), int(weight[0])


@pytest.mark.parametrize("count", [1, 2, 3, 17, MEMBERS_MAX])
def test_a_good_check_stands_above_every_failed_one(count: int) -> None:
    pairs = [numbers(config(position, addresses=tuple(range(A, A + count)))) for position in range(count)]
    failed = [priority for priority, _ in pairs]
    good = [priority + weight for priority, weight in pairs]
    assert failed == sorted(set(failed), reverse=True)
    assert min(good) > max(failed)
    assert min(failed) >= 1
    assert max(good) <= 254


def test_refuses_more_members_than_there_are_priorities() -> None:
    with pytest.raises(NotSupportedError, match="128 members"):
        config(0, addresses=tuple(range(A, A + MEMBERS_MAX + 1)))


@pytest.mark.parametrize("interval", [0, -1, 0.001, 0.015, 40.96, 1000, float("nan"), float("inf")])
def test_refuses_intervals_that_version_3_cannot_say(interval: float) -> None:
    with pytest.raises(InputParameterError, match="interval"):
        config(0, advert_int=interval)


@pytest.mark.parametrize(
    "check", ["bin/check.sh", "", " ", "-x", '/true"', "/true\n}", "/a\\b", "/a $X", "/a!b", "/#", "/true ~SEQ(a,1,2)"]
)
def test_refuses_checks_that_keepalived_would_read_otherwise(check: str) -> None:
    with pytest.raises(InputParameterError, match="check"):
        config(0, check=check)


@pytest.mark.root
@pytest.mark.parametrize(
    "text",
    [
        config(0),
        config(1, vrid=None),
        config(0, vrid=None, addresses=(A,)),
        config(0, advert_int=0.15, preempt=False),
        config(0, check="pidof nginx"),
        config(0, check="/usr/bin/test -e http://127.0.0.1:80/a?x=1&y=%20_+,"),
        config(MEMBERS_MAX - 1, addresses=tuple(range(A, A + MEMBERS_MAX))),
        keepalived_config(
            router_id="größe.x_y-z",
            position=0,
            addresses=(A, B),
            vip=VIP,
            length=22,
            vrid=255,
            vip6=parse_ip6("fd00::5", what="address"),
            length6=64,
        ),
    ],
)
def test_keepalived_accepts_it(text: str, tmp_path: Path) -> None:
    script = tmp_path / "check.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    file = tmp_path / "keepalived.conf"
    file.write_text(text.replace(CHECK, str(script)))
    done = run(["keepalived", "-t", "-f", str(file)], check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def holder(pair: Pair) -> str:
    return "".join(server.name for server in pair if server.holds("192.168.7.246"))


def start(server: LabServer, make: Callable[[], str]) -> None:
    server.start_nginx(f"page of {server.name}\n")
    server.start_keepalived(make())


@pytest.mark.root
@pytest.mark.parametrize("vrid", [66, None])
def test_the_vip_moves_and_returns(pair: Pair, vrid: int | None) -> None:
    a, b = pair
    start(a, lambda: config(0, vrid=vrid, advert_int=0.2))
    start(b, lambda: config(1, vrid=vrid, advert_int=0.2))
    wait_for(lambda: holder(pair) == "a", "the first member to hold the VIP", timeout=10)
    shown = a.run("ip", "addr", "show", "dev", "eth0").stdout
    assert "inet 192.168.7.246/22 scope global secondary eth0" in shown

    a.stop_keepalived()
    wait_for(lambda: holder(pair) == "b", "the second member to take over", timeout=2)
    a.start_keepalived(config(0, vrid=vrid, advert_int=0.2))
    wait_for(lambda: holder(pair) == "a", "the first member to come back", timeout=5)


@pytest.mark.root
def test_the_check_brings_nginx_back_or_moves_the_vip(pair: Pair) -> None:
    a, b = pair
    start(a, lambda: config(0))
    start(b, lambda: config(1))
    wait_for(lambda: holder(pair) == "a", "the first member to hold the VIP", timeout=10)

    a.stop_nginx(signal.SIGKILL)
    wait_for(lambda: b.http_get("192.168.7.246") == "page of a\n", "the check to bring nginx back")
    a.write("etc/nginx/nginx.conf", "nonsense;\n")
    a.stop_nginx(signal.SIGKILL)
    wait_for(lambda: holder(pair) == "b", "the VIP to move", timeout=10)
    a.start_nginx("page of a\n")
    wait_for(lambda: holder(pair) == "a", "the VIP to return", timeout=10)
