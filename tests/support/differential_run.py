"""What the files of the differential test share: they are two so that two processes can take them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

import pytest
from hypothesis import settings

from vipnet.registry import available_backends
from vipnet.testing.differential import Arena
from vipnet.testing.differential.run import run, unseen

__all__ = ["differing", "pytest_terminal_summary", "run_and_tell"]

PREFIX = os.environ.get("VIPNET_LAB_PREFIX", "differential")
_PROPERTY = "differential"


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.root) for name in ("iptables", "nftables", "ovs")])
def differing(request: pytest.FixtureRequest) -> str:
    """The name of each backend that is compared with the simulator."""
    name: str = request.param
    usable = {info.name: info for info in available_backends()}[name]
    required: list[str] = request.config.getoption("--require-backend") or []
    if not usable.usable and name not in required:
        pytest.skip(f"backend {name}: {usable.reason}")
    return name


def run_and_tell(backend: str, *, cases: int, shard: int, tell: Callable[[str, object], None]) -> None:
    """Run cases and see that they had everything in them; what they had is printed at the end of the tests.

    Cases are drawn anew each time, but in CI; VIPNET_SEED draws those of a run again.
    """
    given = os.environ.get("VIPNET_SEED")
    seed = int(given) if given else shard if settings().derandomize else secrets.randbelow(2**32)
    with Arena(backend, prefix=PREFIX) as arena:
        try:
            tally = run(arena, count=cases, seed=seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    tell(_PROPERTY, f"{backend}, seed {seed}: {tally}")
    assert not unseen(tally), f"seed {seed}: {tally}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the differential runs were made of."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [value for report in reports if report.when == "call" for name, value in report.user_properties if name == _PROPERTY]
    if told:
        terminalreporter.section("differential test")
        for text in told:
            terminalreporter.write_line(str(text))
