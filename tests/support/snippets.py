"""The code blocks of a Markdown page, run in their order as its reader would.

Python blocks share one namespace; what a `print` says in its comment is what it must print. Lines of a console that begin
with `$ vipnet` are commands. A block with a title is a file of that name.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vipnet.cli import main

__all__ = ["Block", "blocks", "run"]

_FENCE = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def run(page: Path) -> str:
    """Run a page in the working directory; return what its commands printed."""
    namespace: dict[str, object] = {}
    said = io.StringIO()
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            _run_python(block.text, namespace, page.name)
        else:
            with contextlib.redirect_stdout(said):
                _run_console(block.text)
    return said.getvalue()


def _run_python(code: str, namespace: dict[str, object], name: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), namespace)
    promised = list(_promised(code))
    assert printed.getvalue().splitlines() == promised, code


def _promised(code: str) -> Iterator[str]:
    for line in code.splitlines():
        before, mark, comment = line.rpartition("  # ")
        if "print(" in (before if mark else line):
            yield comment if mark else "nothing is said of what this prints"


def _run_console(session: str) -> None:
    for command in re.findall(r"^\$ vipnet ([^#>\n]*)", session, re.MULTILINE):
        assert main(shlex.split(command)) == 0, command
