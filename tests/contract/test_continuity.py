"""Nobody else notices, moves leak nothing, failover is quick: of every real system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from drifts import DRIFTS

from vipnet.registry import available_backends
from vipnet.testing.changes import Drift
from vipnet.testing.continuity import ContinuityPromises
from vipnet.testing.stage import Stage, opened_stage

PREFIX = os.environ.get("VIPNET_LAB_PREFIX", "continuity")


@pytest.fixture(scope="module", params=[pytest.param("nftables", marks=pytest.mark.root)])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    name: str = request.param
    usable = {info.name: info for info in available_backends()}[name]
    required: list[str] = request.config.getoption("--require-backend") or []
    if not usable.usable and name not in required:
        pytest.skip(f"backend {name}: {usable.reason}")
    with opened_stage(name, prefix=PREFIX, folder=tmp_path_factory.mktemp("continuity")) as opened:
        yield opened


@pytest.fixture
def drifts() -> Sequence[Drift]:
    return DRIFTS


class TestContinuity(ContinuityPromises):
    """See `stage` for the systems."""
