"""Open vSwitch with up to 100,000 EIPs: vipnet beside ovs-ofctl, os-ken's encoder and the bare switch, in a lab of its own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from figures import Report, beside, scale, timed
from ovs_switch import Scene, filled, os_ken_messages, replay, resident, text_of

from vipnet.plan import TargetPlan, diff
from vipnet_ovs.flows import Flow

_PARTS: Final = ("cold", "more", "resync", "flows")
_REPEATS: Final = {"cold": 5, "more": 300, "resync": 5, "flows": 5}
_FEW: Final = 20_000
"""Flows of which os-ken's encoder is timed: the rest would take as long each."""


def cold(report: Report, eips: int, repeats: int) -> None:
    """From intents to committed, into the pipeline without EIPs; ovs-ofctl with the same flows; the switch with our bytes."""
    times: dict[str, list[float]] = {name: [] for name in ("vipnet", "compile", "floor", "bundle", "add-flows")}
    lines = ""
    with Scene() as scene:
        for repeat in range(repeats):
            report.calibrate()
            before = resident(scene.pid)
            sent = _ours(scene, eips, times["vipnet"], times["compile"])
            if repeat == 0:
                report.value("cold", eips, "memory of the switch for them", (resident(scene.pid) - before) / 1e6, unit="MB")
                lines = text_of(scene.ofctl("dump-flows", "--no-stats"))
            scene.empty()
            report.calibrate()
            timed(times["floor"], replay, scene.socket, sent)
            scene.empty()
            _by_ofctl(scene, lines, times, slowly=eips <= 10_000 or repeat == 0)
    flows = _flows(scene.mappings(eips))
    report.samples("cold", eips, "vipnet: compile, compare, apply", times["vipnet"], unit="ms")
    report.samples("cold", eips, "of that compile and compare", times["compile"], unit="ms")
    report.value("cold", eips, "flows a second", len(flows) / sorted(times["vipnet"])[len(times["vipnet"]) // 2], unit="1/s")
    for name, label in (("floor", "floor"), ("bundle", "ovs-ofctl --bundle add-flows"), ("add-flows", "ovs-ofctl add-flows")):
        report.samples("cold", eips, label, times[name], unit="ms")
    report.value("cold", eips, "vipnet / floor", beside(times["vipnet"], times["floor"]), goal="<= 1.5")
    report.value("cold", eips, "ovs-ofctl --bundle / vipnet", beside(times["bundle"], times["vipnet"]), goal=">= 2")
    report.value("cold", eips, "ovs-ofctl add-flows / vipnet", beside(times["add-flows"], times["vipnet"]))
    _encoders(report, eips, flows)


def _ours(scene: Scene, eips: int, times: list[float], compiled: list[float]) -> bytes:
    intents, begun = scene.mappings(eips), time.perf_counter()
    plan = diff({}, scene.backend.compile(intents))
    compiled.append(time.perf_counter() - begun)
    with scene.recorded() as sent:
        for step in scene.backend.steps(plan):
            if refused := scene.backend.apply(step):
                sys.exit(f"refused: {refused}")
    times.append(time.perf_counter() - begun)
    return b"".join(sent)


def _by_ofctl(scene: Scene, lines: str, times: dict[str, list[float]], *, slowly: bool) -> None:
    timed(times["bundle"], scene.ofctl, "--bundle", "add-flows", text=lines)
    scene.empty()
    if slowly:
        timed(times["add-flows"], scene.ofctl, "add-flows", text=lines)
        scene.empty()


def _encoders(report: Report, eips: int, flows: Sequence[Flow]) -> None:
    few = flows[:_FEW]
    ours = list[float]()
    timed(ours, filled, few)
    report.value("cold", eips, "vipnet encodes, flows a second", len(few) / ours[0], unit="1/s")
    theirs = os_ken_messages(few[:2000])
    if theirs is None:
        report.note("cold", eips, "os-ken is not installed (pip install 'vipnet[bench]')")
    else:
        report.value("cold", eips, "os-ken encodes, flows a second", 2000 / theirs, unit="1/s")


def more(report: Report, eips: int, repeats: int) -> None:
    """One more EIP, without a limit, with so many there: from the plan to the acknowledgement, beside ovs-ofctl --bundle."""
    with Scene() as scene:
        _ours(scene, eips, [], [])
        times: dict[str, list[float]] = {"vipnet": [], "floor": [], "ofctl": []}
        for number in (one for one in range(eips + 1, eips + 1 + repeats) if one % 10):
            (intent,) = scene.mappings(1, first=number)
            plan = diff({}, scene.backend.compile([intent]))
            (step,) = scene.backend.steps(plan)
            with scene.recorded() as sent:
                timed(times["vipnet"], scene.backend.apply, step)
            bundle = max(sent, key=len)
            scene.backend.apply(TargetPlan(step.target, delete=step.create))
            timed(times["floor"], replay, scene.socket, bundle)
            scene.backend.apply(TargetPlan(step.target, delete=step.create))
            if number % 10 == 5:
                lines = text_of(scene.listed([entry for entry in step.create if isinstance(entry, Flow)]))
                timed(times["ofctl"], scene.ofctl, "--bundle", "add-flows", text=lines)
                scene.backend.apply(TargetPlan(step.target, delete=step.create))
                report.calibrate()
        report.samples("more", eips, "vipnet: plan to acknowledgement", times["vipnet"], goal="p50 <= 300")
        report.samples("more", eips, "floor", times["floor"])
        report.samples("more", eips, "ovs-ofctl --bundle add-flows", times["ofctl"])
        report.value("more", eips, "ovs-ofctl / vipnet", beside(times["ofctl"], times["vipnet"]), goal=">= 30")
        report.value("more", eips, "vipnet / floor", beside(times["vipnet"], times["floor"]))


def resync(report: Report, eips: int, repeats: int) -> None:
    """Whether anything has changed; and all of it read and compared, beside ovs-ofctl dump-flows."""
    with Scene() as scene:
        _ours(scene, eips, [], [])
        desired = {**scene.base, **scene.backend.compile(scene.mappings(eips))}
        times: dict[str, list[float]] = {"changed": [], "audit": [], "dump": []}
        scene.backend.audit(desired)
        for _ in range(repeats):
            report.calibrate()
            timed(times["changed"], scene.backend.changed)
            timed(times["audit"], lambda: diff(scene.backend.audit(desired), desired))
            timed(times["dump"], scene.ofctl, "dump-flows", "--no-stats")
        if diff(scene.backend.audit(desired), desired):
            sys.exit("a second look finds something to do")
        report.samples("resync", eips, "has anything changed", times["changed"])
        report.samples("resync", eips, "audit", times["audit"], unit="ms")
        report.samples("resync", eips, "the same, a flow", [one / len(desired) for one in times["audit"]])
        report.samples("resync", eips, "ovs-ofctl dump-flows", times["dump"], unit="ms")


def flows(report: Report, eips: int, repeats: int) -> None:
    """UDP packets from outside to the holder of a VIP, each from a new port, less those of a connection that is there."""
    with Scene(servers=True) as scene:
        _ours(scene, eips, [], [])
        new, old = list[float](), list[float]()
        for _ in range(repeats):
            report.calibrate()
            new.append(scene.walk(fresh=True))
            old.append(scene.walk(fresh=False))
        report.samples("flows", eips, "a packet and its answer that begin a connection", new)
        report.samples("flows", eips, "of a connection", old)
        report.samples("flows", eips, "a new flow", [one - other for one, other in zip(new, old, strict=True)])


def _flows(intents: Iterable[Any]) -> list[Flow]:
    from vipnet_ovs.compiler import compile_intents

    return [entry for entry in compile_intents(intents).values() if isinstance(entry, Flow)]


_WORK: Final[dict[str, Callable[[Report, int, int], None]]] = {"cold": cold, "more": more, "resync": resync, "flows": flows}


def run(report: Report, eips: int, parts: Collection[str], repeats: int | None) -> None:
    """Do some parts at one scale."""
    for part in parts:
        _WORK[part](report, eips, repeats or _REPEATS[part])


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
    parser.add_argument("--repeats", type=int, help="samples of whatever is measured, instead of each part's own number")
    parser.add_argument("--json", type=Path, help="add the lines to this file too")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("it makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, _end)  # so that nothing is left behind
    report = Report(options.json)
    try:
        for eips in options.scale or [1_000]:
            run(report, eips, options.only, options.repeats)
    finally:
        print(report.tables())


if __name__ == "__main__":
    main()
