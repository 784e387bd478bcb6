"""Who holds each VIP, as far as it can be seen from outside: pure, fed with what was heard and with the time.

A member that announces the VIP unasked (gratuitous ARP, unsolicited NA) is its holder; the network sees it the same way. Besides,
all members are asked, each by itself, whether they have the address: now and then, at once after an announcement, and often
while something is odd. A process that was killed leaves the address behind, and only such a question finds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from vipnet.events import EventWord

__all__ = ["Finding", "Holders"]

ROUTINE = 15.0
"""Seconds between two questions to the members of a VIP of which all is well."""

ODD = 1.0
"""Seconds between two questions while it has no holder that answers, or several."""

PATIENCE = 0.25
"""Seconds in which an answer comes; on one host it takes a tenth of a millisecond."""

CONFIRM = 0.4
"""Seconds between two questions that must have the same odd answer: a clean change of holder overlaps for some milliseconds."""

SILENT_ROUNDS = 3
"""So many questions in a row without an answer make a holder silent."""

GRACE = 1.0
"""Seconds for another member to take over, after the holder's advertisements are due by the protocol's own reckoning."""

FLAPPING_CHANGES, FLAPPING_WINDOW = 4, 60.0
"""More changes of the holder than this, within so many seconds, are flapping."""

FLAPPING_REST = 30.0
"""Seconds without a change after which flapping is over."""

PACE = 0.002
"""Seconds between the first questions to members of different VIPs: not all at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to report of a VIP; members are named by the ids of their NICs."""

    word: EventWord
    vip_id: str
    detail: str


@dataclass(slots=True)
class _Round:
    """One question to all members."""

    began: float
    asked: frozenset[str]
    answers: set[str] = field(default_factory=set[str])

    def is_over(self, now: float) -> bool:
        return now >= self.began + PATIENCE or self.answers >= self.asked


@dataclass(slots=True)
class _Vip:
    due: float
    queued: float = 0.0
    members: tuple[str, ...] = ()
    holder: str | None = None
    changes: deque[float] = field(default_factory=deque[float])
    flapping: bool = False
    split: frozenset[str] = frozenset()
    silent: str = ""
    unanswered: int = 0
    adverts: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    round: _Round | None = None
    last: frozenset[str] | None = None

    def silent_from(self) -> float | None:
        """When the holder's advertisements are overdue; None: it sent none, or this is known."""
        if self.silent or self.holder not in self.adverts:
            return None
        heard, patience = self.adverts[self.holder]
        return heard + patience + GRACE

    def listed(self, members: frozenset[str]) -> str:
        """Some members, in the order of the group."""
        return " and ".join(member for member in self.members if member in members)

    def is_overdue(self, member: str, now: float) -> bool:
        """Whether a member that advertised, and did not give the VIP up, has missed two advertisements."""
        heard, patience = self.adverts.get(member, (now, 0.0))
        return now - heard > patience * 2 / 3

    def next(self) -> float:
        """When it is to be looked at again."""
        times = [self.due if self.round is None else self.round.began + PATIENCE]
        if (silent := self.silent_from()) is not None:
            times.append(silent)
        if self.flapping:
            times.append(self.changes[-1] + FLAPPING_REST)
        return min(times)


