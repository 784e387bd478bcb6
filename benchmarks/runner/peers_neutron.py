"""Contestant of iptables: Neutron's IptablesManager, in an environment and a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from nft_scene import Host

from runner.presence import interpreter
from runner.worker import Worker
from vipnet_kernel.namespaces import entered

__all__ = ["Change", "Program"]

_CHILD: Final = Path(__file__).with_name("neutron_child.py")
_PROGRAMS: Final = ("iptables", "iptables-save", "iptables-restore")
_RULES_EACH: Final = 7


class Neutron:
    """An agent of Neutron's, so to speak, with a router's namespace. A context manager; at its end both are gone.

    `variant`: which programs it finds as iptables.
    """

    def __init__(self, variant: str) -> None:
        self._variant = variant

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._host = stack.enter_context(Host())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vipnet-bench-")))
            program = shutil.which(f"iptables-{self._variant}")
            assert program is not None
            for name in _PROGRAMS:
                (folder / name).symlink_to(Path(program).resolve())
            words = [str(interpreter("neutron")), "-W", "ignore", str(_CHILD), self._host.space]
            path = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=path)
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def add(self, first: int, last: int) -> float:
        """Have it add EIPs, `last` not included, and apply; the seconds that took."""
        return float(self._applied(first, last)["took"])

    def _applied(self, first: int, last: int) -> dict[str, Any]:
        child: Any = self._child
        child.stdin.write(f"{first} {last}\n")
        child.stdin.flush()
        line = child.stdout.readline()
        assert line, f"Neutron's process ended with status {child.wait()}"
        said: dict[str, Any] = json.loads(line)
        return said

    def check(self, eips: int) -> str:
        """Count the rules that are there. Raises AssertionError unless they are those of so many EIPs, and to its mind, too."""
        said = self._applied(0, 0)
        assert said["lines"] == 0, f"{said['lines']} lines to be put right"
        with entered(self._host.space):
            words = [f"iptables-{self._variant}-save"]
            text = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = sum(" -d 20." in line or " -s 10." in line for line in text.splitlines())
        assert found == _RULES_EACH * eips, f"{found} rules for {eips} EIPs"
        return f"{found} rules"

    def _end(self) -> None:
        """Have it end, which it does by itself when nobody tells it anything."""
        self._child.terminate()
        self._child.communicate()


class Program(Worker):
    """All EIPs, into a router without any: rules added to the manager, and one `apply`; each round a new one."""

    checked = ""

    def once(self) -> Sequence[float]:
        with Neutron(self.options["variant"]) as neutron:
            took = neutron.add(0, self.scale)
            self.checked = neutron.check(self.scale)
        return [took]

    def check(self) -> str:
        return self.checked


class Change(Worker):
    """One EIP more, which stays: its rules added to the manager, and `apply`, which reads all that is there and compares."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._neutron = stack.enter_context(Neutron(self.options["variant"]))
            self._neutron.add(0, self.scale)
            self._count = self.scale
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def once(self) -> Sequence[float]:
        took = self._neutron.add(self._count, self._count + 1)
        self._count += 1
        return [took]

    def check(self) -> str:
        return self._neutron.check(self._count)
