"""Commits: one model, one store, one backend; every verb is a transaction over all three.

A change: validate on a draft; `begin` in the store (revision pending); program the data plane, one native transaction a
target; flush what lived on released addresses; `finish` in the store. A refusal by the data plane takes everything back. A lost
target leaves the revision pending, and whoever comes next finishes it before anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from vipnet.accounts import Closing
from vipnet.backend import Backend
from vipnet.config import Config
from vipnet.errors import ConflictError, DataplaneError, InputParameterError, InvalidStatusError, OwnedError, VipnetError
from vipnet.model import Address, Eip
from vipnet.naming import naming
from vipnet.operations.draft import Draft, World
from vipnet.plan import Plan
from vipnet.plane import Plane, Programmed
from vipnet.reconcile import Quarantined, Refused, Work
from vipnet.reports import transitions
from vipnet.store import News, Outcome, Pending, StaleError, Store
from vipnet.topology import Snapshot
from vipnet.transaction import AllVerbs, Transaction
from vipnet.turns import Turns
from vipnet.viewer import Viewer
from vipnet.views import Counters
from vipnet.working import Change, Workspace

__all__ = ["Begun", "Committer"]

PATIENCE: Final = 10.0
"""Seconds in which a process that watches has programmed what another one stored."""

_PAUSE: Final = 0.002
_SHOWN: Final = 3

R = TypeVar("R")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Begun:
    """A change that is stored, and the model before it."""

    work: Work
    changes: Sequence[Change]
    pending: Pending
    before: Snapshot


class Committer(AllVerbs):
    """The verbs of a Controller, each a commit; what it asks of the data plane beside is the Controller's own."""

    def __init__(self, *, config: Config, store: Store, backend: Backend[Any], world: World | None = None) -> None:
        super().__init__()
        self.config = config
        self._store = store
        self._world = world or World()
        self._lock = Turns()
        self._plane = Plane(backend, config, self._world.progress)
        self._open: Transaction | None = None
        self._behind = True
        self._claimed = False
        store.check_binding(backend.name, config.host)
        self._load()

    @property
    def backend(self) -> Backend[Any]:
        """The data plane; another one, around it, may be put in its place (`vipnet.testing.FaultyBackend`)."""
        return self._plane.backend

    @backend.setter
    def backend(self, backend: Backend[Any]) -> None:
        self._plane.backend = backend

    @property
    def topology(self) -> Snapshot:
        """The desired model as last committed: an immutable snapshot."""
        return self._topology

    def _load(self) -> None:
        self._world.progress("reading the store")
        loaded = self._store.load()
        self._topology = loaded.topology
        self._revision = loaded.revision
        self._pending = list(loaded.pending)
        self._world.progress("working")

    # ------------------------------------------------------------------------------------------------- verbs

    def read(self) -> Viewer:
        # While another thread is in the middle of a change, the last committed state is the answer.
        if self._lock.acquire(blocking=False):
            try:
                if self._open is None:
                    self._refresh(with_pending=False)
            finally:
                self._lock.release()
        return self._viewer()

    def _viewer(self) -> Viewer:
        transitions = {id: word for pending in self._pending for id, word in pending.transitions.items()}
        return Viewer(self._topology, transitions, clock=self._world.clock)

    def counted(self, eip: Eip) -> Counters | None:
        while True:
            # In this order: what another thread does in between, or another process, then shows in a newer account.
            revision, topology = self._revision, self._topology
            if any(eip.id in pending.transitions for pending in self._pending):  # not programmed yet, or no more
                return None
            live = self._plane.counted(topology, eip)
            account = self._store.account(eip.id)
            if account is None or account.revision <= revision:
                return live if account is None else account.counters if live is None else account.counters + live
            with self._lock:
                if self._open is not None:
                    return account.counters
                self._refresh(with_pending=False)

    def _refresh(self, *, with_pending: bool) -> None:
        """Fold in what other processes did to the model: O(what they did).

        What is pending is folded in by those alone who hold the lock and will finish it: to others it may yet be cancelled.
        """
        moved = self._store.moved()
        if moved and self._pending:  # others may have finished them by now, or taken them back
            self._load()
            self._behind = False
            return
        self._behind |= moved
        if not (moved or (with_pending and self._behind)):
            return
        self._behind = not with_pending
        news = self._store.news(self._revision, with_pending=with_pending)
        if news is None:
            self._load()
            return
        if news.things:
            self._topology = _folded(self._topology, news).settled()
        self._revision = news.revision
        self._pending += news.pending

    def mutate(self, operation: Callable[[Draft], R], view: Callable[[Viewer, R], V]) -> V:
        with self._exclusive():
            while True:
                try:
                    with self._turn() as watcher:
                        draft = Draft(self._topology, self.config, self._world)
                        result = operation(draft)
                        begun = self._commit(draft, watcher)
                except StaleError:  # where processes share no lock: what was first stays, this is made anew on top of it
                    continue
                self._have_programmed(begun, draft, watcher)
                return view(replace(self._viewer(), warnings=tuple(draft.warnings)), result)

    @contextmanager
    def transaction(self, *, dry_run: bool = False) -> Generator[Transaction, None, None]:
        """Run many verbs on one draft and commit it at the end of the block, all or nothing; an exception drops it.

        With `dry_run` nothing is committed; either way the transaction's `plan` is what the data plane was to change.
        """
        begun: Begun | None = None
        with self._exclusive():
            with self._dry() if dry_run else self._turn() as watcher:
                draft = Draft(self._topology, self.config, self._world)
                self._open = opened = Transaction(draft)
                try:
                    yield opened
                    if dry_run:
                        with naming(draft.topology):
                            opened.plan = self._plane.work(self._topology, draft).plan
                    elif (begun := self._commit(draft, watcher)) is not None:
                        opened.plan = begun.work.plan
                except StaleError as error:
                    raise ConflictError("another process changed the store meanwhile; run the transaction again") from error
                finally:
                    opened.end()
                    self._open = None
            self._have_programmed(begun, draft, watcher)

    @contextmanager
    def _dry(self) -> Generator[None, None, None]:
        self._refresh(with_pending=False)
        yield

    @contextmanager
    def _turn(self, *, finishes: bool = True) -> Generator[int | None, None, None]:
        """Hold the store's lock, with nothing pending; say which process programs what is stored now, None: this one.

        This one finishes what is pending before the block, unless `finishes` is false; for another one it waits. Raises
        DataplaneError.
        """
        while True:
            with self._store.lock():
                self._take_in()
                watcher = self._store.watcher()
                if watcher is None and finishes:
                    self._finish_pending()
                if watcher is None or not self._pending:
                    yield watcher
                    return
                revision = self._pending[-1].revision
            if self._awaited(revision) is None and self._store.watcher() is not None:
                raise DataplaneError(f"{_named(watcher)} has not programmed revision {revision}; nothing else has changed")

    @contextmanager
    def _exclusive(self) -> Generator[None, None, None]:
        with self._lock:
            if self._open is not None:  # the lock lets this thread in again; other threads wait above
                raise InvalidStatusError("a transaction is open in this thread; use its verbs, or end it first")
            yield

    # ------------------------------------------------------------------------------------------------- commit

    def _commit(self, draft: Draft, watcher: int | None) -> Begun | None:
        """Store a change, and program it unless another process does; None: there is none."""
        with naming(draft.topology):
            changes = draft.topology.changes()
            if not changes:
                return None
            work = self._plane.work(self._topology, draft)
            if watcher is None:
                self._catch_up()
            self._store.bind(self.backend.name, self.config.host)
            pending = Pending(
                revision=self._revision + 1,
                transitions=transitions(changes, draft.topology, self._topology),
                released=work.released,
                thorough=draft.sets_aside,
            )
            self._world.progress("storing the change")
            self._begin(changes, pending)
            begun = Begun(work, changes, pending, self._topology)
            self._pending.append(pending)
            self._topology = draft.topology.settled()
            self._revision = pending.revision
            if watcher is None:
                draft.warnings += self._program(begun)
            return begun

    def _program(self, begun: Begun) -> list[str]:
        """Carry out what is stored; return what there is to warn of. Raises DataplaneError: it is taken back, or pending."""
        with self._pending_until_done():
            try:
                done = self._plane.program(begun.work, self._topology, begun.pending, sets_aside=begun.pending.thorough)
            except Refused as refusal:
                self._plane.forget(begun.work)
                error = self._plane.refusal(begun.work, refusal)
                self._take_back(begun, error)
                raise error from refusal
            except OwnedError as error:
                if not begun.pending.thorough:
                    self._take_back(begun, error)
                raise
            self._mark(done)
        aside, warnings = done.aside, list[str]()
        try:
            aside += self._conclude(done)
        except VipnetError as error:  # it is programmed all the same
            warnings.append(f"what counted mappings that ended may still be there: {error.details}; apply takes it away")
        return warnings + [_set_aside(one) for one in aside]

    def _take_back(self, begun: Begun, error: DataplaneError) -> None:
        self._store.cancel(begun.changes, begun.pending.revision, error.details)
        self._topology = begun.before
        self._pending.remove(begun.pending)

    # ------------------------------------------------------------------------------------------------- for one another

    def _have_programmed(self, begun: Begun | None, draft: Draft, watcher: int | None) -> None:
        """Wait until another process has programmed what is stored, or do it if that has gone. Raises DataplaneError."""
        if begun is not None and watcher is not None and (said := self._told(begun, watcher)):
            if not begun.pending.thorough:
                raise DataplaneError(f"{said}; the change is stored as revision {begun.pending.revision}")
            draft.warnings.append(said)

    def _told(self, begun: Begun, watcher: int) -> str:
        """What is said of a change once it is programmed. Raises DataplaneError: it is taken back, or pending."""
        revision = begun.pending.revision
        outcome = self._awaited(revision)
        if outcome is None and self._store.watcher() is not None:
            raise DataplaneError(
                f"{_named(watcher)} has not programmed revision {revision} within {PATIENCE:g} s; it is stored and pending",
                pending=True,
            )
        if outcome is None:  # it has gone, and this process, or another one that came, is to do it
            with self._turn():
                outcome = self._store.outcome(revision)
        if begun.pending in self._pending:
            self._pending.remove(begun.pending)
            if outcome.state == "cancelled":
                self._topology = begun.before
        if outcome.state == "cancelled":
            raise DataplaneError(outcome.said or f"revision {revision} was taken back")
        return outcome.said

    def _awaited(self, revision: int) -> Outcome | None:
        """What became of a revision that another process is to program; None: nothing in time, or it has gone."""
        self._world.progress("waiting for the process that watches")
        until = time.monotonic() + PATIENCE
        while (found := self._store.outcome(revision)).state == "pending":
            if time.monotonic() > until or self._store.watcher() is None:
                return None
            time.sleep(_PAUSE)
        return found

    def _take_in(self) -> None:
        """Fold in all that others did. Who programs for other processes does that; the store's lock is held."""
        if self._claimed and not self._pending:
            self._refresh(with_pending=False)
            if self._behind and not self._pending and self._plane.is_untouched():
                self._serve()
        self._refresh(with_pending=True)

    def _serve(self) -> None:
        """Program what another process has stored, as the change that it is, if that is all there is to do."""
        news = self._store.news(self._revision, with_pending=True)
        if news is None or len(news.pending) != 1 or news.pending[0].thorough:
            return
        before, draft = self._topology, _folded(self._topology, news)
        changes = draft.changes()
        begun = Begun(self._plane.between(before, draft, changes), changes, news.pending[0], before)
        self._topology, self._revision, self._pending, self._behind = draft.settled(), news.revision, [begun.pending], False
        try:
            self._program(begun)
        except DataplaneError:
            if begun.pending in self._pending:
                raise  # else it is taken back, which is said to who waits

    def _begin(self, changes: Sequence[Change], pending: Pending) -> None:
        try:
            self._store.begin(changes, pending)
        except InputParameterError as error:  # of the store itself
            if not self._may_be_stored(pending):
                raise
            raise DataplaneError(
                f"{error.details}; the change may be stored as revision {pending.revision}, then the next apply finishes it",
                pending=True,
            ) from error

    def _may_be_stored(self, pending: Pending) -> bool:
        try:
            news = self._store.news(self._revision, with_pending=True)
        except VipnetError:
            return True
        return news is None or any(one.transitions == pending.transitions for one in news.pending)

    @contextmanager
    def _pending_until_done(self) -> Generator[None, None, None]:
        """Whatever fails in this block, data plane or store, leaves a change that is stored, and pending unless taken back."""
        try:
            yield
        except VipnetError as error:
            if not self._pending:
                raise
            raise DataplaneError(
                f"{error.details}; the change is stored as revision {self._revision} and pending, the next apply finishes it",
                pending=True,
            ) from error

    def _mark(self, done: Programmed) -> None:
        """Mark what is programmed. Before the last steps there is no stamp: who dies at them leaves them to a resync."""
        stamp = "" if done.last else self._plane.stamp()
        try:
            self._store.finish([pending.revision for pending in self._pending], stamp, done.closing)
        except BaseException:  # it may be marked all the same, and the last steps are still to be done
            self._plane.doubt()
            raise
        self._pending = []

    def _conclude(self, done: Programmed) -> list[Quarantined]:
        """Take away what was kept to be counted; return what of it was refused. Raises VipnetError when that fails."""
        if not done.last:
            return []
        aside = self._plane.conclude(done, self._topology)
        self._store.finish([], self._plane.stamp(), Closing())
        return aside

    def _finish_pending(self) -> None:
        """Before anything else; it reloads the model, in which addresses that were leaving are now free."""
        if self._pending:
            self._resync()

    def _catch_up(self) -> None:
        """See that the data plane is as the last revision left it, whoever programmed that."""
        if not self._plane.is_known(self._store.stamp):
            self._resync()

    def _is_as_left(self) -> bool:
        """Whether nothing is pending or set aside, and the data plane is surely as it was left."""
        return not self._pending and self._plane.is_as_left(self._store.stamp)

    def _resync(self) -> tuple[Plan[Any], list[Quarantined]]:
        done = self._plane.resync(self._topology, self._pending)
        had_pending = bool(self._pending)
        if had_pending and done.aside:
            self._store.answer([one.revision for one in self._pending], "; ".join(map(_set_aside, done.aside[:_SHOWN])))
        self._mark(done)
        if had_pending and any(address.state == "leaving" for address in self._topology.all(Address)):
            self._load()  # the store knows which of them are free now, and which rest
        self._conclude(done)
        return done.plan, list(self._plane.quarantined)


def _folded(topology: Snapshot, news: News) -> Workspace:
    work = Workspace(topology)
    for kind, id, thing in news.things:
        old = work.get(kind, id)
        if old is not None or thing is not None:
            work.change(old, thing)
    return work


def _set_aside(one: Quarantined) -> str:
    return f"{one.object} was set aside: {one.reason}; apply tries it again"


def _named(watcher: int | None) -> str:
    return f"process {watcher}, which watches," if watcher else "the process that watches"
