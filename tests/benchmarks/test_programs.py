"""The programs of nftables and iptables, at a scale that takes seconds: they end, have figures, and leave nothing behind.

Together in one file, as each looks whether namespaces of a benchmark are left: those of another one, at the same time, would do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

_PROGRAMS = Path(__file__).parents[2] / "benchmarks"
_PROGRAM = _PROGRAMS / "bench_nftables.py"
_PARTS = ["cold", "more", "memory", "flows", "growth", "vpcs", "resync", "verbs", "release"]


def _spaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("bench-*")}


@pytest.mark.parametrize("part", _PARTS)
def test_a_part_has_figures(part: str, tmp_path: Path) -> None:
    before = _spaces()
    words = [sys.executable, str(_PROGRAM), "--scale", "100", "--repeats", "1", "--only", part, "--json", str(tmp_path / "lines")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert {row["part"] for row in rows} == {part}
    assert any("p50" in row or "value" in row for row in rows)
    assert f"## {part}" in done.stdout
    assert _spaces() == before


def test_nothing_is_left_behind_when_it_is_ended() -> None:
    before = _spaces()
    words = [sys.executable, str(_PROGRAM), "--scale", "100", "--only", "more", "--repeats", "100000"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None and len(_spaces() - before) < 3:
            time.sleep(0.01)
        running.terminate()
        assert running.wait(30) != 0
    assert _spaces() == before


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_every_part_of_iptables_has_figures(variant: str) -> None:
    before = _spaces()
    words = [sys.executable, str(_PROGRAMS / "bench_iptables.py"), "--scale", "40", "--repeats", "1", "--variant", variant]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {row["part"] for row in rows} == {"cold", "more", "resync", "flows"}
    ratios = [row["what"] for row in rows if row.get("goal")]
    assert len(ratios) == 3
    assert all(variant in row["what"] for row in rows)
    assert _spaces() == before
