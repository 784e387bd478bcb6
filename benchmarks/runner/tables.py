"""Figures for people: a table a scenario, in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from runner.records import Absence, Key, Series
from runner.scenario import UNITS, Contestant, Scenario

__all__ = ["MINE", "ratio", "scale_word", "tables"]

MINE: Final = "vipnet"
"""How the names of contestants begin that are ours."""


def tables(scenarios: Mapping[str, Scenario], series: Mapping[Key, Series], absences: Collection[Absence]) -> str:
    """All of it."""
    return "\n".join(line for one in scenarios.values() for line in table(one, series, absences))


def table(scenario: Scenario, series: Mapping[Key, Series], absences: Collection[Absence]) -> list[str]:
    """The lines of one scenario; none where nothing is known of it."""
    scales = sorted({key.scale for key in series if key.scenario == scenario.id})
    missing = [one for one in absences if one.key.scenario == scenario.id]
    if not scales and not missing:
        return []
    rows = [row for scale in scales for row in _rows(scenario, scale, series)]
    head = ["EIPs", "contestant", f"median, {scenario.unit}", "min", "p99", "worst", "rounds", "times vipnet's", "goal"]
    lines = [f"\n### {scenario.id}\n", f"{scenario.about}; {scenario.unit} for {scenario.per}\n"]
    lines += [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    lines += [f"\n{one.key.contestant} at {scale_word(one.key.scale)}: {one.reason}" for one in missing]
    return lines


def _rows(scenario: Scenario, scale: int, series: Mapping[Key, Series]) -> Iterator[list[str]]:
    for contestant in scenario.contestants:
        key = Key(scenario=scenario.id, scale=scale, contestant=contestant.name)
        if (one := series.get(key)) is not None:
            yield [scale_word(scale), contestant.name, *_figures(scenario, one), *_beside(scenario, contestant, scale, series)]


def _figures(scenario: Scenario, one: Series) -> list[str]:
    samples = [sample * UNITS[scenario.unit] for sample in one.samples]
    last = len(samples) - 1
    spread = median(samples), samples[0], samples[min(last, len(samples) * 99 // 100)], samples[-1]
    return [*(f"{figure:.4g}" for figure in spread), str(len(one.rounds))]


def _beside(scenario: Scenario, contestant: Contestant, scale: int, series: Mapping[Key, Series]) -> list[str]:
    times = ratio(scenario, contestant.name, scale, series)
    goal = scenario.goals.get(contestant.name)
    wanted = "" if goal is None else f">= {1 / goal:.3g}"
    return ["" if times is None else f"{times:.3g}", wanted]


def ratio(scenario: Scenario, name: str, scale: int, series: Mapping[Key, Series]) -> float | None:
    """How many times the first contestant's time another one takes: the median of the ratios of rounds; None: not known."""
    mine, theirs = (
        series.get(Key(scenario=scenario.id, scale=scale, contestant=one)) for one in (scenario.contestants[0].name, name)
    )
    if mine is None or theirs is None or name.startswith(MINE):
        return None
    return _ratio(mine, theirs)


def _ratio(mine: Series, theirs: Series) -> float | None:
    by_round = {one.round: median(one.samples) for one in mine.rounds}
    both: Sequence[float] = [median(one.samples) / by_round[one.round] for one in theirs.rounds if by_round.get(one.round)]
    return median(both) if both else None


def scale_word(scale: int) -> str:
    """`100k` for 100,000."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if scale >= size and not scale % size:
            return f"{scale // size}{letter}"
    return str(scale)
