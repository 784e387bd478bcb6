"""Contestants of iptables, in either variant (option `variant`): vipnet, the restore programs, `iptables -A`, python-iptables."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Final, Self

from bench_iptables import IptablesScene

from runner.changes import Changing, Churning, Drifting, timed, what_of
from runner.scenes import InScene
from runner.worker import Worker
from vipnet.addresses import format_ip4
from vipnet.intents import EipMapping
from vipnet_kernel.namespaces import entered

__all__ = ["Append", "Audit", "Change", "Churn", "Drifted", "Program", "PythonIptables", "Restore", "RestoreLine"]

_CHANGES: Final = 5
_RULES_EACH: Final = 7
"""What one mapped EIP with a limit is: DNAT, SNAT, its uplink, and a limit and a counter each way."""


class _InScene(InScene[IptablesScene]):
    """Has a host with a VPC; `filled`: with its EIPs."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.scene = stack.enter_context(IptablesScene(self.options["variant"]))
            self.bare = self.scene.saved()
            if self.filled:
                self.program()
                self.scene.reopen()
                self.scene.backend.read()
            self.prepare()
            self._stack = stack.pop_all()
        return self

    def prepare(self) -> None:
        """Get ready in the scene."""

    def program(self) -> None:
        """Have vipnet program all EIPs."""
        self.scene.program(self.scene.backend.compile(self.scene.mappings(0, self.scale)))

    def check(self) -> str:
        found = sum(line.startswith("-A") for line in self.scene.saved().splitlines())
        assert found >= _RULES_EACH * self.expected, f"{found} rules for {self.expected} EIPs"
        return f"{found} rules"


class Program(Worker):
    """vipnet: from intents to the end of the restore program, into a router without EIPs; each round a new one."""

    found = 0

    def once(self) -> Sequence[float]:
        with IptablesScene(self.options["variant"]) as scene:
            mappings, begun = scene.mappings(0, self.scale), time.perf_counter()
            scene.program(scene.backend.compile(mappings))
            took = time.perf_counter() - begun
            self.found = sum(line.startswith("-A") for line in scene.saved().splitlines())
        return [took]

    def check(self) -> str:
        assert self.found >= _RULES_EACH * self.scale, f"{self.found} rules for {self.scale} EIPs"
        return f"{self.found} rules"


class Restore(_InScene):
    """The restore program with the same rules, into the same router without EIPs."""

    def prepare(self) -> None:
        self._full = self.scene.saved()

    def once(self) -> Sequence[float]:
        self.scene.restore(self.bare)
        begun = time.perf_counter()
        self.scene.restore(self._full)
        return [time.perf_counter() - begun]


class Change(_InScene, Changing[IptablesScene]):
    """vipnet."""

    most = _CHANGES


class Churn(_InScene, Churning[IptablesScene]):
    """vipnet."""


class Drifted(_InScene, Drifting[IptablesScene]):
    """vipnet; the restore program deletes the rules that name the EIPs."""

    def lose(self, mappings: Sequence[EipMapping]) -> None:
        wanted = {f" {format_ip4(ip)}/32 " for one in mappings for ip in (one.eip, one.vip)}
        text = "".join(_deletions(self.scene.saved().splitlines(), wanted))
        self.scene.restore(text, "--noflush")

    def check(self) -> str:
        return f"{super().check()}, {self.whole()}"


def _deletions(lines: Iterable[str], wanted: Collection[str]) -> Iterator[str]:
    """From the lines of tables, a file for the restore program that deletes rules with certain words."""
    for line in lines:
        if line.startswith(("*", "COMMIT")):
            yield f"{line}\n"
        elif line.startswith("-A") and any(word in f"{line} " for word in wanted):
            yield f"-D{line.removeprefix('-A')}\n"


class _Beside(_InScene):
    """Adds lines to a chain of its own beside vipnet's, in the nat table."""

    def prepare(self) -> None:
        self.scene.run(f"iptables-{self.options['variant']}", "-w", "-t", "nat", "-N", "BENCH")
        self.numbers = iter(range(1 << 16))

    def line(self) -> str:
        """The next line."""
        number = next(self.numbers)
        return f"-A BENCH -d 198.51.{number >> 8}.{number & 255}/32 -j DNAT --to-destination 10.0.0.9"


class RestoreLine(_Beside):
    """The restore program with one line, put in or taken out, or both, in each of the two tables that an EIP has rules in."""

    def once(self) -> Sequence[float]:
        return [self._one() for _ in range(_CHANGES)]

    def _one(self) -> float:
        put, taken = _lines(self.line(), "-A INPUT -d 198.51.100.1/32"), ""
        match what_of(self.options):
            case "more":
                pass
            case "less":
                put, taken = "", put
            case "moved":
                put, taken = _lines(self.line(), "-A INPUT -d 198.51.100.2/32"), put
        if taken:
            self.scene.restore(taken, "--noflush")
        text = taken.replace("-A ", "-D ") + put
        return timed(lambda: self.scene.restore(text, "--noflush"))


def _lines(nat: str, mangle: str) -> str:
    return f"*nat\n{nat}\nCOMMIT\n*mangle\n{mangle}\nCOMMIT\n"


class Append(_Beside):
    """`iptables -A`, one rule of those that an EIP takes."""

    def once(self) -> Sequence[float]:
        return [self._one() for _ in range(_CHANGES)]

    def _one(self) -> float:
        words = [f"iptables-{self.options['variant']}", "-w", "-t", "nat", *self.line().split()]
        begun = time.perf_counter()
        self.scene.run(*words)
        return time.perf_counter() - begun


class PythonIptables(_Beside):
    """python-iptables (legacy alone): one rule of those that an EIP takes, with a handle of this namespace."""

    def prepare(self) -> None:
        super().prepare()
        self._iptc: Any = import_module("iptc")

    def once(self) -> Sequence[float]:
        with entered(self.scene.router):
            return [self._one() for _ in range(_CHANGES)]

    def _one(self) -> float:
        iptc, address = self._iptc, self.line().split()[3]
        begun = time.perf_counter()
        table = iptc.Table(iptc.Table.NAT)
        table.refresh()  # it is one for the whole process, of whatever namespace it saw last
        rule = iptc.Rule()
        rule.dst = address
        rule.create_target("DNAT").to_destination = "10.0.0.9"
        iptc.Chain(table, "BENCH").append_rule(rule)
        return time.perf_counter() - begun

    def check(self) -> str:
        there = self.scene.saved().count("-A BENCH")
        assert there >= _CHANGES, f"{there} rules"
        return f"{there} rules of its own"


class Audit(_InScene):
    """Everything read and compared; the time of each EIP."""

    def once(self) -> Sequence[float]:
        expected = self.scene.backend.compile(self.scene.mappings(0, self.scale))
        begun = time.perf_counter()
        self.scene.backend.audit(expected)
        return [(time.perf_counter() - begun) / self.scale]
