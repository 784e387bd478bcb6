"""Tests that measure milliseconds have the machine to themselves, though several processes run tests at once.

Each test holds a lock that all share, one that is to be alone has it exclusively. Who waits for it holds the gate, through
which everybody else has to pass first, so that it comes to its turn.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

ALONE = ("p15_",)
"""What the names of tests contain that are to be alone."""

_PATIENCE = 25.0
"""Seconds after which it begins beside others all the same: theirs may take minutes."""


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """Have the machine, alone or with others."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if base.name.startswith("popen-") else base  # what processes of one run have in common
    with _locked(folder / "machine", alone=any(word in request.node.name for word in ALONE)):
        yield


@contextmanager
def _locked(path: Path, *, alone: bool) -> Generator[None, None, None]:
    with path.with_suffix(".gate").open("w") as gate, path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if alone:
            _try_for_long(lock.fileno())
        else:
            fcntl.flock(lock, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def _try_for_long(lock: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return
