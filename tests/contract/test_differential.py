"""Every backend against the simulator: the same verbs, the same packets, whatever Hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from differential_run import run_and_tell


@pytest.mark.timeout(600)
def test_a_sample(differing: str, record_property: Callable[[str, object], None]) -> None:
    run_and_tell(differing, cases=50, shard=0, tell=record_property)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many(differing: str, record_property: Callable[[str, object], None]) -> None:
    run_and_tell(differing, cases=1000, shard=2, tell=record_property)
