"""The other half of the sample of `test_differential`, in a file of its own for a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from differential_run import run_and_tell


@pytest.mark.timeout(600)
def test_another_sample(differing: str, record_property: Callable[[str, object], None]) -> None:
    run_and_tell(differing, cases=50, shard=1, tell=record_property)
