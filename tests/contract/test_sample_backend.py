"""The sample for authors of backends, as an author would run its tests: installed, and in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent.parent.parent / "docs/sample_backend"

pytestmark = pytest.mark.timeout(400)


def _installed(folder: Path) -> Path:
    """A copy of the sample with the metadata beside it that an installer would write."""
    sample = folder / "sample"
    shutil.copytree(SAMPLE, sample, ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((sample / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = sample / f"vipnet_sample-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = (line for group, points in groups for line in (f"[{group}]", *(f"{name} = {to}" for name, to in points.items())))
    (info / "entry_points.txt").write_text("".join(f"{line}\n" for line in lines))
    return sample


def _tested(sample: Path, *options: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--require-backend", "sample", *options]
    here = {**os.environ, "PYTHONPATH": str(sample)}
    done = subprocess.run(argv, cwd=sample, env=here, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_sample_keeps_the_contract(tmp_path: Path) -> None:
    status, said = _tested(_installed(tmp_path))
    assert status == 0, said
    assert "P1       kept (4)" in said
    assert "P18        exempt" in said
    assert "skipped" not in said


BREAKS: dict[str, tuple[str, str, str, str]] = {
    "a switch that guards no port": ("vipnet_sample/plane.py", " or packet.src not in port.ips", "", "p6_a_stranger_cannot_cl"),
    "a compiler that forgets a member": ("vipnet_sample/compiler.py", "_list(member.device", "_list(member.mac", "p1_outside"),
    "a driver that takes all for its own": ("vipnet_sample/driver.py", "*self._theirs(step.target), ", "", "p16_what"),
    "a driver that reads nothing": ("vipnet_sample/driver.py", "for table in TABLES", "for table in ()", "nothing_is_left"),
    "a promise that nobody asks about": ("tests/test_contract.py", '"P18": "it', '"P1": "it', "every_promise_is_asked"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_what_is_broken_is_red(tmp_path: Path, how: str) -> None:
    sample = _installed(tmp_path)
    file, old, new, red = BREAKS[how]
    _edit(sample / file, old, new)
    status, said = _tested(sample, "-k", f"TestSample and not ByVerbs and {red}")
    assert status == 1, said
    assert "1 failed" in said
