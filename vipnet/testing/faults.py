"""A backend that fails on demand, around one that works."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from vipnet.backend import Backend, Capability
from vipnet.errors import DataplaneError
from vipnet.evidence import Finding, Location, Need
from vipnet.intents import EipMapping, Intent, Released, VipBinding
from vipnet.packets import Packet, Step
from vipnet.plan import Entry, Plan, TargetPlan
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters

__all__ = ["Faults", "FaultyBackend"]

E = TypeVar("E", bound=Entry)


@dataclass(slots=True, kw_only=True)
class Faults:
    """What is to go wrong; change it at any time.

    `refuse` gives reasons by key: a step that brings one of them does nothing. Calls of `apply` are counted from 0 in
    `applied`: those in `unreachable` fail before anything is done, those in `lost` after it was. `unreadable`: no reading.
    """

    refuse: dict[str, str] = field(default_factory=dict[str, str])
    unreachable: set[int] = field(default_factory=set[int])
    lost: set[int] = field(default_factory=set[int])
    unreadable: bool = False
    applied: int = 0

    def fail_next(self, *, after: bool = False) -> None:
        """Let the next `apply` fail before it does anything, or `after` it has done everything."""
        (self.lost if after else self.unreachable).add(self.applied)


class FaultyBackend(Backend[E]):
    """Does what `inner` does, but for `faults`. It goes by the name of `inner` where that is asked of the object."""

    name = "faulty"
    capabilities = frozenset(get_args(Capability))

    def __init__(self, inner: Backend[E], faults: Faults) -> None:
        self.inner = inner
        self.faults = faults
        vars(self).update(name=inner.name, capabilities=inner.capabilities, notices_all=inner.notices_all)

    def compile(self, intents: Iterable[Intent]) -> dict[str, E]:
        return self.inner.compile(intents)

    def read(self) -> dict[str, E]:
        self._check_readable()
        return self.inner.read()

    def audit(self, expected: Mapping[str, E]) -> dict[str, E]:
        self._check_readable()
        return self.inner.audit(expected)

    def apply(self, step: TargetPlan[E]) -> Mapping[str, str]:
        number, self.faults.applied = self.faults.applied, self.faults.applied + 1
        if number in self.faults.unreachable:
            raise DataplaneError(f"target {step.target} cannot be reached: a fault was asked for")
        refused = {key: reason for key, reason in self.faults.refuse.items() if key in _brought(step)}
        if refused:
            return refused
        refused_inside = self.inner.apply(step)
        if number in self.faults.lost:
            raise DataplaneError(f"the answer of target {step.target} was lost: a fault was asked for")
        return refused_inside

    def steps(self, plan: Plan[E]) -> Iterable[TargetPlan[E]]:
        return self.inner.steps(plan)

    def recheck(self, expected: Mapping[str, E], places: Collection[str]) -> dict[str, E]:
        self._check_readable()
        return self.inner.recheck(expected, places)

    def disturbed(self, places: Collection[str]) -> frozenset[str]:
        return self.inner.disturbed(places)

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:
        return self.inner.watch(report)

    def own(self) -> bool:
        return self.inner.own()

    def disown(self) -> None:
        self.inner.disown()

    def check(self, plan: Plan[E]) -> None:
        self.inner.check(plan)

    def changed(self) -> bool:
        return self.inner.changed()

    def stamp(self) -> str:
        return self.inner.stamp()

    def adopt(self, stamp: str) -> bool:
        return self.inner.adopt(stamp)

    def unnoticed(self, expected: Mapping[str, E]) -> dict[str, E]:
        self._check_readable()
        return self.inner.unnoticed(expected)

    def counts(self) -> dict[str, int]:
        self._check_readable()
        return self.inner.counts()

    def flush(self, released: Sequence[Released]) -> None:
        self.inner.flush(released)

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        self._check_readable()
        return self.inner.counters(mappings)

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:
        self._check_readable()
        return self.inner.closed(ended)

    def passage(self, packet: Packet, step: Step) -> Sequence[Need[E]]:
        return self.inner.passage(packet, step)

    def evidence(self, entries: Sequence[E]) -> Mapping[str, Finding]:
        self._check_readable()
        return self.inner.evidence(entries)

    def holder(self, vip: VipBinding, version: int) -> Location | None:
        self._check_readable()
        return self.inner.holder(vip, version)

    def announce(self, intents: Iterable[Intent]) -> None:
        self.inner.announce(intents)

    def versions(self) -> dict[str, str]:
        return self.inner.versions()

    def close(self) -> None:
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        # What a backend offers beyond the base (a watcher) is reached through us as well.
        if name == "inner":  # not set yet, as while copying
            raise AttributeError(name)
        return getattr(self.inner, name)

    def _check_readable(self) -> None:
        if self.faults.unreadable:
            raise DataplaneError("nothing can be read: a fault was asked for")


def _brought(step: TargetPlan[Any]) -> set[str]:
    return {entry.key for entry in (*step.create, *(new for _, new in step.replace))}
