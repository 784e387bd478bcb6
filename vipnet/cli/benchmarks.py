"""The benchmarks, which are in a checkout alone."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr, stdout
from typing import Final

import vipnet
from vipnet.cli.output import show
from vipnet.cli.settings import Settings
from vipnet.cli.shapes import Measured
from vipnet.errors import NotSupportedError

__all__ = ["bench"]

_RECORDS: Final = "build/bench/records.jsonl"


def bench(
    settings: Settings,
    *,
    profile: str | None = None,
    only: str | None = None,
    backends: Sequence[str] = (),
    scales: Sequence[str] = (),
    peers: Sequence[str] = (),
    json: str = _RECORDS,
    compare: str | None = None,
    minutes: str | None = None,
) -> int:
    """Measure vipnet beside others; where that is a run that went on, what was known already is not measured again."""
    if settings.dry_run:
        raise NotSupportedError("bench has no --dry-run: it builds namespaces of its own and programs them")
    records = Path(json)
    words = ["--json", str(records), "--report", str(records.parent)]
    single = {"--profile": profile, "--only": only, "--compare": compare, "--minutes": minutes}
    words += [word for name, value in single.items() if value is not None for word in (name, value)]
    several = {"--backend": backends, "--scale": scales, "--peer": peers}
    words += [word for name, values in several.items() for one in values for word in (name, one)]
    main = runpy.run_path(str(_program()))["main"]
    with redirect_stdout(stderr if settings.output == "json" else stdout):
        status = int(main(words))
    show(Measured(records=str(records), report=str(records.parent / "report.html")), output=settings.output)
    return status


def _program() -> Path:
    folder = Path(vipnet.__file__).resolve().parent.parent
    program = folder / "benchmarks" / "run.py"
    if not program.exists():
        raise NotSupportedError(
            f"the benchmarks are not in {folder}: they are part of a checkout of vipnet; run vipnet bench, or make bench, there"
        )
    return program
