"""Contestants of Open vSwitch: vipnet, ovs-ofctl with and without a bundle, the bare switch with the bytes that vipnet sends."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from ovs_switch import Scene, replay, text_of

from runner.worker import Worker
from vipnet.intents import Intent
from vipnet.plan import TargetPlan, diff
from vipnet_ovs.entries import Entry
from vipnet_ovs.flows import Flow

__all__ = ["Audit", "Change", "OfctlChange", "OfctlProgram", "Program", "RawChange", "RawProgram", "Unchanged"]

_CHANGES: Final = 25
_FLOWS_EACH: Final = 6


class _InScene(Worker):
    """Has a switch with the standard scene; `filled`: with its EIPs."""

    filled = True

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.stack = stack
            self.scene = stack.enter_context(Scene())
            if self.filled:
                self.program()
            self.prepare()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Get ready in the scene; what is put on `stack` ends before it."""

    def program(self) -> bytes:
        """Have vipnet program all EIPs; what it sent."""
        plan = diff({}, self.scene.backend.compile(self.scene.mappings(self.scale)))
        with self.scene.recorded() as sent:
            self.apply(*self.scene.backend.steps(plan))
        return b"".join(sent)

    def apply(self, *steps: TargetPlan[Entry]) -> None:
        """Carry steps out."""
        for step in steps:
            refused = self.scene.backend.apply(step)
            assert not refused, refused

    def check(self) -> str:
        found = sum("cookie=0x766e" in line for line in self.scene.ofctl("dump-flows", "--no-stats").splitlines())
        assert found >= _FLOWS_EACH * self.scale, f"{found} flows for {self.scale} EIPs"
        return f"{found} flows"


class _Anew(_InScene):
    """Programs all EIPs each round, which go before the next one."""

    filled = False
    _is_full = False

    def once(self) -> Sequence[float]:
        if self._is_full:
            self.scene.empty()
        took = self.work()
        self._is_full = True
        return [took]

    @abstractmethod
    def work(self) -> float:
        """Program; the seconds that it took."""


class Program(_Anew):
    """vipnet: from intents to the acknowledgement of one bundle."""

    def work(self) -> float:
        intents, begun = self.scene.mappings(self.scale), time.perf_counter()
        self.apply(*self.scene.backend.steps(diff({}, self.scene.backend.compile(intents))))
        return time.perf_counter() - begun


class RawProgram(_Anew):
    """The switch with the bytes that vipnet sent."""

    def prepare(self) -> None:
        self._sent = self.program()
        self._is_full = True

    def work(self) -> float:
        begun = time.perf_counter()
        replay(self.scene.socket, self._sent)
        return time.perf_counter() - begun


class OfctlProgram(_Anew):
    """`ovs-ofctl add-flows` of a file with the same flows, but for meters; option `bundle`."""

    def prepare(self) -> None:
        self.program()
        self.lines = text_of(self.scene.ofctl("dump-flows", "--no-stats"))
        self._is_full = True

    def work(self) -> float:
        options = ["--bundle"] if self.options["bundle"] == "yes" else []
        begun = time.perf_counter()
        self.scene.ofctl(*options, "add-flows", text=self.lines)
        return time.perf_counter() - begun


class Change(_InScene):
    """vipnet: one EIP more, without a limit, then it goes again; from the plan to the acknowledgement."""

    def once(self) -> Sequence[float]:
        return [self.one(step) for step in map(self.step, range(_CHANGES))]

    def step(self, number: int) -> TargetPlan[Entry]:
        """What is to be done for one more."""
        (step,) = self.scene.backend.steps(diff({}, self.scene.backend.compile(self.mapping(number))))
        return step

    def mapping(self, number: int) -> list[Intent]:
        """One more, without a limit."""
        return self.scene.mappings(1, first=self.scale + 10 * number + 1)

    def one(self, step: TargetPlan[Entry]) -> float:
        """Do it; the seconds that it took."""
        begun = time.perf_counter()
        self.apply(step)
        took = time.perf_counter() - begun
        self.apply(TargetPlan(step.target, delete=step.create))
        return took


class RawChange(Change):
    """The switch with the bytes that vipnet sends for one EIP more."""

    def one(self, step: TargetPlan[Entry]) -> float:
        with self.scene.recorded() as sent:
            self.apply(step)
        bundle = max(sent, key=len)
        self.apply(TargetPlan(step.target, delete=step.create))
        begun = time.perf_counter()
        replay(self.scene.socket, bundle)
        took = time.perf_counter() - begun
        self.apply(TargetPlan(step.target, delete=step.create))
        return took


class OfctlChange(Change):
    """`ovs-ofctl --bundle add-flows` with the flows of one EIP more."""

    def once(self) -> Sequence[float]:
        return [self.one(step) for step in map(self.step, range(5))]

    def one(self, step: TargetPlan[Entry]) -> float:
        lines = text_of(self.scene.listed([entry for entry in step.create if isinstance(entry, Flow)]))
        begun = time.perf_counter()
        self.scene.ofctl("--bundle", "add-flows", text=lines)
        took = time.perf_counter() - begun
        self.apply(TargetPlan(step.target, delete=step.create))
        return took


class Unchanged(_InScene):
    """Whether anything has changed, where nothing has."""

    def prepare(self) -> None:
        self.scene.backend.read()

    def once(self) -> Sequence[float]:
        samples: list[float] = []
        for _ in range(20):
            begun = time.perf_counter()
            changed = self.scene.backend.changed()
            samples.append(time.perf_counter() - begun)
            assert not changed
        return samples


class Audit(_InScene):
    """Everything read back and compared; the time of each flow."""

    def once(self) -> Sequence[float]:
        desired = {**self.scene.base, **self.scene.backend.compile(self.scene.mappings(self.scale))}
        begun = time.perf_counter()
        plan = diff(self.scene.backend.audit(desired), desired)
        took = time.perf_counter() - begun
        assert not plan, str(plan)[:300]
        return [took / len(desired)]
