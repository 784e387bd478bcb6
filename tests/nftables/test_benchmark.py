"""The benchmark, at a scale that takes seconds: it ends, has a figure of every part, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

_PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_nftables.py"
_PARTS = ["cold", "more", "memory", "flows", "growth", "start", "vpcs", "resync", "verbs", "release"]


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
