"""What the README and the pages of docs show is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vipnet.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "203.0.113.100\n"


def test_the_example_of_a_pool(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "ipam.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (said,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/ipam.md", "exec"), {})
    assert capsys.readouterr().out == said


def test_the_command_line_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VIPNET_STORE", f"sqlite:///{tmp_path}/s.db")
    commands = re.findall(r"^\$ vipnet ([^#>\n]*)", README, re.MULTILINE)
    assert len(commands) > 12
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    said = capsys.readouterr().out
    assert "nothing to do" in said
    assert "192.168.7.246" in said
