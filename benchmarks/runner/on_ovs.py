"""Contestants of Open vSwitch: vipnet, ovs-ofctl with and without a bundle, the bare switch with the bytes that vipnet sends."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from ovs_switch import Scene, is_bundle, ours, replay, text_of

from runner import changes
from runner.changes import Changing, Churning, Drifting, timed
from runner.scenes import InScene
from vipnet.intents import EipMapping
from vipnet.plan import diff
from vipnet_ovs.flows import Flow

__all__ = [
    "Audit",
    "Change",
    "Churn",
    "Drifted",
    "OfctlChange",
    "OfctlProgram",
    "Program",
    "RawChange",
    "RawProgram",
    "Unchanged",
]

_FLOWS_EACH: Final = 6


class _InScene(InScene[Scene]):
    """Has a switch with the standard scene; `filled`: with its EIPs."""

    def begin(self) -> None:
        self.scene = self.stack.enter_context(Scene())
        if self.filled:
            self.program()

    def program(self) -> bytes:
        """Have vipnet program all EIPs; what it sent."""
        entries = self.scene.backend.compile(self.scene.mappings(self.scale))
        with self.scene.recorded() as sent:
            self.scene.carry_out(self.scene.steps({}, entries))
        return b"".join(sent)

    def check(self) -> str:
        found = ours(self.scene.ofctl("dump-flows", "--no-stats"))
        assert found >= _FLOWS_EACH * self.expected, f"{found} flows for {self.expected} EIPs"
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
        self.scene.carry_out(self.scene.steps({}, self.scene.backend.compile(intents)))
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


class Change(_InScene, Changing[Scene]):
    """vipnet; EIPs without a limit."""


class RawChange(Change):
    """The switch with the bytes that vipnet sends for such a change."""

    def made(self, change: changes.Change) -> float:
        with self.scene.recorded() as sent:
            change.carry_out(self.scene)
        bundles = b"".join(one for one in sent if is_bundle(one))
        change.undone.carry_out(self.scene)
        took = timed(lambda: replay(self.scene.socket, bundles))
        change.undone.carry_out(self.scene)
        return took


class OfctlChange(Change):
    """`ovs-ofctl --bundle add-flows` with the flows of one EIP more."""

    most = 5

    def made(self, change: changes.Change) -> float:
        (step,) = change.steps(self.scene)
        lines = text_of(self.scene.listed([entry for entry in step.create if isinstance(entry, Flow)]))
        took = timed(lambda: self.scene.ofctl("--bundle", "add-flows", text=lines))
        change.undone.carry_out(self.scene)
        return took


class Churn(_InScene, Churning[Scene]):
    """vipnet."""


class Drifted(_InScene, Drifting[Scene]):
    """vipnet; ovs-ofctl deletes the flows."""

    def lose(self, mappings: Sequence[EipMapping]) -> None:
        flows = (one for one in self.scene.backend.compile(mappings).values() if isinstance(one, Flow))
        cookies = dict.fromkeys(flow.cookie for flow in flows)
        self.scene.ofctl("--bundle", "add-flows", text="".join(f"delete cookie={cookie:#x}/-1\n" for cookie in cookies))

    def check(self) -> str:
        return f"{super().check()}, {self.whole()}"


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
