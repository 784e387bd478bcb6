"""What becomes of a step when the data plane refuses some of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plane import DictBackend

from vipnet.plan import TargetPlan
from vipnet.reconcile import NAMED, program_what_can


@dataclass(frozen=True, slots=True)
class Thing:
    number: int

    @property
    def target(self) -> str:
        return "switch"

    @property
    def key(self) -> str:
        return f"thing {self.number}"

    @property
    def text(self) -> str:
        return self.key


class Switch(DictBackend):
    """Refuses what is bad, and names the first so many of it."""

    def __init__(self, bad: set[str], names: int) -> None:
        super().__init__()
        self._bad, self._names = bad, names
        self.sent = 0

    def apply(self, step: TargetPlan[Thing]) -> Mapping[str, str]:  # type: ignore[override]
        self.sent += len(step.create)
        if refused := [entry.key for entry in step.create if entry.key in self._bad]:
            named = refused[: self._names] if self._names else [entry.key for entry in step.create]
            return dict.fromkeys(named, "no room")
        self.installed.update({entry.key: entry for entry in step.create})  # type: ignore[misc]
        return {}


def offered(count: int, bad: set[int], names: int) -> tuple[Switch, set[str]]:
    switch = Switch({f"thing {number}" for number in bad}, names)
    found = program_what_can(switch, [TargetPlan("switch", create=tuple(map(Thing, range(count))))])
    assert len(found) == len({one.object for one in found})
    return switch, {one.object for one in found}


@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(0, 3))
def test_what_is_refused_is_set_aside_and_nothing_else(count: int, bad: set[int], names: int) -> None:
    """Whether all of it is named, or one at a time, or it is only said that something is bad."""
    switch, aside = offered(count, bad, names)
    assert aside == {f"thing {number}" for number in bad if number < count}
    assert {*switch.installed} | aside == {f"thing {number}" for number in range(count)}


@pytest.mark.parametrize("names", [0, 1])
def test_many_that_are_refused_cost_no_round_each(names: int) -> None:
    """One at a time, each would send ten thousand others again."""
    bad = set(range(3_000, 5_000))
    switch, aside = offered(10_000, bad, names)
    assert len(aside) == 2_000
    assert switch.sent < 10_000 * (NAMED + 1) * 14  # at each halving a few rounds of everything
    few, _ = offered(10_000, {17}, 1)
    assert few.sent == 10_000 + 9_999
