"""The promises about time: nobody else notices (P14), moves leak nothing (P5), failover is quick (P15). Needs pytest and root.

A bound is asked for with the machine's own noise taken out, which control flows show in the same run. Where the machine
itself lost packets, a run that is not clean says nothing and is repeated; another miss is repeated once.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import ClassVar, Final

import pytest

from vipnet.testing.controlled import eip_name
from vipnet.testing.probe import OUTSIDE, Announcement, Answer
from vipnet.testing.stage import FREE, Stage
from vipnet.testing.streams import FlowReport, Report, Run

__all__ = ["ContinuityPromises", "Failover", "Move", "make_changes", "make_failovers", "make_moves", "untouched"]

WITHIN: Final = 1.0
"""Seconds from the end of a move in which new connections reach the new holder (P5)."""

FAILOVER: Final = 0.010
"""Seconds from a new holder's announcement to its first answer (P15)."""

_RUNS: Final = 4
_SETTLE: Final = 0.2
_FORMS: Final[tuple[Announcement, ...]] = ("request", "reply")


class ContinuityPromises:
    """Inherit where packets are real; the plugin's fixture `stage` is a busy scene, made and changed by verbs."""

    needs: ClassVar[frozenset[str]] = frozenset({"time"})

    def test_p14_nobody_else_notices(self, stage: Stage) -> None:
        judge(lambda: _changed(stage, count=100, seconds=20))

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    def test_p14_nobody_else_notices_a_thousand_changes(self, stage: Stage) -> None:
        judge(lambda: _changed(stage, count=1000))

    def test_p5_moves_leak_nothing(self, stage: Stage) -> None:
        judge(lambda: _moved(stage, 10))

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    def test_p5_a_hundred_moves_leak_nothing(self, stage: Stage) -> None:
        judge(lambda: _moved(stage, 100))

    def test_p15_failover_is_quick(self, stage: Stage) -> None:
        judge(lambda: _failed_over(stage, 10))


def judge(run: Callable[[], tuple[list[str], Mapping[str, int]]]) -> None:
    """Fail with what two runs complained of on a machine that lost nothing itself, or if there was no such run."""
    misses, complaints, noise = 0, list[str](), dict[str, int]()
    for _ in range(_RUNS):
        complaints, found = run()
        misses += not found
        noise = dict(found)
        if not complaints:
            return
        if misses == 2:
            pytest.fail("\n".join(complaints))
    pytest.fail("\n".join([f"the machine itself loses packets: {noise}", *complaints]))


def untouched(report: Report, *, but: Sequence[str] = ()) -> list[str]:
    """What flows and streams would complain of that nothing was done to."""
    flows = [flow for flow in report.flows.values() if flow.name not in but]
    streams = [stream for stream in report.streams.values() if stream.name not in but]
    lost = {name: times for name, times in report.lost().items() if name not in but}
    return [
        *(f"{name}: {len(times)} lost of {len(report.sent_at)}, the first at {times[0]:.6f}" for name, times in lost.items()),
        *(f"{flow.name} was answered otherwise: {flow.runs}" for flow in flows if len(flow.runs) != 1),
        *(f"{one.name} did not go through: {one}" for one in streams if one.ended or one.wrong or one.echoed < one.sent),
    ]


# ------------------------------------------------------------------------------------------------------------- P14


def make_changes(stage: Stage, *, count: int, seconds: float, seed: int = 14) -> tuple[Report, list[str]]:
    """Make changes, `count` of them or as many as `seconds` allow, under streams; return those too, with their times."""
    made: list[str] = []
    with stage.streaming() as streams:
        began = before = time.time()
        for what in stage.changes(seed).make(count):
            made.append(f"{before:.6f} {what}")
            before = time.time()
            if before - began > seconds:
                break
        return streams.stop(), made


def _changed(stage: Stage, *, count: int, seconds: float = float("inf")) -> tuple[list[str], Mapping[str, int]]:
    report, made = make_changes(stage, count=count, seconds=seconds)
    complaints = untouched(report)
    return [*complaints, "changes, with the times at which they began:", *made] if complaints else [], report.noise


