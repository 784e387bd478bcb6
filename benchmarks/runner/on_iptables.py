"""Contestants of iptables, in either variant (option `variant`): vipnet and the restore programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from bench_iptables import IptablesScene

from runner.worker import Worker

__all__ = ["Audit", "Change", "Program", "Restore", "RestoreLine"]

_CHANGES: Final = 5
_RULES_EACH: Final = 7
"""What one mapped EIP with a limit is: DNAT, SNAT, its uplink, and a limit and a counter each way."""


class _InScene(Worker):
    """Has a host with a VPC; `filled`: with its EIPs."""

    filled = True

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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Get ready in the scene."""

    def program(self) -> None:
        """Have vipnet program all EIPs."""
        self.scene.program(self.scene.backend.compile(self.scene.mappings(0, self.scale)))

    def check(self) -> str:
        found = sum(line.startswith("-A") for line in self.scene.saved().splitlines())
        assert found >= _RULES_EACH * self.scale, f"{found} rules for {self.scale} EIPs"
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


class Change(_InScene):
    """vipnet: one EIP more, then it goes again; from the plan to the end of the restore program."""

    def once(self) -> Sequence[float]:
        return [self._one(number) for number in range(self.scale, self.scale + _CHANGES)]

    def _one(self, number: int) -> float:
        entries = self.scene.backend.compile(self.scene.mappings(number, number + 1))
        steps = self.scene.steps({}, entries)
        begun = time.perf_counter()
        self.scene.carry_out(steps)
        took = time.perf_counter() - begun
        self.scene.carry_out(self.scene.steps(entries, {}))
        return took


class RestoreLine(_InScene):
    """The restore program with one line in each of the two tables that an EIP has rules in, as one has it, in chains of its own.

    As one has it: where a rule has no target that must be checked, iptables-nft has the kernel check nothing.
    """

    def prepare(self) -> None:
        for table in ("nat", "mangle"):
            self.scene.run(f"iptables-{self.options['variant']}", "-w", "-t", table, "-N", "BENCH")
        self._numbers = iter(range(1 << 16))

    def once(self) -> Sequence[float]:
        return [self._one() for _ in range(_CHANGES)]

    def _one(self) -> float:
        number = next(self._numbers)
        line = f"-A BENCH -d 198.51.{number >> 8}.{number & 255}/32 -j"
        nat, mangle = f"{line} DNAT --to-destination 10.0.0.9", f"{line} MARK --set-xmark 0x1/0xff"
        text = f"*nat\n{nat}\nCOMMIT\n*mangle\n{mangle}\nCOMMIT\n"
        begun = time.perf_counter()
        self.scene.restore(text, "--noflush")
        return time.perf_counter() - begun


class Audit(_InScene):
    """Everything read and compared; the time of each EIP."""

    def once(self) -> Sequence[float]:
        expected = self.scene.backend.compile(self.scene.mappings(0, self.scale))
        begun = time.perf_counter()
        self.scene.backend.audit(expected)
        return [(time.perf_counter() - begun) / self.scale]
