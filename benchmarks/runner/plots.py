"""Pictures: growth curves, a line a contestant; and ratios, a bar a peer. Readable in grey, and by those who see few colours."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Any, Final, Literal

from runner.records import Key, Series
from runner.scenario import UNITS, Scenario
from runner.tables import ratio, scale_word

__all__ = ["GREY", "INK", "LOOKS", "THEMES", "Form", "Theme", "canvas", "curves", "ratios", "written"]

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
Form = Literal["svg", "png"]

LOOKS: Final = (
    ("#0080C6", "o", "-"),
    ("#E69F00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#D55E00", "D", ":"),
    ("#CC79A7", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#8A8A8A", "X", "-."),
    ("#A6761D", "*", ":"),
)
"""Colour, mark and dash of each line: the colours of Okabe and Ito, grey and brown, told apart also without colour."""

INK: Final[Mapping[Theme, tuple[str, str]]] = {"light": ("#1b1b1b", "#ffffff"), "dark": ("#e6e6e6", "#16181c")}
"""What is drawn with, and on."""

_FAR: Final = 10
"""So many times smaller than the median the least is drawn at most."""

GREY: Final = "#8a8a8a"


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    scales: Sequence[int]
    values: Sequence[float]
    least: Sequence[float]
    most: Sequence[float]


def curves(scenario: Scenario, series: Mapping[Key, Series], theme: Theme, form: Form = "svg") -> bytes | None:
    """How time grows with the number of EIPs, both axes logarithmic; None where there are not two scales."""
    lines = [line for one in scenario.contestants if (line := _line(scenario, one.name, series)) is not None]
    if not any(len(line.scales) > 1 for line in lines):
        return None
    figure, axes = canvas(theme)
    for line, (colour, mark, dash) in zip(lines, LOOKS * 2, strict=False):
        bars = [[value - low for value, low in zip(line.values, line.least, strict=True)],
                [high - value for value, high in zip(line.values, line.most, strict=True)]]
        style: dict[str, Any] = {"color": colour, "marker": mark, "linestyle": dash, "capsize": 3, "linewidth": 1.8}
        axes.errorbar(line.scales, line.values, yerr=bars, label=line.name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_plain)
    ticker: Any = import_module("matplotlib.ticker")
    axes.yaxis.set_minor_formatter(ticker.LogFormatter(minor_thresholds=(1, 0.5)))  # numbers, where they span no decade
    ticks = sorted({scale for line in lines for scale in line.scales})
    axes.set_xticks(ticks, [scale_word(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("EIPs")
    axes.set_ylabel(f"{scenario.unit} for {scenario.per}")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, labelcolor=INK[theme][0])
    return written(figure, f"{scenario.id}: {scenario.about}", form)


def ratios(scenario: Scenario, series: Mapping[Key, Series], theme: Theme, form: Form = "svg") -> bytes | None:
    """How many times vipnet's time each peer takes, at the largest scale that both did; None without a peer."""
    found = list(_ratios(scenario, series))
    if not found:
        return None
    figure, axes = canvas(theme, height=0.8 + 0.45 * len(found))
    names = [f"{name} ({scale_word(scale)})" for name, scale, _ in found]
    values = [value for _, _, value in found]
    colours = [LOOKS[0][0] if value >= 1 else LOOKS[1][0] for value in values]
    bars = axes.barh(names, [value - 1 for value in values], left=1, color=colours, height=0.6)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("" if value >= 1 else "//")
        side = {"ha": "left"} if value >= 1 else {"ha": "right"}
        axes.text(value, bar.get_y() + bar.get_height() / 2, f" {value:.3g} ", va="center", color=INK[theme][0], **side)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *values) / 4, max(2.0, *values) * 2)
    axes.xaxis.set_major_formatter(_plain)
    axes.xaxis.set_minor_formatter(_nothing)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.invert_yaxis()
    what = "memory (more: vipnet takes less)" if scenario.is_size else "time (more: vipnet is faster)"
    axes.set_xlabel(f"times vipnet's {what}")
    return written(figure, f"{scenario.id}, beside vipnet", form)


def _ratios(scenario: Scenario, series: Mapping[Key, Series]) -> Iterable[tuple[str, int, float]]:
    for contestant in scenario.contestants[1:]:
        scales = (key.scale for key in series if (key.scenario, key.contestant) == (scenario.id, contestant.name))
        for scale in sorted(scales, reverse=True):
            if (times := ratio(scenario, contestant.name, scale, series)) is not None:
                yield contestant.name, scale, times
                break


def _line(scenario: Scenario, name: str, series: Mapping[Key, Series]) -> _Line | None:
    mine = {key.scale: one for key, one in series.items() if (key.scenario, key.contestant) == (scenario.id, name)}
    if not mine:
        return None
    unit, scales = UNITS[scenario.unit], sorted(mine)
    medians = [sorted(value * unit for value in mine[scale].medians) for scale in scales]
    values = [median(some) for some in medians]
    if min(values) <= 0:  # a difference that the noise is larger than has no place on a logarithmic axis
        return None
    least = [max(some[0], value / _FAR) for some, value in zip(medians, values, strict=True)]
    return _Line(name, scales, values, least, [some[-1] for some in medians])


def _plain(value: float, _: int | None) -> str:
    return f"{value:g}"


def _nothing(_value: float, _: int | None) -> str:
    return ""


def canvas(theme: Theme, height: float = 3.6) -> tuple[Any, Any]:
    """A figure of a height in inches, and its axes."""
    ink, paper = INK[theme]
    module: Any = import_module("matplotlib.figure")  # 0.3 s, for who draws alone
    figure = module.Figure(figsize=(7.2, height), layout="constrained", facecolor=paper)
    axes = figure.add_subplot(facecolor=paper)
    axes.tick_params(colors=ink, which="both")
    for spine in axes.spines.values():
        spine.set_color(GREY)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.6)
    return figure, axes


def written(figure: Any, title: str, form: Form) -> bytes:
    """A figure as a file, the same each time."""
    matplotlib: Any = import_module("matplotlib")
    octets = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "vipnet", "svg.fonttype": "none"}):
        figure.savefig(octets, format=form, dpi=120, metadata={"Title": title} | ({"Date": None} if form == "svg" else {}))
    return octets.getvalue()
