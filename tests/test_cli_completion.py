"""Completion, asked as the shells ask."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from shell import Shell

from vipnet.cli.completion import SHELLS

BIN = Path(sys.executable).parent
ASK = """
eval "$(vipnet completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ printf 'compopt %s %s\\n' "$1" "$2"; }}  # may be called by bash itself alone
_vipnet_completion vipnet
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p vipnet
"""


def environment() -> Mapping[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def bash(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    program = ASK.format(words=shlex.join(["vipnet", *words]))
    command = ["bash", "--norc", "-euc", program]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *offered, registered = done.stdout.splitlines()
    assert registered == "complete -o nosort -F _vipnet_completion vipnet"
    return [word for word in offered if word]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["vpc-"], ["vpc-create", "vpc-list", "vpc-show", "vpc-delete"]),
        (["--d"], ["--dry-run"]),
        (["-o", ""], ["table", "json"]),
        (["--dry-run", "host-c"], ["host-create"]),
        (["--version", "host-c"], ["host-create"]),
        (["vpc-create", "prod", "10.0.0.0/8", "--e"], ["--external-access-mode"]),
        (["vpc-create", "-o", "json", "--e"], ["--external-access-mode"]),
        (["eip-list", "-o", "j"], ["json"]),
        (["instancegroup-attachnetwork", "nginx", "--alloc-dir", "st"], ["stepdown", "stepup"]),
        (["server-create", "a", "--net", "web", "--ne"], ["--net"]),
        (["vpc-show", ""], []),
        (["completion", ""], list(SHELLS)),
        (["--config", "vip"], ["compopt -o default"]),
        (["import", ""], ["compopt -o default"]),
    ],
)
def test_in_bash(words: list[str], offered: list[str]) -> None:
    assert bash(*words) == offered


def test_nothing_is_done_meanwhile(vipnet: Shell) -> None:
    assert bash("vpc-create", "prod", "10.0.0.0/8", "") == []
    assert list(vipnet.folder.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one(vipnet: Shell, shell: str) -> None:
    script = vipnet("completion", shell).out
    assert f"_VIPNET_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed, to read its script")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_a_shell_that_is_none(vipnet: Shell) -> None:
    answer = vipnet("-o", "json", "completion", "tcsh")
    assert (answer.code, answer.error["class"]) == (1, "InputParameterError")
    assert answer.error["details"] == "shell 'tcsh' is not known; use one of bash, zsh, fish"


def test_only_the_console_script_answers(vipnet: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_VIPNET_COMPLETE", "bash_complete")
    assert vipnet("host-list").out == "name  zone\n"
