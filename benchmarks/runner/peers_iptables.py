"""Contestants of iptables that add the very rules of an EIP that vipnet adds: `iptables-restore`, `iptables`, python-iptables."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any, Final
from unittest import mock

from runner.on_iptables import Change
from vipnet.process import run
from vipnet_kernel.namespaces import entered

__all__ = ["Calls", "Library", "RestoreLines"]

_CHANGES: Final = 3
_RULES: Final = 7
"""What one more EIP is, if others have its limit: DNAT, SNAT, its uplink, and a limit and a counter each way."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file for the restore program, in a table."""

    table: str
    words: tuple[str, ...]

    @property
    def chain(self) -> str:
        """Where its rule goes."""
        return self.words[1]

    @property
    def place(self) -> int | None:
        """Before which rule of its chain it goes, from 1; None: after all."""
        return int(self.words[2]) if self.words[0] == "-I" else None

    @property
    def rule(self) -> tuple[str, ...]:
        """What it says of packets, and what becomes of them."""
        return self.words[2 if self.place is None else 3 :]


class RestoreLines(Change):
    """`iptables-restore --noflush` with the lines that vipnet gave it for the same EIP; no compiling, no comparing."""

    def prepare(self) -> None:
        """Have vipnet add and remove each EIP that will be added, and keep what it told the restore program."""
        self.texts = [self._text_of(number) for number in range(self.scale, self.scale + _CHANGES)]
        self._before = {*self.scene.saved().splitlines()}

    def once(self) -> Sequence[float]:
        return [self._added(text) for text in self.texts]

    def work(self, text: str) -> Callable[[], object]:
        """Get ready to add rules, and return what does it."""
        return lambda: self.scene.restore(text, "--noflush")

    def _added(self, text: str) -> float:
        work, begun = self.work(text), time.perf_counter()
        work()
        took = time.perf_counter() - begun
        self._compare(text)
        self.scene.restore(_undone(text), "--noflush")
        return took

    def _compare(self, text: str) -> None:
        wanted = {(line.chain, *line.rule) for line in _lines(text)}
        new = "\n".join(line for line in self.scene.saved().splitlines() if line not in self._before)
        there = {(line.chain, *line.rule) for line in _lines(new)}
        assert len(wanted) == _RULES, text
        assert there == wanted, f"{there} instead of {wanted}"

    def _text_of(self, number: int) -> str:
        entries = self.scene.backend.compile(self.scene.mappings(number, number + 1))
        with _recorded() as sent:
            self.scene.carry_out(self.scene.steps({}, entries))
        self.scene.carry_out(self.scene.steps(entries, {}))
        return "".join(sent)


class Calls(RestoreLines):
    """`iptables` once for each of the rules."""

    def work(self, text: str) -> Callable[[], object]:
        program = f"iptables-{self.options['variant']}"
        calls = [[program, "-w", "-t", line.table, *line.words] for line in _lines(text)]
        return lambda: [self.scene.run(*words) for words in calls]


class Library(RestoreLines):
    """python-iptables (legacy alone): both tables read, the rules made and put in their places, one commit a table.

    A process of its own, as its tables are one for the whole process, of whatever namespace they saw last.
    """

    def prepare(self) -> None:
        super().prepare()
        self._iptc: Any = import_module("iptc")

    def work(self, text: str) -> Callable[[], object]:
        lines = list(_lines(text))
        return lambda: self._put(lines)

    def _put(self, lines: Sequence[Line]) -> None:
        with entered(self.scene.router):
            for name, some in groupby(lines, key=lambda line: line.table):
                table = self._iptc.Table(name, autocommit=False)
                table.refresh()
                for line in some:
                    self._add(self._iptc.Chain(table, line.chain), line)
                table.commit()
                table.refresh()  # a handle that has committed loses what it is told next

    def _add(self, chain: Any, line: Line) -> None:
        rule = self._rule(line.rule)
        if line.place is None:
            chain.append_rule(rule)
        else:
            chain.insert_rule(rule, line.place - 1)

    def _rule(self, words: Sequence[str]) -> Any:
        rule = self._iptc.Rule()
        part: Any = rule
        for option, value in zip(words[::2], words[1::2], strict=True):
            match option:
                case "-d":
                    rule.dst = value
                case "-s":
                    rule.src = value
                case "-m":
                    part = rule.create_match(value)
                case "-j":
                    part = rule.create_target(value)
                case _:
                    part.set_parameter(option.removeprefix("--"), value)
        return rule


@contextmanager
def _recorded() -> Generator[list[str]]:
    """Have a list of what the backend tells restore programs in a `with` block."""
    sent: list[str] = []

    def ran(argv: Sequence[str], *, stdin: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        if stdin is not None and "--noflush" in argv:
            sent.append(stdin)
        return run(argv, stdin=stdin, **options)

    with mock.patch("vipnet_iptables.tools.run", ran):
        yield sent


def _lines(text: str) -> Iterator[Line]:
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-"):
            yield Line(table, tuple(shlex.split(line)))


def _undone(text: str) -> str:
    """A file for the restore program that takes the rules out again."""
    parts = groupby(_lines(text), key=lambda line: line.table)
    deleted = ((table, [shlex.join(("-D", line.chain, *line.rule)) for line in some]) for table, some in parts)
    return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in deleted)
