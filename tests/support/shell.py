"""The command line in process, in a home of its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vipnet.cli import main

__all__ = ["Answer", "Shell", "at_home"]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


@dataclass(frozen=True, slots=True)
class Shell:
    folder: Path

    def __call__(self, *words: str) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(list(words))
        return Answer(code, out.getvalue(), err.getvalue())

    def json(self, *words: str) -> Any:
        answer = self("-o", "json", *words)
        assert (answer.code, answer.err) == (0, "")
        return answer.json

    def config(self, text: str) -> str:
        path = self.folder / "vipnet.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)


@contextmanager
def at_home(folder: Path) -> Generator[Shell, None, None]:
    """A shell whose home and working directory is a folder, and in whose environment nothing speaks to vipnet."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("VIPNET_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        yield Shell(folder)


@pytest.fixture
def vipnet(tmp_path: Path) -> Iterator[Shell]:
    """The command line, in a home of its own."""
    with at_home(tmp_path) as shell:
        yield shell


@pytest.fixture
def worked_example(vipnet: Shell) -> Shell:
    """A group with a VIP and an EIP in the default store."""
    for line in (
        "vpc-create prod 192.168.0.0/16",
        "network-create web 192.168.4.0/22 --vpc prod",
        "network-create pub 172.30.0.0/24 --server-type eip",
        "instancegroup-create nginx",
        "server-create node1 --net web:192.168.7.247 --group nginx",
        "instancegroup-attachnetwork nginx --ip-addr 192.168.7.246",
        "instancegroup-create-eip nginx --bandwidth 30",
    ):
        answer = vipnet(*line.split())
        assert answer.code == 0, answer.err
    return vipnet
