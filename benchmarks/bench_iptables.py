"""iptables with up to 100,000 EIPs: vipnet beside the restore programs with the same rules, `iptables -A` and a list."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from figures import Report, beside, scale, timed
from nft_packets import flows_through
from nft_scene import Scene

from vipnet.backend import Backend, BackendContext
from vipnet.plan import TargetPlan
from vipnet_iptables import IptablesBackend
from vipnet_kernel.namespaces import entered

_PARTS: Final = ("cold", "more", "resync", "flows")
_REPEATS: Final = {"cold": 3, "more": 20, "resync": 3, "flows": 5}
_FEW: Final = 100
_LONG: Final = 10_000
"""Of a longer list of rules a packet takes so long that nobody waits for it."""


class IptablesScene(Scene):
    """The scene of the nftables benchmark, programmed by iptables."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        super().__init__()

    @property
    def identity(self) -> str:
        return f"{self.space} iptables"

    def opened(self) -> Backend[Any]:
        return IptablesBackend(BackendContext(options={"namespace": self.space, "variant": self.variant}))

    def run(self, *argv: str, text: str | None = None) -> str:
        """Run a program in the router. Exits when it fails."""
        with entered(self.router):
            done = subprocess.run(list(argv), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv)[:80]}: {done.stderr[:300]}, status {done.returncode}")
        return done.stdout

    def saved(self) -> str:
        """The rules of the router, as a file for the restore program."""
        return self.run(f"iptables-{self.variant}-save")

    def restore(self, text: str, *options: str) -> None:
        """What somebody without vipnet does."""
        self.run(f"iptables-{self.variant}-restore", "-w", "10", *options, text=text)

    def put_list(self, count: int) -> None:
        """Put a list of so many DNAT rules before ours, one an EIP, as those make it who have no tree."""
        rules = [f"-A LIST -d 21.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 -j DNAT --to-destination 10.0.0.1" for n in range(count)]
        self.restore("\n".join(["*nat", ":LIST - [0:0]", *rules, "-I PREROUTING 1 -j LIST", "COMMIT", ""]), "--noflush")


def cold(report: Report, eips: int, repeats: int, variant: str) -> None:
    """From intents to committed, into a router without EIPs; the restore program with the same rules, into the same."""
    ours, theirs, compiled = list[float](), list[float](), list[float]()
    for _ in range(repeats):
        with IptablesScene(variant) as scene:
            bare = scene.saved()
            report.calibrate()
            begun = time.perf_counter()
            steps = scene.steps({}, scene.backend.compile(scene.mappings(0, eips)))
            compiled.append(time.perf_counter() - begun)
            scene.carry_out(steps)
            ours.append(time.perf_counter() - begun)
            scene.reopen()  # what it has yet to announce is no matter of rules
            full = scene.saved()
            scene.restore(bare)
            report.calibrate()
            timed(theirs, scene.restore, full)
    report.samples("cold", eips, f"vipnet: compile, compare, apply ({variant})", ours, unit="ms")
    report.samples("cold", eips, f"of that compile and compare ({variant})", compiled, unit="ms")
    report.samples("cold", eips, f"iptables-restore of the same rules ({variant})", theirs, unit="ms")
    report.value("cold", eips, f"vipnet / iptables-restore ({variant})", beside(ours, theirs), goal="<= 1.3")


