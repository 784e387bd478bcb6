"""What the benchmarks share: scales, spreads, a loop by which machines and moments are compared, and where figures go."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, ParamSpec

__all__ = ["Report", "beside", "scale", "timed"]

P = ParamSpec("P")

_UNITS: Final = {"k": 1_000, "M": 1_000_000}
_LOOP: Final = 200_000
_COLUMNS: Final = ("scale", "what", "unit", "n", "min", "p50", "p99", "max", "value", "goal")


def scale(text: str) -> int:
    """Read a scale: `100k`, `1M`, or a number. Raises ValueError."""
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)


def timed(times: list[float], work: Callable[P, object], *arguments: P.args, **options: P.kwargs) -> None:
    """Do some work, and add the seconds that it took."""
    begun = time.perf_counter()
    work(*arguments, **options)
    times.append(time.perf_counter() - begun)


def beside(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times the median of mine is the median of theirs."""
    return round(median(mine) / median(theirs), 2)


class Report:
    """Rows of figures: each printed as a line of JSON when it is known, all of them as tables in the end.

    `machine_ms` in a row is the median of a loop of 200,000 additions, made between the samples of the same part.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._loops: list[float] = []

    def calibrate(self) -> None:
        """Take the time of the loop, here and now."""
        begun = time.perf_counter()
        total = 0
        for number in range(_LOOP):
            total += number
        self._loops.append((time.perf_counter() - begun) * 1e3)

    def samples(self, part: str, scale: int, what: str, seconds: Iterable[float], *, unit: str = "us", goal: str = "") -> None:
        """Say how samples, given in seconds, are spread; `unit` us, ms or s."""
        times = sorted(one * {"us": 1e6, "ms": 1e3, "s": 1}[unit] for one in seconds)
        last = len(times) - 1
        spread = {"min": times[0], "p50": median(times), "p99": times[min(last, len(times) * 99 // 100)], "max": times[last]}
        rounded = {name: float(f"{one:.4g}") for name, one in spread.items()}
        self._row(part, scale=scale, what=what, unit=unit, n=len(times), **rounded, goal=goal)

    def value(self, part: str, scale: int, what: str, value: float, *, unit: str = "times", goal: str = "") -> None:
        """Say one figure: a ratio, a size."""
        self._row(part, scale=scale, what=what, unit=unit, value=float(f"{value:.4g}"), goal=goal)

    def note(self, part: str, scale: int, what: str) -> None:
        """Say what has no figure, and why."""
        self._row(part, scale=scale, what=what)

    def p50(self, part: str, scale: int, what: str) -> float:
        """The median that was said, in its unit."""
        return float(next(row["p50"] for row in self._rows[part] if (row["scale"], row["what"]) == (scale, what)))

    def tables(self) -> str:
        """All rows as Markdown, a table each part."""
        return "\n".join(line for part, rows in self._rows.items() for line in (f"\n## {part}\n", *_table(rows)))

    def _row(self, part: str, **row: Any) -> None:
        row = {name: value for name, value in row.items() if value != ""}
        if self._loops:
            row["machine_ms"] = round(median(self._loops), 2)
        self._rows[part].append(row)
        line = json.dumps({"part": part, **row})
        print(line, flush=True)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(line + "\n")


def _table(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    columns = [name for name in (*_COLUMNS, "machine_ms") if any(name in row for row in rows)]
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(str(row.get(name, '')) for name in columns)} |"
