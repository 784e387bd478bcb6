"""Contestants of iptables, in either variant (option `variant`): vipnet and the restore programs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from iptables_scene import IptablesScene

from runner.changes import Changing, Churning, Drifting, timed, what_of
from runner.scenes import InScene
from runner.worker import Worker
from vipnet.addresses import format_ip4
from vipnet.intents import EipMapping

__all__ = ["Audit", "Change", "Churn", "Drifted", "Program", "Restore", "RestoreLine"]

_CHANGES: Final = 5
_RULES_EACH: Final = 7
"""What one mapped EIP with a limit is: DNAT, SNAT, its uplink, and a limit and a counter each way."""


class _InScene(InScene[IptablesScene]):
    """Has a host with a VPC; `filled`: with its EIPs."""

    def begin(self) -> None:
        self.scene = self.stack.enter_context(IptablesScene(self.options["variant"]))
        self.bare = self.scene.saved()
        if self.filled:
            self.program()
            self.scene.reopen()
            self.scene.backend.read()

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


class RestoreLine(_InScene):
    """The restore program with a line, put in or taken out, or both (option `what`), in each of the two tables that an EIP is in.

    Each is as an EIP has one there, in a chain of its own: where a rule has no target that must be checked, iptables-nft has the
    kernel check nothing.
    """

    def prepare(self) -> None:
        for table in ("nat", "mangle"):
            self.scene.run(f"iptables-{self.options['variant']}", "-w", "-t", table, "-N", "BENCH")
        self._numbers = iter(range(1 << 16))

    def once(self) -> Sequence[float]:
        return [self._one() for _ in range(_CHANGES)]

    def _one(self) -> float:
        put, taken = self._line(), ""
        match what_of(self.options):
            case "more":
                pass
            case "less":
                put, taken = "", put
            case "moved":
                put, taken = self._line(), put
        if taken:
            self.scene.restore(taken, "--noflush")
        text = taken.replace("-A ", "-D ") + put
        return timed(lambda: self.scene.restore(text, "--noflush"))

    def _line(self) -> str:
        """The next ones."""
        number = next(self._numbers)
        rule = f"-A BENCH -d 198.51.{number >> 8}.{number & 255}/32 -j"
        nat, mangle = f"{rule} DNAT --to-destination 10.0.0.9", f"{rule} MARK --set-xmark 0x1/0xff"
        return f"*nat\n{nat}\nCOMMIT\n*mangle\n{mangle}\nCOMMIT\n"


class Audit(_InScene):
    """Everything read and compared; the time of each EIP."""

    def once(self) -> Sequence[float]:
        expected = self.scene.backend.compile(self.scene.mappings(0, self.scale))
        begun = time.perf_counter()
        self.scene.backend.audit(expected)
        return [(time.perf_counter() - begun) / self.scale]
