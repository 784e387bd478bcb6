"""What is public, what importing it costs, what the wheel holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import vipnet

ROOT = Path(__file__).parent.parent


def test_all_is_exactly_what_is_public() -> None:
    source = ast.parse(Path(vipnet.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vipnet")]
    assert sorted(alias.name for node in imports for alias in node.names) == sorted(vipnet.__all__)
    assert all(getattr(vipnet, name).__name__ == name for name in vipnet.__all__)
    with pytest.raises(AttributeError, match="module 'vipnet' has no attribute 'nothing'"):
        vipnet.nothing  # noqa: B018


def test_importing_vipnet_is_light() -> None:
    code = "import sys, vipnet; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    libraries = {"sqlalchemy", "sqlite3", "pyroute2", "iptc", "ovs", "click", "rich"}
    heavy = libraries | {"vipnet_iptables", "vipnet_nftables", "vipnet_ovs", "vipnet_simulator"}
    assert not heavy & set(loaded)


def test_no_source_names_a_sibling_of_the_checkout() -> None:
    kinds = {".py", ".md", ".toml", ".sh", ".yaml"}
    made = {".venv", "build"}
    tracked = [path for path in ROOT.rglob("*") if path.suffix in kinds and not made & {*path.relative_to(ROOT).parts}]
    assert len(tracked) > 50
    outside = re.compile(r"\.\./(?!\.)\w+/|/work/")
    found = [str(path) for path in tracked if path != Path(__file__) and outside.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_the_wheel_holds_vipnet_and_its_backends_and_nothing_else(tmp_path: Path) -> None:
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    tops = {name for name in names if not name.endswith(".dist-info")}
    assert tops == {"vipnet", "vipnet_iptables", "vipnet_kernel", "vipnet_nftables", "vipnet_ovs", "vipnet_simulator"}
