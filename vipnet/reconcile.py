"""From intents to the data plane: the plan of a change, the plan of a resync, and carrying them out.

A change that is refused is taken back, target by target; a resync sets refused entries aside instead, with their object
and the reason, because one bad object must never stop the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vipnet.backend import Backend, needs
from vipnet.config import Config
from vipnet.derive import all_scopes, derive, released, scopes_of, wide_scopes
from vipnet.errors import DataplaneError, OwnedError
from vipnet.intents import Intent, Released
from vipnet.plan import Plan, TargetPlan, diff
from vipnet.topology import Topology
from vipnet.working import Change

__all__ = [
    "Quarantined",
    "Refused",
    "Work",
    "change_work",
    "compile_all",
    "in_order",
    "program",
    "program_what_can",
    "recheck_plan",
    "repair_plan",
    "resync_plan",
    "unnoticed_plan",
]


NAMED = 8
"""So often in a row what a backend names is set aside."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry, or a whole object, that the data plane refused in a resync."""

    object: str
    reason: str


class Refused(Exception):  # noqa: N818 -- carries an answer to the one caller that takes the change back
    """A target refused entries of a change, for `reasons` by key; everything programmed before has been taken back."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Work:
    """What one change means for the data plane."""

    before: dict[str, Intent]
    after: dict[str, Intent]
    plan: Plan[Any]
    released: list[Released]
    aside: Sequence[Quarantined] = ()


def change_work(
    backend: Backend[Any],
    config: Config,
    base: Topology,
    topology: Topology,
    changes: Sequence[Change],
    *,
    strict: bool = True,
) -> Work:
    """Derive the touched scopes before and after, compile both and compare: O(change).

    An intent of the new state that the backend cannot keep is a DataplaneError, or set aside if not `strict`.
    """
    scopes = scopes_of(base, (change.before for change in changes if change.before is not None))
    scopes |= scopes_of(topology, (change.after for change in changes if change.after is not None))
    before, after = derive(base, config, scopes), derive(topology, config, scopes)
    desired, aside = (compile_strictly(backend, after.values()), []) if strict else compile_all(backend, after)
    there, absent = compile_all(backend, before)
    never = {one.object for one in absent}
    ended = [item if f"eip:{item.eip_id}" not in never else replace(item, eip_id=None) for item in released(before, after)]
    return Work(before, after, diff(there, desired), ended, aside)


def compile_strictly(backend: Backend[Any], intents: Collection[Intent]) -> dict[str, Any]:
    """Compile intents; DataplaneError for the first that needs what the backend cannot do."""
    for intent in intents:
        missing = needs(intent) - backend.capabilities
        if missing:
            raise DataplaneError(
                f"{intent.id} needs {', '.join(sorted(missing))}, which backend {backend.name} cannot do; "
                "leave it out, or use another backend"
            )
    return backend.compile(intents)


def _compiled(backend: Backend[Any], intents: Mapping[str, Intent]) -> dict[str, Any]:
    """The entries of a state that was accepted once; intents that cannot be kept any more have none."""
    return compile_all(backend, intents)[0]


def compile_all(backend: Backend[Any], intents: Mapping[str, Intent]) -> tuple[dict[str, Any], list[Quarantined]]:
    """Compile everything; intents that the backend cannot keep are set aside."""
    try:
        return compile_strictly(backend, intents.values()), []
    except DataplaneError:
        return _compile_each(backend, intents)


def _compile_each(backend: Backend[Any], intents: Mapping[str, Intent]) -> tuple[dict[str, Any], list[Quarantined]]:
    entries: dict[str, Any] = {}
    aside: list[Quarantined] = []
    for intent in intents.values():
        try:
            entries.update(compile_strictly(backend, [intent]))
        except DataplaneError as error:
            aside.append(Quarantined(intent.id, error.details))
    return entries, aside


def program(backend: Backend[Any], steps: Iterable[TargetPlan[Any]]) -> None:
    """Carry steps out; when one is refused, take the earlier ones back and raise Refused, or OwnedError.

    Raises DataplaneError when a target cannot be reached or its answer was lost; then nothing is taken back.
    """
    done: list[TargetPlan[Any]] = []
    for step in steps:
        try:
            reasons = backend.apply(step)
        except OwnedError:
            _take_back(backend, done)
            raise
        if reasons:
            _take_back(backend, done)
            raise Refused(reasons)
        done.append(step)


def _take_back(backend: Backend[Any], done: Sequence[TargetPlan[Any]]) -> None:
    for step in reversed(done):
        if left := backend.apply(step.inverse()):
            raise DataplaneError(f"target {step.target} refused to take a change back: {_first(left)}")


def _first(reasons: Mapping[str, str]) -> str:
    key, reason = next(iter(reasons.items()))
    return f"{key}: {reason}"


def resync_plan(backend: Backend[Any], config: Config, topology: Topology) -> tuple[Plan[Any], list[Quarantined]]:
    """Compare everything that should be installed with everything that is: O(all)."""
    desired, aside = compile_all(backend, derive(topology, config, all_scopes(topology)))
    return diff(backend.audit(desired), desired), aside


def unnoticed_plan(backend: Backend[Any], config: Config, topology: Topology) -> Plan[Any]:
    """Compare what is installed for VPCs, subnets and uplinks, as far as the backend does not notice its changes: O(subnets)."""
    desired, _ = compile_all(backend, derive(topology, config, wide_scopes(topology)))
    return diff(backend.unnoticed(desired), desired)


def recheck_plan(
    backend: Backend[Any], config: Config, topology: Topology, places: Collection[str]
) -> tuple[Plan[Any], list[Quarantined]]:
    """The plan of a repair of some places, where nothing has come that was not there before."""
    desired, aside = compile_all(backend, derive(topology, config, all_scopes(topology)))
    return diff(backend.recheck(desired, places), desired).repairing(frozenset()), aside


def repair_plan(
    backend: Backend[Any], config: Config, topology: Topology, came: Mapping[str, Intent]
) -> tuple[Plan[Any], list[Quarantined]]:
    """The plan of a resync that is to be carried out, and what the backend cannot keep.

    `came`, by id, is what may never have been installed yet; whatever else is missing was there before.
    """
    plan, aside = resync_plan(backend, config, topology)
    return plan.repairing(frozenset(_compiled(backend, came))), aside


def in_order(backend: Backend[Any], plan: Plan[Any]) -> tuple[list[TargetPlan[Any]], list[TargetPlan[Any]]]:
    """The steps of a plan: those to begin with, and those that are `last`."""
    steps = list(backend.steps(plan))
    return [step for step in steps if not step.last], [step for step in steps if step.last]


def program_what_can(backend: Backend[Any], steps: Iterable[TargetPlan[Any]]) -> list[Quarantined]:
    """Carry steps out without what is refused, and return that.

    Raises DataplaneError when a target cannot be reached or its answer was lost.
    """
    aside: list[Quarantined] = []
    for step in steps:
        refused = dict(_apply_what_can(backend, step))
        aside += [Quarantined(key, reason) for key, reason in refused.items()]
    return aside


def _apply_what_can(backend: Backend[Any], step: TargetPlan[Any], named: int = NAMED) -> Iterable[tuple[str, str]]:
    """Apply a step without the entries that are refused, finding them by halves where the backend cannot tell.

    So they are, too, when what it named was set aside `named` times: it may name one of many at a time, and each time all
    others are sent again.
    """
    reasons = backend.apply(step)
    if not reasons:
        return
    rest = step.without(frozenset(reasons))
    if len(rest) and named:
        yield from reasons.items()
        yield from _apply_what_can(backend, rest, named - 1)
    elif len(step) == 1:
        yield from reasons.items()
    else:
        for half in _halves(step):
            yield from _apply_what_can(backend, half)


def _halves(step: TargetPlan[Any]) -> tuple[TargetPlan[Any], TargetPlan[Any]]:
    keys = [entry.key for entry in (*step.create, *(new for _, new in step.replace), *step.delete)]
    first = frozenset(keys[: len(keys) // 2])
    return step.without(frozenset(keys) - first), step.without(first)
