"""Commits: one model, one store, one backend; every verb is a transaction over all three.

A change: validate on a draft; `begin` in the store (revision pending); program the data plane, one native transaction a
target; flush what lived on released addresses; `finish` in the store. A refusal by the data plane takes everything back. A lost
target leaves the revision pending, and whoever comes next finishes it before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from vipnet.accounts import Closing
from vipnet.backend import Backend
from vipnet.config import Config
from vipnet.errors import ConflictError, DataplaneError, InputParameterError, InvalidStatusError, VipnetError
from vipnet.model import Address, Eip
from vipnet.naming import naming
from vipnet.operations.draft import Draft, World
from vipnet.plan import Plan
from vipnet.plane import Plane, Programmed
from vipnet.reconcile import Quarantined, Refused
from vipnet.reports import transitions
from vipnet.store import News, Pending, StaleError, Store
from vipnet.topology import Snapshot
from vipnet.transaction import AllVerbs, Transaction
from vipnet.turns import Turns
from vipnet.viewer import Viewer
from vipnet.views import Counters
from vipnet.working import Change, Workspace

__all__ = ["Committer"]

R = TypeVar("R")
V = TypeVar("V")


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
            self._topology = _folded(self._topology, news)
        self._revision = news.revision
        self._pending += news.pending

    def mutate(self, operation: Callable[[Draft], R], view: Callable[[Viewer, R], V]) -> V:
        with self._exclusive(), self._store.lock():
            while True:
                self._refresh(with_pending=True)
                self._finish_pending()
                draft = Draft(self._topology, self.config, self._world)
                result = operation(draft)
                try:
                    with naming(draft.topology):
                        self._commit(draft)
                except StaleError:  # where processes share no lock: what was first stays, this is made anew on top of it
                    continue
                return view(replace(self._viewer(), warnings=tuple(draft.warnings)), result)

    @contextmanager
    def transaction(self, *, dry_run: bool = False) -> Generator[Transaction, None, None]:
        """Run many verbs on one draft and commit it at the end of the block, all or nothing; an exception drops it.

        With `dry_run` nothing is committed; either way the transaction's `plan` is what the data plane was to change.
        """
        with self._exclusive(), nullcontext() if dry_run else self._store.lock():
            self._refresh(with_pending=not dry_run)
            if not dry_run:
                self._finish_pending()
            draft = Draft(self._topology, self.config, self._world)
            self._open = Transaction(draft)
            try:
                yield self._open
                with naming(draft.topology):
                    self._open.plan = self._plane.work(self._topology, draft).plan if dry_run else self._commit(draft)
            except StaleError as error:
                raise ConflictError("another process changed the store meanwhile; run the transaction again") from error
            finally:
                self._open.end()
                self._open = None

    @contextmanager
    def _exclusive(self) -> Generator[None, None, None]:
        with self._lock:
            if self._open is not None:  # the lock lets this thread in again; other threads wait above
                raise InvalidStatusError("a transaction is open in this thread; use its verbs, or end it first")
            yield

    # ------------------------------------------------------------------------------------------------- commit

    def _commit(self, draft: Draft) -> Plan[Any]:
        changes = draft.topology.changes()
        if not changes:
            return Plan()
        work = self._plane.work(self._topology, draft)
        self._catch_up()
        self._store.bind(self.backend.name, self.config.host)
        pending = Pending(
            revision=self._revision + 1,
            transitions=transitions(changes, draft.topology, self._topology),
            released=work.released,
        )
        self._world.progress("storing the change")
        self._begin(changes, pending)
        previous = self._topology
        self._pending.append(pending)
        self._topology = draft.topology.settled()
        self._revision = pending.revision
        with self._pending_until_done():
            try:
                done = self._plane.program(work, self._topology, pending, sets_aside=draft.sets_aside)
            except Refused as refusal:
                self._plane.forget(work)
                self._store.cancel(changes, pending.revision)
                self._topology = previous
                self._pending.remove(pending)
                raise self._plane.refusal(work, refusal) from refusal
            self._mark(done)
        aside = done.aside
        try:
            aside += self._conclude(done)
        except VipnetError as error:  # it is programmed all the same
            draft.warnings.append(f"what counted mappings that ended may still be there: {error.details}; apply takes it away")
        draft.warnings += [f"{one.object} was set aside: {one.reason}; apply tries it again" for one in aside]
        return work.plan

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
        self._mark(done)
        if had_pending and any(address.state == "leaving" for address in self._topology.all(Address)):
            self._load()  # the store knows which of them are free now, and which rest
        self._conclude(done)
        return done.plan, list(self._plane.quarantined)


def _folded(topology: Snapshot, news: News) -> Snapshot:
    work = Workspace(topology)
    for kind, id, thing in news.things:
        old = work.get(kind, id)
        if old is not None or thing is not None:
            work.change(old, thing)
    return work.settled()
