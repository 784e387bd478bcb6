"""An explanation in words, with the names of people's objects."""

from __future__ import annotations

from collections.abc import Iterator

from vipnet.addresses import format_ip
from vipnet.model import Nic, Server
from vipnet.naming import named
from vipnet.packets import OUTSIDE, Delivered, Packet
from vipnet.topology import Topology
from vipnet.trace.judge import Cause, Explained, Seen
from vipnet.trace.question import EXTERNAL
from vipnet.views import EvidenceView, TraceStepView, TraceView

__all__ = ["shown"]


def shown(explained: Explained, packet: Packet, topology: Topology, *, remedy: str, unasked: str) -> TraceView:
    """The view of an explanation; `remedy`: who puts right what is not installed; `unasked`: why there is no evidence, if so."""
    verdict, last = explained.verdict, explained.steps[-1].step
    arrived = isinstance(verdict, Delivered) and not explained.stopped
    src, dst = (verdict.src, verdict.dst) if isinstance(verdict, Delivered) and arrived else (last.src, last.dst)
    return TraceView(
        verdict="delivered" if arrived else "dropped",
        to=", ".join(sorted(_place(where, topology) for where in explained.to)) or None,
        src=format_ip(packet.version, src),
        dst=format_ip(packet.version, dst),
        reason=None if arrived else "not-installed" if explained.stopped or isinstance(verdict, Delivered) else verdict.reason,
        steps=tuple(_step(seen, packet, topology, remedy) for seen in explained.steps),
        warnings=tuple(dict.fromkeys(_doubts(explained, unasked))),
    )


def _place(where: str, topology: Topology) -> str:
    nic = topology.get(Nic, where)
    if nic is not None:
        return topology.at(Server, nic.server_id).name
    return EXTERNAL if where == OUTSIDE else where


def _step(seen: Seen, packet: Packet, topology: Topology, remedy: str) -> TraceStepView:
    action = seen.step.action.replace(f"to {OUTSIDE}", f"to {EXTERNAL}")
    if seen.cause is not None:
        words = _cause(seen.cause, remedy)
        action = f"dropped: not-installed: {words}" if seen.stops else f"{action}: {words}"
    return TraceStepView(stage=seen.step.stage, action=named(action, topology), evidence=tuple(_evidence(seen, packet)))


def _cause(cause: Cause, remedy: str) -> str:
    """What is not as it should be, and what to do."""
    if cause.reason:
        return cause.reason
    text = cause.entry.text
    match cause.finding.state:
        case "absent":
            return f"{text}: {cause.finding.detail}; it is joined at the next verb or apply after it appears"
        case "different":
            return f"{text} is not so, there is {cause.finding.detail}; {remedy}"
        case _:
            return f"{text} is missing; {remedy}"


def _evidence(seen: Seen, packet: Packet) -> Iterator[EvidenceView]:
    if seen.holder is not None:
        yield _holder(seen, packet)
    for need, finding in seen.found:
        yield EvidenceView(target=need.entry.target, entry=need.entry.text, state=finding.state, detail=finding.detail)


def _holder(seen: Seen, packet: Packet) -> EvidenceView:
    assert seen.holder is not None
    entry = f"holder of {format_ip(packet.version, seen.step.dst)}"
    sighting = seen.holder.sighting
    if sighting is None:
        detail = "the group's first member: the network has not seen who has it"
        return EvidenceView(target="", entry=entry, state="presumed", detail=detail)
    return EvidenceView(target="", entry=entry, state="seen", detail=sighting.words)


def _doubts(explained: Explained, unasked: str) -> Iterator[str]:
    if unasked:
        yield f"there is no evidence, this is what the model says: {unasked}"
    for seen in explained.steps:
        for need, finding in seen.found:
            if finding.state == "changed":
                yield f"{need.entry.text}: {finding.detail}; this holds for the rules as declared, vipnet apply restores them"
