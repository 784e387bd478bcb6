"""What a terminal is sent, and what a pipe: asked on a real pseudo-terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout

import pytest
from pseudoterminal import DUMB, FORCED, WELCOME, environment, on_a_terminal, terminal
from shell import Shell

ESCAPE = "\x1b["
DISSOCIATE = ("--dry-run", "instancegroup-dissociate-eip", "nginx")
MISSING = ("eip-show", "no")


def piped(vipnet: Shell, words: Sequence[str], values: Mapping[str, str]) -> tuple[str, str]:
    with environment(values):
        answer = vipnet(*words)
    return answer.out, answer.err


@pytest.mark.usefixtures("worked_example")
class TestColours:
    def test_on_a_terminal(self) -> None:
        assert ESCAPE + "1m" in on_a_terminal(["eip-list"], WELCOME)
        assert re.search(r"^\x1b\[31m  - [^\n\x1b]+\x1b\[0m$", on_a_terminal(DISSOCIATE, WELCOME), re.MULTILINE)
        assert on_a_terminal(MISSING, WELCOME).startswith("\x1b[31merror:\x1b[0m ")

    @pytest.mark.parametrize("values", [{"NO_COLOR": "1", **WELCOME}, DUMB, {**FORCED, "NO_COLOR": "1"}])
    def test_not_where_they_are_unwelcome(self, values: dict[str, str]) -> None:
        table, plan, error = (on_a_terminal(words, values) for words in (("eip-list",), DISSOCIATE, MISSING))
        assert "172.30.0.2" in table
        assert "\n  - " in plan
        assert error.startswith("error: ")
        assert ESCAPE not in table + plan + error

    def test_an_empty_no_color_says_nothing(self) -> None:
        assert ESCAPE in on_a_terminal(["eip-list"], {"NO_COLOR": "", **WELCOME})

    @pytest.mark.parametrize("words", [("eip-list",), ("eip-show", "eip-nginx"), DISSOCIATE, MISSING, ("--help",)])
    def test_never_in_a_pipe(self, vipnet: Shell, words: tuple[str, ...]) -> None:
        plain, forced = piped(vipnet, words, {}), piped(vipnet, words, FORCED)
        assert forced == plain
        assert ESCAPE not in "".join(plain)

    def test_never_in_json(self) -> None:
        sent = on_a_terminal(["-o", "json", "eip-list"], WELCOME)
        assert ESCAPE not in sent
        assert sent.count("\n") > 5
        assert len(json.loads(sent)) == 1

    def test_each_stream_for_itself(self, vipnet: Shell) -> None:
        with environment(WELCOME), terminal(120) as (stream, sent), redirect_stdout(stream):
            process = [sys.executable, "-m", "vipnet", *MISSING]
            done = subprocess.run(process, stdout=stream, stderr=subprocess.PIPE, text=True, check=False, cwd=vipnet.folder)
        assert (sent, done.returncode) == ([], 1)
        assert done.stderr.startswith("error: ")


@pytest.mark.usefixtures("worked_example")
class TestWidth:
    @pytest.mark.parametrize("columns", [40, 60, 80])
    @pytest.mark.parametrize("values", [WELCOME, DUMB], ids=["colours", "none"])
    def test_a_narrow_terminal_loses_nothing(self, columns: int, values: dict[str, str]) -> None:
        sent = on_a_terminal(["network-list"], values, columns)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", sent).splitlines()
        assert max(len(line) for line in lines) <= columns
        assert [line.split()[1] for line in lines if "prefix" in line] == ["172.30.0.0/24", "192.168.4.0/22"]

    def test_a_tiny_terminal_breaks_words_rather_than_losing_them(self) -> None:
        lines = on_a_terminal(["vpc-show", "prod"], DUMB, 16).splitlines()
        assert max(len(line) for line in lines) <= 16
        assert "192.168.0.0/16" in "".join("".join(line.split()[-1:]) for line in lines)

    def test_a_wide_one_shows_a_line_for_each(self) -> None:
        lines = on_a_terminal(["network-list"], DUMB, 200).splitlines()
        assert [line.split()[2] for line in lines if "/" in line] == ["172.30.0.0/24", "192.168.4.0/22"]

    def test_the_environment_wins(self) -> None:
        lines = on_a_terminal(["network-list"], {"COLUMNS": "60", **DUMB}, 200).splitlines()
        assert max(len(line) for line in lines) <= 60

    @pytest.mark.parametrize("said", ["0", "-1", "wide", "²"])
    def test_nonsense_in_the_environment_is_none(self, said: str) -> None:
        lines = on_a_terminal(["network-list"], {"COLUMNS": said, **DUMB}, 200)
        assert lines == on_a_terminal(["network-list"], DUMB, 200)

    def test_a_terminal_that_says_nothing(self) -> None:
        assert on_a_terminal(["network-list"], DUMB, 0) == on_a_terminal(["network-list"], DUMB, 80)

    def test_a_pipe_has_no_width(self, vipnet: Shell) -> None:
        out, _ = piped(vipnet, ["network-list"], {"COLUMNS": "20"})
        assert len(out.splitlines()) == 3

    @pytest.mark.parametrize("columns", ["1", "30", "200"])
    def test_help_is_said_on_any(self, columns: str) -> None:
        said = on_a_terminal(["server-create", "--help"], {"COLUMNS": columns, **DUMB})
        assert "--net" in said
        assert "NICs" in said