# -------------------------------------------------------------------------------------------------------------- P5


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An EIP went from the group `old` to `new`; the verb returned at `done`, a new connection was answered at `reached`.

    `stream` is the TCP stream to the old holder. Times are seconds since the epoch; `next` is when the following began.
    """

    old: str
    new: str
    stream: str
    began: float
    done: float
    reached: float


def make_moves(stage: Stage, count: int) -> tuple[Report, list[Move]]:
    """Move the last EIP round groups of two VPCs, and of one, under streams to it and to all others."""
    eip, home = stage.scene.eips[-1].ip, stage.scene.eips[-1].group
    moves: list[Move] = []
    vips = {group: stage.scene.group(group).vip for group in FREE}
    watchers = [(f"out of {group}", stage.holder(group), vip, stage.scene.outside) for group, vip in vips.items()]
    with stage.streaming(*watchers) as streams:
        for other in stage.scene.eips[:-1:6]:
            streams.stream(stage.node(OUTSIDE), f"stream to {other.ip}", other.ip)
        places = [home, *islice(cycle(FREE), count)]
        for number, (old, new) in enumerate(pairwise(places)):
            name = f"stream {number} to {eip}"
            streams.stream(stage.node(OUTSIDE), name, eip)
            time.sleep(_SETTLE)
            moves.append(_move(stage, eip, old, new, name))
        time.sleep(_SETTLE)
        report = streams.stop()
    _move(stage, eip, places[-1], home, "")
    return report, moves


def _move(stage: Stage, eip: str, old: str, new: str, stream: str) -> Move:
    began = time.time()
    with stage.cloud.transaction() as tx:
        tx.groups.dissociate_eip(old)
        tx.groups.associate_eip(new, eip_id=eip_name(eip))
    done = time.time()
    wanted = Answer(stage.holder(new), stage.scene.outside)
    while stage.probe.tcp(OUTSIDE, eip) != wanted and time.time() < done + 10 * WITHIN:
        time.sleep(0.001)
    return Move(old=old, new=new, stream=stream, began=began, done=done, reached=time.time())


def _moved(stage: Stage, count: int) -> tuple[list[str], Mapping[str, int]]:
    report, moves = make_moves(stage, count)
    touched = [f"to {stage.scene.eips[-1].ip}", *(f"out of {group}" for group in FREE), *(move.stream for move in moves)]
    ends = [move.began for move in moves[1:]] + [float("inf")]
    leaks = [one for move, end in zip(moves, ends, strict=True) for one in _leaks(stage, report, move, end)]
    return [*untouched(report, but=touched), *leaks], report.noise


def _leaks(stage: Stage, report: Report, move: Move, end: float) -> Iterator[str]:
    """What of a move, until `end`, was not as it has to be."""
    eip, late = stage.scene.eips[-1].ip, move.done + WITHIN + report.noise_between(move.done, move.reached)
    to_it, old_stream = report.flows[f"to {eip}"], report.streams[move.stream]
    from_old = report.flows.get(f"out of {move.old}")
    if move.reached > late:
        yield f"{move}: new connections reached the new holder after {move.reached - move.done:.3f} s"
    if not any(_answered(report, to_it, move.done, late, lambda run: run.server == stage.holder(move.new))):
        yield f"{move}: no datagram reached the new holder within {WITHIN} s"
    if any(_answered(report, to_it, move.done, end, lambda run: run.server == stage.holder(move.old))):
        yield f"{move}: datagrams reached the old holder"
    if old_stream.last_echoed > move.done:
        yield f"{move}: {old_stream} lived on"
    if from_old and any(_answered(report, from_old, move.done, end, lambda run: run.saw == eip)):
        yield f"{move}: the old holder still sent as the EIP"


def _answered(report: Report, flow: FlowReport, begin: float, end: float, which: Callable[[Run], bool]) -> Iterator[int]:
    """Numbers sent between two times that had an answer, out of runs of a kind."""
    ends = [run.number for run in flow.runs[1:]] + [len(report.sent_at)]
    lost = frozenset(flow.lost)
    for run, until in zip(flow.runs, ends, strict=True):
        if which(run):
            first = max(run.number, bisect_right(report.sent_at, begin))
            yield from (number for number in range(first, min(until, bisect_left(report.sent_at, end))) if number not in lost)


# ------------------------------------------------------------------------------------------------------------- P15


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """`server` announced itself by `form`; seconds to its first answer by the EIP, and how long the machine stood still then."""

    server: str
    form: Announcement
    took: float
    noise: float


def make_failovers(stage: Stage, each: int) -> tuple[Report, list[Failover]]:
    """Let the two members of a group take its VIP from each other, `each` times by each form of announcement, under streams."""
    group, eip = stage.scene.groups[0], stage.scene.eips[0].ip
    announced: list[tuple[str, Announcement, float]] = []
    with stage.streaming() as streams:
        time.sleep(_SETTLE)
        for form in _FORMS:
            for old, new in islice(cycle([group.members, group.members[::-1]]), 2 * ((each + 1) // 2)):
                stage.take(new, group.vip)
                announced.append((new, form, stage.announce(new, group.vip, form)))
                time.sleep(_SETTLE)
                stage.leave(old, group.vip)
        report = streams.stop()
    return report, [_failover(report, report.flows[f"to {eip}"], *one) for one in announced]


def _failover(report: Report, flow: FlowReport, server: str, form: Announcement, at: float) -> Failover:
    first = next((run.at for run in flow.runs if run.server == server and run.at > at), float("inf"))
    return Failover(server=server, form=form, took=first - at, noise=report.noise_between(at, min(first, at + _SETTLE)))


def _failed_over(stage: Stage, each: int) -> tuple[list[str], Mapping[str, int]]:
    report, failovers = make_failovers(stage, each)
    touched = [f"to {stage.scene.eips[0].ip}", "hairpin", "as an EIP"]
    late = [f"{one} is more than {FAILOVER} s" for one in failovers if one.took > FAILOVER + one.noise]
    return [*untouched(report, but=touched), *late], report.noise
