"""Contestant of Open vSwitch: os-ken, by an application of its own to which the switch connects.

It sends flow mods and a barrier in OpenFlow 1.3, no bundle; as with ovs-ofctl, flows have no meters. What is there afterwards is
compared with what vipnet programs, line by line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ovs_switch import Scene, text_of

from runner.changes import Change
from runner.on_ovs import OfctlChange, OfctlProgram
from vipnet.intents import EipMapping, Intent
from vipnet.plan import TargetPlan
from vipnet.process import run
from vipnet_kernel.namespaces import entered
from vipnet_ovs.entries import Entry
from vipnet_ovs.flows import Flow
from vipnet_ovs.names import digest
from vipnet_ovs.pipeline import NUMBERS

__all__ = ["OskenChange", "OskenProgram"]

_CHILD: Final = Path(__file__).with_name("osken_child.py")
_PORT: Final = 6653
_BRIDGE: Final = "vipnet0"


class Osken:
    """An os-ken application in the switch's namespace, with the switch connected. A context manager; at its end it is gone.

    A switch without a controller drops all flows when it gets one, and again when that goes.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            words = [sys.executable, "-W", "ignore", str(_CHILD), str(_PORT)]
            with entered(self._scene.switch.netns):
                self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(self._end)
            where = ["set-controller", _BRIDGE, f"tcp:127.0.0.1:{_PORT}"]
            out_of_band = ["--", "set", "controller", _BRIDGE, "connection_mode=out-of-band", "max_backoff=1000"]
            run(["ovs-vsctl", f"--db={self._scene.switch.database}", *where, *out_of_band])
            self._said()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def program(self, mappings: Iterable[Intent], cookies: Iterable[int]) -> float:
        """Have it program EIPs; the seconds that took. Raises AssertionError where the switch refuses something."""
        some = [one for one in mappings if isinstance(one, EipMapping)]
        eips = [[int(one.eip), int(one.vip), cookie] for one, cookie in zip(some, cookies, strict=True)]
        line = json.dumps({"eips": eips, "tables": dict(NUMBERS), "metadata": digest(some[0].vpc_id)})
        child: Any = self._child
        child.stdin.write(line + "\n")
        child.stdin.flush()
        said = self._said()
        assert not said["refused"], said["refused"][:3]
        return float(said["took"])

    def _said(self) -> dict[str, Any]:
        child: Any = self._child
        line = child.stdout.readline()
        assert line, f"os-ken's process ended with status {child.wait()}"
        said: dict[str, Any] = json.loads(line)
        return said

    def _end(self) -> None:
        run(["ovs-vsctl", f"--db={self._scene.switch.database}", "del-controller", _BRIDGE], check=False)
        self._child.terminate()
        self._child.communicate()


class OskenProgram(OfctlProgram):
    """All EIPs: flow mods made and sent one by one, and a barrier."""

    def prepare(self) -> None:
        super().prepare()
        self._osken = self.stack.enter_context(Osken(self.scene))
        self._mappings = self.scene.mappings(self.scale)
        flows = self.scene.backend.compile(self._mappings).values()
        self._cookies = dict.fromkeys(flow.cookie for flow in flows if isinstance(flow, Flow))
        mine = {f"cookie={cookie:#x}" for cookie in self._cookies}
        self._wanted = {line for line in self.lines.splitlines() if line.partition(",")[0] in mine}

    def work(self) -> float:
        return self._osken.program(self._mappings, self._cookies)

    def check(self) -> str:
        there = {*text_of(self.scene.ofctl("dump-flows", "--no-stats")).splitlines()}
        assert there == self._wanted, f"{[*(there - self._wanted)][:1]} instead of {[*(self._wanted - there)][:1]}"
        return super().check()


class OskenChange(OfctlChange):
    """One EIP more: six flow mods and a barrier. Each flow is looked for by key."""

    most = 25

    def prepare(self) -> None:
        self._osken = self.stack.enter_context(Osken(self.scene))
        self.scene.backend.forget()
        wanted = {**self.scene.base, **self.scene.backend.compile(self.scene.mappings(self.scale))}
        self.scene.carry_out(self.scene.steps(self.scene.backend.read(), wanted))

    def made(self, change: Change) -> float:
        (step,) = change.steps(self.scene)
        flows = [entry for entry in step.create if isinstance(entry, Flow)]
        took = self._osken.program(change.after, {flows[0].cookie})
        self._compare(step)
        change.undone.carry_out(self.scene)
        return took

    def _compare(self, step: TargetPlan[Entry]) -> None:
        found = self.scene.backend.evidence(step.create)
        assert {finding.state for finding in found.values()} == {"installed"}, found
