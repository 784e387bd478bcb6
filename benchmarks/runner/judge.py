"""Two runs compared: what got slower, with the noise taken into account, or why that cannot be said.

What is compared is how long vipnet took beside a reference of the same round: the same work by the bare kernel or switch, or
the loop that its process ran just before. So a machine that is slower as a whole today changes nothing; but where the reference
itself has moved far, nothing is said. Bytes are compared as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from runner.records import Key, Series, undisturbed
from runner.scenario import Scenario
from runner.tables import MINE

__all__ = ["Verdict", "compared", "interval"]

PURE, KERNEL, MOVED = 0.10, 0.25, 0.15
"""From how much on code is slower, the data plane is, and how far a reference may move."""

_RESAMPLES: Final = 2_000
_FEWEST: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one contestant at one scale; `change` 0.1: it takes 10 % longer, between `low` and `high` with 95 %."""

    key: Key
    word: Literal["slower", "faster", "same", "unsaid"]
    change: float = 0.0
    low: float = 0.0
    high: float = 0.0
    reason: str = ""

    def text(self) -> str:
        """A line for people."""
        what = f"{self.key.scenario} at {self.key.scale}, {self.key.contestant}"
        if self.word == "unsaid":
            return f"{what}: not judged, {self.reason}"
        return f"{what}: {self.word}, {self.change:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def compared(
    scenarios: Mapping[str, Scenario], before: Mapping[Key, Series], after: Mapping[Key, Series], *, seed: int = 1
) -> Iterator[Verdict]:
    """Compare whatever both runs have of vipnet."""
    chance = random.Random(seed)
    for key, now in after.items():
        then, scenario = before.get(key), scenarios.get(key.scenario)
        if then is not None and scenario is not None and key.contestant.startswith(MINE):
            yield _judged(scenario, key, (then, now), before, after, chance)


def interval(old: Sequence[float], new: Sequence[float], chance: random.Random) -> tuple[float, float, float]:
    """By how much the median of new ratios differs from that of old ones, and the 95 % interval of that (bootstrap)."""
    changes = sorted(
        median(chance.choices(new, k=len(new))) / median(chance.choices(old, k=len(old))) - 1 for _ in range(_RESAMPLES)
    )
    low, high = changes[_RESAMPLES * 25 // 1000], changes[_RESAMPLES * 975 // 1000]
    return median(new) / median(old) - 1, low, high


def _judged(
    scenario: Scenario,
    key: Key,
    pair: tuple[Series, Series],
    before: Mapping[Key, Series],
    after: Mapping[Key, Series],
    chance: random.Random,
) -> Verdict:
    old, new = (_ratios(scenario, one, all_of) for one, all_of in zip(pair, (before, after), strict=True))
    fewest = 1 if scenario.is_size else _FEWEST
    if min(len(old.ratios), len(new.ratios)) < fewest:
        return Verdict(key=key, word="unsaid", reason=f"fewer than {fewest} rounds")
    moved = new.reference / old.reference - 1
    if abs(moved) > MOVED:
        reason = f"the reference itself moved by {moved:+.0%}: another machine, or a busy one"
        return Verdict(key=key, word="unsaid", reason=reason)
    change, low, high = interval(old.ratios, new.ratios, chance)
    least = PURE if scenario.group == "pure" else KERNEL
    word: Literal["slower", "faster", "same"] = "same"
    if change >= least * _NEARLY and low > 0:
        word = "slower"
    elif change <= -least * _NEARLY and high < 0:
        word = "faster"
    return Verdict(key=key, word=word, change=change, low=low, high=high)


_NEARLY: Final = 0.5
"""This much of the bound counts, if it is no noise: what is slower by just the bound is measured as less every second time."""


@dataclass(frozen=True, slots=True)
class _Ratios:
    ratios: list[float]
    reference: float


def _ratios(scenario: Scenario, series: Series, everybody: Mapping[Key, Series]) -> _Ratios:
    """By round, how long it took beside the reference; and the median of that."""
    loops = {one.round: 1.0 if scenario.is_size else one.loop for one in series.rounds}
    references = loops
    if scenario.reference:
        key = Key(scenario=series.key.scenario, scale=series.key.scale, contestant=scenario.reference)
        theirs = everybody.get(key)
        references = {} if theirs is None else {one.round: undisturbed(one.samples) for one in theirs.rounds}
    both = [(undisturbed(one.samples), references[one.round]) for one in series.rounds if references.get(one.round)]
    reference = median(loops.values()) if not scenario.reference else median(value for _, value in both) if both else 1.0
    return _Ratios([mine / other for mine, other in both], reference)
