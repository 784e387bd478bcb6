"""What a mapped EIP weighs: the model, and a backend's entries beside it; and the switch that has its flows. Bytes, not time."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

from bench_topology import Shape, fill
from ovs_switch import Scene as SwitchScene
from ovs_switch import resident

from runner.pure import forgetful, mapped
from runner.worker import Worker
from vipnet.backend import BackendContext
from vipnet.controller import Controller
from vipnet.registry import load_backend

__all__ = ["SwitchWeight", "Weight"]

_FIRST: Final = 20


class Weight(Worker):
    """Bytes that Python holds for an EIP, by tracemalloc: the model, and with option `backend` that one's entries, too.

    They are the same each time, so all is weighed once.
    """

    def __enter__(self) -> Self:
        self._weigh(_FIRST)  # what is made once in a process is no EIP's
        self._weight, self._entries = self._weigh(self.scale)
        return self

    def _weigh(self, eips: int) -> tuple[int, int]:
        """Bytes, and how many entries there are in them."""
        with _weighed() as held, _filled(eips, self.seed) as there:
            entries = _compiled(self.options["backend"], there) if "backend" in self.options else {}
            return held(), len(entries)

    def once(self) -> Sequence[float]:
        return [self._weight / self.scale]

    def check(self) -> str:
        assert "backend" not in self.options or self._entries >= self.scale, f"{self._entries} entries"
        return f"{self._entries} entries"


class SwitchWeight(Worker):
    """Bytes that ovs-vswitchd gains for an EIP, by its resident set; a new switch each round."""

    def once(self) -> Sequence[float]:
        with SwitchScene() as scene:
            before = resident(scene.pid)
            scene.carry_out(scene.steps({}, scene.backend.compile(scene.mappings(self.scale))))
            return [(resident(scene.pid) - before) / self.scale]


@contextmanager
def _filled(eips: int, seed: int) -> Generator[Controller]:
    with forgetful(seed) as there:
        with there.transaction() as tx:
            fill(tx, Shape(eips))
        yield there


def _compiled(backend: str, there: Controller) -> dict[str, Any]:
    """Intents and entries of all EIPs; the intents are held by nobody when it returns."""
    made = load_backend(backend)(BackendContext())
    try:
        return made.compile(mapped(there))
    finally:
        made.close()


@contextmanager
def _weighed() -> Generator[Callable[[], int]]:
    """What says how many bytes more Python holds than at the beginning of a `with` block."""
    gc.collect()
    tracemalloc.start()

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    try:
        yield held
    finally:
        tracemalloc.stop()
