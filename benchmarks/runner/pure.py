"""Contestants whose work asks no data plane: addresses, the model, compiling, imports. CPU time, but for imports."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from bench_ipam import Contestant, Netaddr, Scan, Vipnet
from bench_topology import Forgetful, Shape, fill

from runner.worker import Worker
from vipnet.backend import BackendContext
from vipnet.config import Config, UplinkConfig
from vipnet.controller import Controller
from vipnet.derive import all_scopes, derive
from vipnet.intents import EipMapping, Intent
from vipnet.model import Eip
from vipnet.operations.draft import World
from vipnet.plan import diff
from vipnet.registry import load_backend
from vipnet.store import MemoryStore

__all__ = ["Addresses", "Compile", "Import", "Model", "Verb", "forgetful", "mapped"]

_CALLS: Final = 1_000
_SIZE: Final = 1 << 24
_FIRST: Final = 10 << 24


class Addresses(Worker):
    """Addresses of a /8 of which so many are taken, one a call; option `by`: vipnet, netaddr or scan, `direction`."""

    cpu = True

    def __enter__(self) -> Self:
        makers: dict[str, type[Contestant]] = {"vipnet": Vipnet, "netaddr": Netaddr, "scan": Scan}
        chance = random.Random(self.seed)
        used = [_FIRST + _SIZE - 1 - number for number in range(self.scale)]
        self._contestant = makers[self.options["by"]](self.options["direction"], used, chance)  # type: ignore[arg-type]
        self._calls = int(self.options.get("calls", _CALLS))
        return self

    def once(self) -> Sequence[float]:
        begun = time.process_time()
        taken = [self._contestant.take() for _ in range(self._calls)]
        spent = time.process_time() - begun
        for ip in taken:
            self._contestant.give_back(ip)
        self._taken = taken
        return [spent / self._calls]

    def check(self) -> str:
        assert len({*self._taken}) == self._calls, "an address was given twice"
        return f"{self._calls} addresses, all different"


class Model(Worker):
    """A cloud of so many mapped EIPs, by verbs in one transaction, on a data plane that keeps nothing."""

    cpu = True

    def once(self) -> Sequence[float]:
        with forgetful(self.seed) as cloud:
            begun = time.process_time()
            with cloud.transaction() as tx:
                fill(tx, Shape(self.scale))
            spent = time.process_time() - begun
            self._mapped = cloud.topology.count(Eip)
        return [spent / self.scale]

    def check(self) -> str:
        assert self._mapped == self.scale, f"{self._mapped} EIPs"
        return f"{self._mapped} EIPs"


class Verb(Worker):
    """One more create-eip, and one less, with so many there."""

    cpu = True

    def __enter__(self) -> Self:
        self._cloud = forgetful(self.seed)
        with self._cloud.transaction() as tx:
            fill(tx, Shape(self.scale))
        self._cloud.settle()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cloud.close()

    def once(self) -> Sequence[float]:
        samples: list[float] = []
        for number in range(min(200, self.scale)):
            self._cloud.groups.dissociate_eip(f"g{number}", auto_delete=True)
            begun = time.process_time()
            self._cloud.groups.create_eip(f"g{number}", bandwidth=3)
            samples.append(time.process_time() - begun)
        return samples

    def check(self) -> str:
        found = self._cloud.topology.count(Eip)
        assert found == self.scale, f"{found} EIPs"
        return f"{found} EIPs"


class Compile(Worker):
    """Intents of so many mapped EIPs into a backend's entries, and the plan that has them made; option `backend`."""

    cpu = True

    def __enter__(self) -> Self:
        with forgetful(self.seed) as cloud:
            with cloud.transaction() as tx:
                fill(tx, Shape(self.scale))
            self._intents: list[Intent] = [*mapped(cloud)]
        self._backend: Any = load_backend(self.options["backend"])(BackendContext())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._backend.close()

    def once(self) -> Sequence[float]:
        begun = time.process_time()
        plan = diff({}, self._backend.compile(self._intents))
        spent = time.process_time() - begun
        self._made = len(plan)
        return [spent / self.scale]

    def check(self) -> str:
        assert self._made >= self.scale, f"{self._made} entries"
        return f"{self._made} entries"


class Import(Worker):
    """A fresh interpreter that imports a module, less one that imports nothing; option `module`."""

    def once(self) -> Sequence[float]:
        bare, full = (_interpreter(words) for words in ("pass", f"import {self.options['module']}"))
        return [full - bare]


def _interpreter(words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", words], check=True)
    return time.perf_counter() - begun


def mapped(cloud: Controller) -> Iterator[EipMapping]:
    """What is to be true of the EIPs of a cloud."""
    found = derive(cloud.topology, cloud.config, all_scopes(cloud.topology)).values()
    return (one for one in found if isinstance(one, EipMapping))


def forgetful(seed: int) -> Controller:
    """A cloud without anything yet, on a data plane that keeps nothing."""
    world = World(random=random.Random(seed).randrange)
    return Controller(config=_WITH_UPLINK, store=MemoryStore(), backend=Forgetful(BackendContext()), world=world)


_WITH_UPLINK: Final = Config(uplinks={"pub": UplinkConfig(name="pub", device="ext0")})
