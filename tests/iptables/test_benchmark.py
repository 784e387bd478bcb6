"""The benchmark of iptables runs, and has a figure for each thing that it is to compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

PROGRAM = Path(__file__).parent.parent.parent / "benchmarks/bench_iptables.py"


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_every_part_has_figures(variant: str) -> None:
    command = [sys.executable, str(PROGRAM), "--scale", "40", "--repeats", "1", "--variant", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {row["part"] for row in rows} == {"cold", "more", "resync", "flows"}
    ratios = [row["what"] for row in rows if row.get("goal")]
    assert len(ratios) == 3
    assert all(variant in row["what"] for row in rows)