def more(report: Report, eips: int, repeats: int, variant: str) -> None:
    """One more EIP, and one less; one line by the restore program in each of the same two tables, and by `iptables -A`."""
    times: dict[str, list[float]] = {name: [] for name in ("more", "less", "bare", "one")}
    with IptablesScene(variant) as scene:
        scene.program(scene.backend.compile(scene.mappings(0, eips)))
        scene.run(f"iptables-{variant}", "-w", "-t", "nat", "-N", "BENCH")
        scene.backend.read()
        for number in range(eips, eips + repeats):
            report.calibrate()
            entries = scene.backend.compile(scene.mappings(number, number + 1))
            timed(times["more"], scene.carry_out, scene.steps({}, entries))
            timed(times["less"], _taken_away, scene, scene.steps(entries, {}))
        for number in range(eips, eips + repeats):  # of others' changes we read what they did, so they come after ours
            report.calibrate()
            line = f"-A BENCH -d 198.51.{number >> 8 & 255}.{number & 255}/32 -j DNAT --to-destination 10.0.0.9"
            bare = f"*nat\n{line}\nCOMMIT\n*mangle\n-A INPUT -d 198.51.100.1/32\nCOMMIT\n"
            timed(times["bare"], scene.restore, bare, "--noflush")
            timed(times["one"], scene.run, f"iptables-{variant}", "-w", "-t", "nat", *line.split())
    for name, label in (("more", "vipnet, one more"), ("less", "vipnet, one less")):
        report.samples("more", eips, f"{label} ({variant})", times[name], unit="ms")
    report.samples("more", eips, f"iptables-restore, a line in each table ({variant})", times["bare"], unit="ms")
    report.samples("more", eips, f"iptables -A, one rule of those that it takes ({variant})", times["one"], unit="ms")
    report.value("more", eips, f"vipnet / bare restore ({variant})", beside(times["more"], times["bare"]), goal="<= 1.2")


def _taken_away(scene: Scene, steps: Sequence[TargetPlan[Any]]) -> None:
    scene.carry_out(steps)


def resync(report: Report, eips: int, repeats: int, variant: str) -> None:
    """Everything read, and compared with what should be."""
    times = list[float]()
    with IptablesScene(variant) as scene:
        entries = scene.backend.compile(scene.mappings(0, eips))
        scene.program(entries)
        for _ in range(repeats):
            report.calibrate()
            timed(times, scene.backend.audit, entries)
    report.samples("resync", eips, f"read and compared ({variant})", times, unit="ms")


def flows(report: Report, eips: int, repeats: int, variant: str) -> None:
    """A new flow through the tree, with few EIPs and with all; and through a list of rules, the one that it needs at its end."""
    medians = dict[int, float]()
    for count in dict.fromkeys((_FEW, eips)):
        with IptablesScene(variant) as scene:
            scene.program(scene.backend.compile(scene.mappings(0, count)))
            scene.reopen()
            medians[count] = flows_through(report, scene, count, repeats, what=f" ({variant})")
            if count == eips <= _LONG:
                scene.put_list(eips)
                flows_through(report, scene, count, repeats, what=f" behind a list of as many rules ({variant})")
    ratio = round(medians[eips] / medians[_FEW], 2)
    report.value("flows", eips, f"a new flow / with {_FEW} EIPs ({variant})", ratio, goal="<= 1.5")


_WORK: Final = {"cold": cold, "more": more, "resync": resync, "flows": flows}


def run(report: Report, eips: int, parts: Collection[str], variants: Sequence[str], repeats: int | None) -> None:
    """Do some parts at one scale."""
    for variant in variants:
        for part in parts:
            _WORK[part](report, eips, repeats or _REPEATS[part], variant)


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := {*parts} - {*_PARTS}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    return parts


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)


def main() -> None:
    """Print one JSON line a figure, then tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=scale, action="append", help="EIPs: 1k, 10k, 100k or a number; may be repeated")
    parser.add_argument("--only", type=_parts, default=list(_PARTS), help=f"parts, by commas, of {', '.join(_PARTS)}")
    parser.add_argument("--variant", choices=("legacy", "nft"), action="append", help="programs of one variant alone")
    parser.add_argument("--repeats", type=int, help="samples of whatever is measured, instead of each part's own number")
    parser.add_argument("--json", type=Path, help="add the lines to this file too")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("it makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, _end)  # so that nothing is left behind
    report = Report(options.json)
    try:
        for eips in options.scale or [1_000]:
            run(report, eips, options.only, options.variant or ["legacy", "nft"], options.repeats)
    finally:
        print(report.tables())


if __name__ == "__main__":
    main()