class Holders:
    """Takes in what is heard, and says by `ripe` which VIPs are to be looked at. Times are seconds of any steady clock."""

    __slots__ = ("_queue", "_vips")

    def __init__(self) -> None:
        self._vips: dict[str, _Vip] = {}
        self._queue: list[tuple[float, str]] = []

    def enrol(self, vip_ids: Iterable[str], now: float) -> None:
        """Know these VIPs and no others; new ones are asked about soon."""
        ids = set(vip_ids)
        for gone in self._vips.keys() - ids:
            del self._vips[gone]
        for place, new in enumerate(ids - self._vips.keys()):
            self._add(new, now + place * PACE)

    def next(self) -> float | None:
        """When `ripe` has something to say, if nothing is heard until then."""
        return self._queue[0][0] if self._queue else None

    def ripe(self, now: float) -> Iterator[str]:
        """The VIPs whose time has come."""
        while self._queue and self._queue[0][0] <= now:
            time, id = heappop(self._queue)
            vip = self._vips.get(id)
            if vip is None or vip.queued != time:  # it is gone, or was hastened
                continue
            if vip.next() <= now:
                yield id
            else:
                self._push(id, vip)

    # ------------------------------------------------------------------------------------------------- what is heard

    def announced(self, id: str, member: str, now: float) -> Iterator[Finding]:
        """A member says that it has the VIP."""
        vip = self._vips.get(id) or self._add(id, now)
        if vip.holder == member:
            yield from self._heard(id, vip)
            return
        yield from self._change(id, vip, member, now)
        vip.round, vip.last = None, None
        self._hasten(id, vip, now)

    def advertised(self, id: str, member: str, interval: float, priority: int, now: float) -> Iterator[Finding]:
        """A member advertises that it has the VIP; with priority 0, that it gives it up."""
        vip = self._vips.get(id) or self._add(id, now)
        if priority == 0:
            vip.adverts.pop(member, None)
            self._hasten(id, vip, now + ODD)
            return
        new = member not in vip.adverts
        vip.adverts[member] = now, (3 + (256 - priority) / 256) * interval
        if member == vip.holder:
            yield from self._heard(id, vip)
        else:
            self._hasten(id, vip, now + CONFIRM)
        if new:
            self._push(id, vip)

    def answered(self, id: str, member: str) -> bool:
        """A member answers that it has the VIP; return whether that was the last answer that is missing."""
        vip = self._vips.get(id)
        if vip is None or vip.round is None:
            return False
        vip.round.answers.add(member)
        return vip.round.answers >= vip.round.asked

    def look(self, id: str, members: Sequence[str], now: float) -> tuple[list[Finding], bool]:
        """Look at a VIP whose time has come; return what is to be reported, and whether its members are to be asked now."""
        vip = self._vips[id]
        vip.members = tuple(members)
        found = [*self._judged(id, vip, now), *self._silence(id, vip, now), *self._rested(id, vip, now)]
        asks = vip.round is None and now >= vip.due and bool(members)
        if asks:
            vip.round = _Round(now, frozenset(members))
        elif not members:
            vip.due = now + ROUTINE
        self._push(id, vip)
        return found, asks

    # ------------------------------------------------------------------------------------------------- what it means

    def _judged(self, id: str, vip: _Vip, now: float) -> Iterator[Finding]:
        if vip.round is None or not vip.round.is_over(now):
            return
        answers, before = frozenset(vip.round.answers), vip.last
        vip.round, vip.last = None, answers
        first, same = before is None and vip.holder is None, answers == before
        vip.unanswered = 0 if vip.holder is None or vip.holder in answers else vip.unanswered + 1
        if len(answers) > 1:
            yield from self._several(id, vip, answers, sure=same or any(vip.is_overdue(member, now) for member in answers))
        elif vip.split and same:
            vip.split = frozenset()
            yield Finding("split-brain-over", id, f"{vip.listed(answers) or 'nobody'} has it now")
        if len(answers) == 1 and not vip.split:
            yield from self._one(id, vip, *answers, first=first, same=same, now=now)
        if not answers and vip.unanswered >= SILENT_ROUNDS and not vip.silent:
            vip.silent = "answers no ARP"
            yield Finding("holder-silent", id, f"{vip.holder} {vip.silent}, nor does another member")
        odd = bool(vip.split or vip.unanswered or len(answers) > 1)
        new = before is None and not first  # just announced: look once more, soon
        vip.due = now + (CONFIRM if odd and not same else ODD if odd or new else ROUTINE)

    def _several(self, id: str, vip: _Vip, answers: frozenset[str], *, sure: bool) -> Iterator[Finding]:
        if sure and answers != vip.split:
            vip.split = answers
            yield Finding("split-brain", id, f"{vip.listed(answers)} have it at once")

    def _one(self, id: str, vip: _Vip, member: str, *, first: bool, same: bool, now: float) -> Iterator[Finding]:
        if first:
            vip.holder = member  # it was so before anybody looked
        elif member == vip.holder:
            if vip.silent == "answers no ARP":
                yield from self._heard(id, vip)
        elif same:
            vip.unanswered = 0
            yield from self._change(id, vip, member, now)

    def _silence(self, id: str, vip: _Vip, now: float) -> Iterator[Finding]:
        due = vip.silent_from()
        if due is None or now < due or vip.holder is None:
            return
        if any(heard + patience >= now for member, (heard, patience) in vip.adverts.items() if member != vip.holder):
            del vip.adverts[vip.holder]  # somebody took over; the question to the members will tell
            vip.due = min(vip.due, now)
            return
        heard, _ = vip.adverts.pop(vip.holder)
        vip.silent = "does not advertise"
        yield Finding("holder-silent", id, f"no advertisement of {vip.holder} for {now - heard:.1f} s, nor of another member")

    def _rested(self, id: str, vip: _Vip, now: float) -> Iterator[Finding]:
        if vip.flapping and now >= vip.changes[-1] + FLAPPING_REST:
            vip.flapping = False
            vip.changes.clear()
            yield Finding("flapping-over", id, f"{vip.holder} has held it for {FLAPPING_REST:g} s")

    def _heard(self, id: str, vip: _Vip) -> Iterator[Finding]:
        if vip.silent:
            vip.silent = ""
            yield Finding("holder-back", id, f"{vip.holder} is heard again")

    def _change(self, id: str, vip: _Vip, member: str, now: float) -> Iterator[Finding]:
        before, vip.holder, vip.silent = vip.holder, member, ""
        vip.changes.append(now)
        while vip.changes[0] < now - FLAPPING_WINDOW:
            vip.changes.popleft()
        if vip.flapping:
            return
        if len(vip.changes) > FLAPPING_CHANGES:
            vip.flapping = True
            yield Finding("flapping", id, f"{len(vip.changes)} changes in {now - vip.changes[0]:.0f} s, now to {member}")
        else:
            yield Finding("holder-changed", id, f"{before or 'nobody'} -> {member}")

    # ------------------------------------------------------------------------------------------------- when to look

    def _add(self, id: str, due: float) -> _Vip:
        vip = self._vips[id] = _Vip(due)
        self._push(id, vip)
        return vip

    def _hasten(self, id: str, vip: _Vip, due: float) -> None:
        if vip.round is None and due < vip.due:
            vip.due = due
            self._push(id, vip)

    def _push(self, id: str, vip: _Vip) -> None:
        vip.queued = vip.next()
        heappush(self._queue, (vip.queued, id))
