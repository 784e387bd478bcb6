"""The report: one HTML page that needs nothing else, with pictures beside it as SVG and PNG."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from runner.plots import THEMES, Form, Theme, curves, ratios
from runner.records import Absence, Key, Series
from runner.scenario import Scenario
from runner.tables import table
from runner.timelines import timelines

__all__ = ["write_report"]

_Draw = Callable[[Scenario, Mapping[Key, Series], Theme, Form], bytes | None]
_PICTURES: Final[Mapping[str, _Draw]] = {"growth": curves, "ratios": ratios, "timeline": timelines}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #d0d0d0; --soft: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --line: #3a3d44; --soft: #20232a; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; }
table { border-collapse: collapse; display: block; font-variant-numeric: tabular-nums; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
th { background: var(--soft); }
img { height: auto; max-width: 100%; }
nav a { margin-right: .8rem; }
.missing { opacity: .75; }
"""


def write_report(
    folder: Path,
    scenarios: Mapping[str, Scenario],
    machine: Mapping[str, Any],
    series: Mapping[Key, Series],
    absences: Collection[Absence],
) -> Path:
    """Write `report.html` and the pictures into a folder; return the page. Needs matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    body = "".join(_section(folder, one, series, absences) for one in scenarios.values() if table(one, series, absences))
    links = "".join(f'<a href="#{escape(id)}">{escape(id)}</a>' for id, one in scenarios.items() if table(one, series, absences))
    page = folder / "report.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>vipnet benchmarks</title><style>{_STYLE}</style><h1>vipnet benchmarks</h1>{_machine(machine)}<nav>{links}</nav>"
        f"<main>{body}</main></html>\n"
    )
    return page


def _machine(machine: Mapping[str, Any]) -> str:
    tools = ", ".join(f"{name}: {version}" for name, version in machine.get("tools", {}).items())
    facts = f"{machine.get('processor', '')}, {machine.get('cores', '?')} cores; {machine.get('system', '')}"
    return (
        f"<p>{escape(facts)}; Python {escape(str(machine.get('python', '')))}; load {machine.get('load', 0):.2f} at first. "
        f"{escape(tools)}</p><p>Medians of rounds in which all contestants took turns, each in a process and a network of its "
        "own; <em>floor</em> is the kernel or the switch with the very bytes that vipnet sends.</p>"
    )


def _section(folder: Path, scenario: Scenario, series: Mapping[Key, Series], absences: Collection[Absence]) -> str:
    about = f"<p>{escape(scenario.about)}; {escape(scenario.unit)} for {escape(scenario.per)}.</p>"
    pictures = "".join(_picture(folder, scenario, series, name, draw) for name, draw in _PICTURES.items())
    rows = "".join(_lines(table(scenario, series, absences)))
    return f'<section id="{escape(scenario.id)}"><h2>{escape(scenario.id)}</h2>{about}{pictures}{rows}</section>'


def _picture(folder: Path, scenario: Scenario, series: Mapping[Key, Series], name: str, draw: _Draw) -> str:
    drawn = {theme: octets for theme in THEMES if (octets := draw(scenario, series, theme, "svg")) is not None}
    if len(drawn) < len(THEMES):
        return ""
    (folder / f"{scenario.id}.{name}.svg").write_bytes(drawn["light"])
    if (png := draw(scenario, series, "light", "png")) is not None:
        (folder / f"{scenario.id}.{name}.png").write_bytes(png)
    light, dark = (f"data:image/svg+xml;base64,{base64.b64encode(drawn[theme]).decode()}" for theme in THEMES)
    alt = escape(f"{name} of {scenario.id}: {scenario.about}")
    return f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}"><img src="{light}" alt="{alt}"></picture>'


def _lines(markdown: Collection[str]) -> Iterator[str]:
    """The table of a scenario, from Markdown to HTML: its lines that begin with a bar, and who is missing."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("|")]
    if rows:
        head, _, *body = rows
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        yield f"<table><thead><tr>{cells}</tr></thead><tbody>"
        yield from ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        yield "</tbody></table>"
    notes = (line.strip() for line in markdown if line.startswith("\n") and "#" not in line)
    yield from (f'<p class="missing">{escape(note)}</p>' for note in notes)
