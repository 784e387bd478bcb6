"""What the README and the pages of docs show is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from snippets import blocks, run

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIPNET_STORE", f"sqlite:///{tmp_path}/s.db")
    assert sum(block.language == "python" for block in blocks(README)) == 1
    assert README.read_text(encoding="utf-8").count("\n$ vipnet ") > 12
    said = run(README)
    assert "nothing to do" in said
    assert "192.168.7.246" in said
