"""A watch over one Controller: it repairs what others change, and reports what happens.

Two threads, besides the backend's own. One takes in what the backend sees and is the only one that calls the user's function; it
never waits for a lock, so that nothing is seen late. The other one compares and repairs, which may have to wait for a verb.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Literal, assert_never

from vipnet.addresses import format_ip4
from vipnet.backend import Backend
from vipnet.config import Config
from vipnet.derive import Scope, derive
from vipnet.errors import DataplaneError
from vipnet.events import EventWord, WatchEvent
from vipnet.holders import Finding, Holders
from vipnet.intents import Member, VipBinding
from vipnet.model import Membership, Nic, Vip
from vipnet.naming import named
from vipnet.plan import Entry, Plan, TargetPlan
from vipnet.reconcile import Quarantined
from vipnet.repairs import ANYWHERE, CONTESTED_REPAIRS, CONTESTED_WINDOW, Cause, Repairs
from vipnet.sightings import (
    Advertised,
    Announced,
    Answered,
    Appeared,
    Changed,
    Eyes,
    Overrun,
    Sighting,
    Vanished,
)
from vipnet.topology import Snapshot

__all__ = ["POLL", "Mended", "Report", "Watch", "Watched"]

Report = Callable[[WatchEvent], None]

POLL = 0.5
"""Seconds between two questions to a backend that sees nothing by itself, and to the store for what others did."""

SHOWN = 2
"""So many entries that differ, or are refused, are shown; of more, only their number."""

CALM = 10
"""A backend that cannot even say whether anything changed is read for at most one tenth of the time."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What a look found to do, and did; and what was refused."""

    plan: Plan[Any]
    aside: tuple[Quarantined, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a watch needs of its Controller.

    `mend` looks at places (None: everywhere) and repairs; those that are `hidden` are compared in any case. `keep` then keeps
    others off, as far as the backend can, before anything is said: what it finds and repairs is no drift yet. `refresh` takes in
    what other processes did, programs what they left to this one, and says, if asked to, whether the backend has changed; not
    while somebody is at work. It is called every `pace` seconds.
    """

    backend: Backend[Any]
    config: Config
    topology: Callable[[], Snapshot]
    mend: Callable[[Collection[str] | None, Collection[str]], Mended]
    keep: Callable[[], None]
    refresh: Callable[[bool], bool]
    pace: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Looked:
    """The outcome of a look."""

    causes: dict[str, Cause]
    mended: Mended | None
    failure: str
    contested: list[str]
    over: list[str]
    seconds: float


class Watch:
    """Reports until it ends, and leaves neither thread nor file descriptor behind."""

    def __init__(self, watched: Watched, report: Report | None) -> None:
        self._watched = watched
        self._report = report
        self._inbox: SimpleQueue[Sighting | _Looked | None] = SimpleQueue()
        self._repairs = Repairs()
        self._news = threading.Condition()
        self._closing = False
        self._holders = Holders()
        self._known: Snapshot | None = None
        self._enrol_at = 0.0
        self._reasons: set[str] = set()
        self._eyes = Eyes()
        self._failure: Exception | None = None
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Open the backend's eyes and repair what is adrift, in this thread; then go on in others. Raises DataplaneError."""
        self._eyes = self._watched.backend.watch(self._inbox.put)
        try:
            began = time.monotonic()
            first = self._watched.mend(None, ())
            found = _Looked({ANYWHERE: Cause()}, first, "", [], [], time.monotonic() - began)
            self._watched.keep()
        except BaseException:
            self._eyes.close()
            raise
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("vipnet-watch", partial(self._tell, found)), ("vipnet-repairs", self._mend))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the watch is over by itself, because the user's function raised; False: not within so many seconds."""
        return self._over.wait(timeout)

    def end(self) -> None:
        """See and report no more. What is being repaired is brought to its end. Idempotent.

        Raises what the user's function raised, which ended the reports.
        """
        if self._closing:
            return
        self._eyes.close()
        with self._news:
            self._closing = True
            self._news.notify()
        self._inbox.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # the user's function may end the watch
                thread.join()
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------------------------------------------- repairing

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- raised by `end`, in the thread of whoever watches
            self._failure = self._failure or error
            self._over.set()

    def _mend(self) -> None:
        pause, polled = POLL, time.monotonic()
        while True:
            with self._news:
                while not self._closing and (patience := self._patience(polled + pause)) > 0:
                    self._news.wait(patience)
                if self._closing:
                    return
            if time.monotonic() >= polled + pause:
                pause, polled = self._poll(), time.monotonic()
            with self._news:
                now = time.monotonic()
                causes, over = self._repairs.take(now), self._repairs.rested(now)
            if causes or over:
                self._inbox.put(self._looked(causes, over))

    def _patience(self, poll_at: float) -> float:
        due = self._repairs.next()
        return (poll_at if due is None else min(poll_at, due)) - time.monotonic()

    def _poll(self) -> float:
        """Take in what other processes did; of a blind backend, whether it has changed. Return when to do so again."""
        began = time.monotonic()
        with suppress(DataplaneError):  # it is said when it cannot be repaired
            if self._watched.refresh(self._eyes.blind):
                with self._news:
                    self._repairs.cause(ANYWHERE, began).touched = True
        pace = self._watched.pace()
        return max(pace, CALM * (time.monotonic() - began)) if self._eyes.blind else pace

    def _looked(self, causes: dict[str, Cause], over: list[str]) -> _Looked:
        began = time.monotonic()
        mended, failure, contested = None, "", list[str]()
        if causes:
            places = None if ANYWHERE in causes else frozenset(causes)
            hidden = {name for name, cause in causes.items() if cause.hidden}
            try:
                mended = self._watched.mend(places, hidden)
            except DataplaneError as error:
                failure = error.details
        with self._news:
            now = time.monotonic()
            if failure:
                self._repairs.failed(causes, now)
            else:
                contested = self._repairs.done(causes, now, () if mended is None else _keys(mended.plan))
            if mended is not None and mended.aside:
                self._repairs.failed({ANYWHERE: Cause()}, now)
            elif mended is not None and mended.plan:
                for name in causes:  # what was changed while it was repaired may pass for our own doing: look once more
                    self._repairs.cause(name, now).hidden = True
        return _Looked(causes, mended, failure, contested, over, time.monotonic() - began)

    # ------------------------------------------------------------------------------------------------- telling

    def _tell(self, first: _Looked) -> None:
        self._say("watching", self._watched.backend.name, _way(self._eyes))
        self._say_looked(first)
        while True:
            try:
                news = self._inbox.get(timeout=self._until_next())
            except Empty:
                pass
            else:
                if news is None:
                    return
                self._take(news)
            if not self._eyes.blind:
                self._look_at_holders()

    def _until_next(self) -> float | None:
        """Seconds until somebody is to be asked, or the model looked at again; None: a blind backend can ask nobody."""
        if self._eyes.blind:
            return None
        now, due = time.monotonic(), self._holders.next()
        return max(0.0, min(now + POLL, now + POLL if due is None else due) - now)

    def _take(self, news: Sighting | _Looked) -> None:
        match news:
            case _Looked():
                self._say_looked(news)
            case Changed():
                with self._cause(news.place) as cause:
                    cause.touched = True
                    cause.hidden |= news.hidden
                    cause.by |= {news.by: None} if news.by else {}
            case Appeared() | Vanished():
                if self._watched.topology().has(Nic, "device", news.device):
                    with self._cause(news.place) as cause:
                        (cause.came if isinstance(news, Appeared) else cause.went).append(news.device)
            case Overrun():
                self._say("overrun", self._watched.backend.name, "everything is compared")
                with self._cause(ANYWHERE) as cause:
                    cause.touched = cause.hidden = True
            case Announced() | Advertised() | Answered():
                self._hear(news)
            case _:
                assert_never(news)

    @contextmanager
    def _cause(self, place: str) -> Generator[Cause, None, None]:
        """Let a place be looked at; the block says why."""
        with self._news:
            yield self._repairs.cause(place, time.monotonic())
            self._news.notify()

    def _say(self, event: EventWord, object: str, detail: str) -> None:
        if self._report is not None:
            topology = self._watched.topology()
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._report(WatchEvent(time=now, event=event, object=named(object, topology), detail=named(detail, topology)))

    # ------------------------------------------------------------------------------------------------- drift

    def _say_looked(self, looked: _Looked) -> None:
        for cause in looked.causes.values():
            for device in dict.fromkeys(cause.went):
                self._say_port("port-vanished", device)
            for device in dict.fromkeys(cause.came):
                self._say_port("port-appeared", device)
        if looked.failure:
            self._say_failure(", ".join(sorted(looked.causes)), looked.failure)
        elif looked.mended is not None:
            self._say_mended(looked, looked.mended)
        for place in looked.contested:
            self._say("contested", place, f"repaired {CONTESTED_REPAIRS} times within {CONTESTED_WINDOW:g} s; less often now")
        for place in looked.over:
            self._say("contested-over", place, "nobody has undone the last repair")

    def _say_port(self, word: Literal["port-appeared", "port-vanished"], device: str) -> None:
        for nic in self._watched.topology().by(Nic, "device", device):
            self._say(word, f"server:{nic.server_id}", f"interface {device}")

    def _say_mended(self, looked: _Looked, mended: Mended) -> None:
        by = ", ".join(dict.fromkeys(who for cause in looked.causes.values() for who in cause.by))
        came = {device for cause in looked.causes.values() for device in cause.came}
        for target in mended.plan.targets:
            if not _is_by_arrival(target, came):
                self._say("drift", target.target, _amounts(target) + (f"; by {by}" if by else ""))
        for one in mended.aside[:SHOWN]:
            self._say_failure(one.object, one.reason)
        if (more := len(mended.aside) - SHOWN) > 0:
            self._say_failure(self._watched.backend.name, f"{more} more entries were refused; apply names them all")
        if not mended.aside:
            self._reasons.clear()
            for target in mended.plan.targets:
                if not _is_by_arrival(target, came):
                    self._say("repaired", target.target, f"in {looked.seconds:.3f} s")

    def _say_failure(self, object: str, reason: str) -> None:
        """Once for each reason, until all is well again."""
        if (said := f"{object}: {reason}") not in self._reasons:
            self._reasons.add(said)
            self._say("repair-failed", object, reason)

    # ------------------------------------------------------------------------------------------------- holders

    def _hear(self, heard: Announced | Advertised | Answered) -> None:
        now = time.monotonic()
        ips = heard.ips if isinstance(heard, Advertised) else (heard.ip,)
        for nic, vip in _vips_of(self._watched.topology(), heard.device, heard.mac):
            if not {vip.ip, vip.ip6}.isdisjoint(ips):
                match heard:
                    case Announced():
                        self._say_findings(self._holders.announced(vip.id, nic.id, now))
                    case Advertised():
                        advertised = self._holders.advertised(vip.id, nic.id, heard.interval, heard.priority, now)
                        self._say_findings(advertised)
                    case Answered():
                        if self._holders.answered(vip.id, nic.id):
                            self._look_at(vip.id, now)
                    case _:
                        assert_never(heard)

    def _look_at_holders(self) -> None:
        now = time.monotonic()
        topology = self._watched.topology()
        if topology is not self._known and now >= self._enrol_at:
            self._known = topology
            self._holders.enrol((vip.id for vip in topology.all(Vip)), now)
            self._enrol_at = now + max(POLL, CALM * (time.monotonic() - now))
        for id in self._holders.ripe(now):
            self._look_at(id, now)

    def _look_at(self, id: str, now: float) -> None:
        binding = self._binding(id)
        members: tuple[Member, ...] = () if binding is None else binding.members
        findings, asks = self._holders.look(id, [member.nic_id for member in members], now)
        self._say_findings(findings)
        if asks and binding is not None:
            for member in members:
                self._eyes.ask(member.device, member.mac, binding.ip)

    def _binding(self, id: str) -> VipBinding | None:
        found = derive(self._watched.topology(), self._watched.config, [Scope("vip", id)]).values()
        return next((intent for intent in found if isinstance(intent, VipBinding)), None)

    def _say_findings(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            vip = self._watched.topology().get(Vip, finding.vip_id)
            if vip is not None:
                self._say(finding.word, f"vip:{vip.id}", f"{format_ip4(vip.ip)}: {finding.detail}")


def _vips_of(topology: Snapshot, device: str, mac: str) -> Iterator[tuple[Nic, Vip]]:
    """The VIPs that who is behind a port may hold; nobody, where its MAC is not the port's."""
    for nic in topology.by(Nic, "device", device):
        if nic.mac == mac:
            for row in topology.by(Membership, "server_id", nic.server_id):
                for vip in topology.by(Vip, "group_id", row.group_id):
                    if vip.network_id == nic.network_id:
                        yield nic, vip


def _way(eyes: Eyes) -> str:
    return f"asked every {POLL:g} s whether it has changed" if eyes.blind else "changes, ports and holders are seen at once"


def _keys(plan: Plan[Any]) -> Iterator[str]:
    """The keys of all entries that a plan is about."""
    for target in plan.targets:
        yield from (entry.key for entry in (*target.create, *(new for _, new in target.replace), *target.delete))


def _amounts(target: TargetPlan[Any]) -> str:
    """How many entries differ, and how; a few are shown."""
    kinds = ((target.create, "missing"), ([new for _, new in target.replace], "changed"), (target.delete, "too much"))
    return ", ".join(f"{len(entries)} {word}{_shown(entries)}" for entries, word in kinds if entries)


def _shown(entries: Sequence[Entry]) -> str:
    return f" ({'; '.join(entry.text for entry in entries)})" if len(entries) <= SHOWN else ""


def _is_by_arrival(target: TargetPlan[Any], devices: Collection[str]) -> bool:
    """Whether there is only to do what interfaces that have just appeared were waited for with."""
    return not (target.replace or target.delete) and all(
        any(device in entry.key.split() for device in devices) for entry in target.create
    )
