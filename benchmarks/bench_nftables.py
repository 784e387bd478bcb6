"""nftables with up to a million EIPs: vipnet beside the program nft and beside the bare kernel, in namespaces of their own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import nft_clouds
import nft_packets
import nft_programs
from figures import Report, scale

_CLOUDS: Final = ("resync", "verbs", "release")
"""Parts that share a cloud."""
_ALONE: Final[dict[str, Callable[[Report, int, int], None]]] = {
    "cold": nft_programs.cold,
    "more": nft_programs.more,
    "memory": nft_programs.memory,
    "flows": nft_packets.flows,
    "growth": nft_packets.growth,
    "vpcs": nft_clouds.vpcs,
}
_REPEATS: Final = {"cold": 7, "more": 500, "memory": 3, "flows": 5, "growth": 3, "vpcs": 200, "clouds": 200}
_MOST: Final = 100_000
"""Beyond so many EIPs some parts take minutes, and are done only if named."""
_LONG: Final = frozenset({*_CLOUDS, "vpcs", "growth"})


def run(report: Report, eips: int, parts: list[str] | None, repeats: int | None) -> None:
    """Do some parts, or those that take no minutes, at one scale."""
    wanted = parts or [part for part in (*_ALONE, *_CLOUDS) if eips <= _MOST or part not in _LONG]
    if parts is None and eips > _MOST:
        print(f"left out at {eips}, for they take minutes; name them with --only: {', '.join(sorted(_LONG))}", file=sys.stderr)
    for part, work in _ALONE.items():
        if part in wanted:
            usual = max(1, _REPEATS[part] // 3) if eips > _MOST and part in ("cold", "memory") else _REPEATS[part]
            work(report, eips, repeats or usual)
    if chosen := [part for part in _CLOUDS if part in wanted]:
        nft_clouds.clouds(report, eips, repeats or _REPEATS["clouds"], chosen)


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := {*parts} - {*_ALONE, *_CLOUDS}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; there are {', '.join((*_ALONE, *_CLOUDS))}")
    return parts


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)


def main() -> None:
    """Print one JSON line a figure, then tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=scale, action="append", help="EIPs: 1k, 10k, 100k, 1M or a number; may be repeated")
    parser.add_argument("--only", type=_parts, help=f"parts, by commas, of {', '.join((*_ALONE, *_CLOUDS))}")
    parser.add_argument("--repeats", type=int, help="samples of whatever is measured, instead of each part's own number")
    parser.add_argument("--json", type=Path, help="add the lines to this file too")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("it makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, _end)  # so that nothing is left behind
    report = Report(options.json)
    try:
        for eips in options.scale or [10_000]:
            run(report, eips, options.only, options.repeats)
        if options.scale and len(options.scale) > 1 and "more" in (options.only or ["more"]):
            nft_programs.flatness(report, min(options.scale), max(options.scale))
    finally:
        print(report.tables())


if __name__ == "__main__":
    main()
