"""What is stored and what is programmed: the revisions of one store, and one data plane that follows them.

A change is stored as a revision that is pending, programmed, and marked. What others have stored is folded in, what somebody left
pending is finished; the verbs and their locks are the Committer's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from vipnet.accounts import Closing
from vipnet.backend import Backend
from vipnet.bulk import uncollected
from vipnet.config import Config
from vipnet.errors import DataplaneError, InputParameterError, OwnedError, VipnetError
from vipnet.model import Address
from vipnet.naming import naming
from vipnet.operations.draft import Draft, World
from vipnet.plan import Plan
from vipnet.plane import Plane, Programmed
from vipnet.reconcile import Quarantined, Refused, Work
from vipnet.reports import transitions
from vipnet.store import News, Pending, Store
from vipnet.topology import Snapshot
from vipnet.transaction import AllVerbs
from vipnet.working import Change, Workspace

__all__ = ["Begun", "Revisions"]

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Begun:
    """A change that is stored, and the model before it."""

    work: Work
    changes: Sequence[Change]
    pending: Pending
    before: Snapshot

class Revisions(AllVerbs):
    """A store, the model as it was read from there, and the data plane."""

    def __init__(self, *, config: Config, store: Store, backend: Backend[Any], world: World | None) -> None:
        super().__init__()
        self.config = config
        self._store = store
        self._world = world or World()
        self._plane = Plane(backend, config, self._world.progress)
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
        with uncollected():
            loaded = self._store.load()
        self._topology = loaded.topology
        self._revision = loaded.revision
        self._pending = list(loaded.pending)
        self._world.progress("working")

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
