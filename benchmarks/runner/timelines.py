"""Pictures of fail-overs: a strip a round, which says when who answered, and when nobody did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from runner.plots import GREY, INK, LOOKS, Form, Theme, canvas, written
from runner.records import Key, Moment, Record, Series
from runner.scenario import Scenario

__all__ = ["Spell", "spells", "timelines"]

_APART: Final = 0.06
"""Seconds: answers that are further apart than three requests have nobody between them."""

_THIN: Final = 0.003
"""Of the width, for a single answer."""

_HATCHES: Final = ("", "////", "....")
_ROW, _BETWEEN, _REST = 0.2, 0.6, 1.3
"""Inches of a strip, strips between two contestants, inches of what is around them."""


@dataclass(frozen=True, slots=True)
class Spell:
    """Somebody answered all the time: from the first answer to the last, in seconds."""

    who: str
    first: float
    last: float


def spells(timeline: Sequence[Moment]) -> list[Spell]:
    """Put together the answers of one server that follow each other."""
    found: list[Spell] = []
    alone = True
    for seconds, who in timeline:
        if who and not alone and found[-1].who == who and seconds - found[-1].last <= _APART:
            found[-1] = Spell(who, found[-1].first, seconds)
        elif who:
            found.append(Spell(who, seconds, seconds))
        alone = not who
    return found


def timelines(scenario: Scenario, series: Mapping[Key, Series], theme: Theme, form: Form = "svg") -> bytes | None:
    """Who answered when, round by round, around what was done to them; None where no round says it."""
    rows = list(_rows(scenario, series))
    if not rows:
        return None
    ink = INK[theme][0]
    figure, axes = canvas(theme, height=_REST + _ROW * (rows[-1].at + 1))
    styles = _styles(rows)
    for row in rows:
        _strip(axes, row, styles, ink)
    axes.axvline(0, color=ink, linewidth=1.2, linestyle=":")
    names = dict.fromkeys(row.name for row in rows)
    axes.set_yticks([_middle(rows, name) for name in names], list(names))
    axes.set_ylim(rows[-1].at + 0.8, -0.8)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.02)
    axes.set_xlabel(f"seconds from the event, {scenario.name}; at the right the longest time without an answer")
    figure.legend(handles=_legend(styles, ink), loc="outside upper left", ncols=4, frameon=False, labelcolor=ink)
    return written(figure, f"{scenario.id}: who answered when", form)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    at: float
    record: Record


def _rows(scenario: Scenario, series: Mapping[Key, Series]) -> Iterator[_Row]:
    at = 0.0
    for contestant in scenario.contestants:
        found = (one for key, one in series.items() if (key.scenario, key.contestant) == (scenario.id, contestant.name))
        records = [record for one in found for record in one.rounds if record.timeline]
        for record in records:
            yield _Row(contestant.name, at, record)
            at += 1
        at += _BETWEEN if records else 0


def _middle(rows: Sequence[_Row], name: str) -> float:
    mine = [row.at for row in rows if row.name == name]
    return (mine[0] + mine[-1]) / 2


def _styles(rows: Sequence[_Row]) -> Mapping[str, Mapping[str, Any]]:
    """By server: in every picture the same."""
    servers = sorted({who for row in rows for _, who in row.record.timeline if who})
    looks = zip(servers, LOOKS * 3, _HATCHES * 5, strict=False)
    return {who: {"facecolor": colour, "hatch": hatch, "linewidth": 0} for who, (colour, _, _), hatch in looks}


def _strip(axes: Any, row: _Row, styles: Mapping[str, Mapping[str, Any]], ink: str) -> None:
    first, last = min(0.0, row.record.timeline[0][0]), row.record.timeline[-1][0]
    axes.plot([first, last], [row.at, row.at], color=GREY, linewidth=1, zorder=1)
    for spell in spells(row.record.timeline):
        width = max(_THIN * (last - first), spell.last - spell.first)
        axes.broken_barh([(spell.first, width)], (row.at - 0.36, 0.72), edgecolor=ink, zorder=2, **styles[spell.who])
    beside = {"xycoords": ("axes fraction", "data"), "annotation_clip": False, "va": "center"}
    axes.annotate(f"{max(row.record.samples) * 1e3:.3g} ms", (1.01, row.at), color=ink, fontsize=8, **beside)


def _legend(styles: Mapping[str, Mapping[str, Any]], ink: str) -> list[Any]:
    patches: Any = import_module("matplotlib.patches")
    lines: Any = import_module("matplotlib.lines")
    nobody = lines.Line2D([], [], color=GREY, linewidth=1, label="nobody answers")
    event = lines.Line2D([], [], color=ink, linewidth=1.2, linestyle=":", label="the event")
    return [*(patches.Patch(edgecolor=ink, label=who, **style) for who, style in styles.items()), nobody, event]
