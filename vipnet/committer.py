"""Commits: one model, one store, one backend; every verb is a transaction over all three.

A change: validate on a draft; `begin` in the store (revision pending); program the data plane, one native transaction a
target; flush what lived on released addresses; `finish` in the store. A refusal by the data plane takes everything back. A lost
target leaves the revision pending, and whoever comes next finishes it before anything else. Where another process watches, that
one programs what this one has stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from vipnet.backend import Backend
from vipnet.config import Config
from vipnet.errors import ConflictError, DataplaneError, InvalidStatusError
from vipnet.model import Eip
from vipnet.naming import named, naming
from vipnet.operations.draft import Draft, World
from vipnet.revisions import Begun, Revisions
from vipnet.store import Outcome, StaleError, Store
from vipnet.transaction import Transaction
from vipnet.turns import Turns
from vipnet.viewer import Viewer
from vipnet.views import Counters

__all__ = ["Committer"]

PATIENCE: Final = 10.0
"""Seconds in which a process that watches has programmed what another one stored."""

_PAUSE: Final = 0.002

R = TypeVar("R")
V = TypeVar("V")


class Committer(Revisions):
    """The verbs of a Controller, each a commit; what it asks of the data plane beside is the Controller's own."""

    def __init__(self, *, config: Config, store: Store, backend: Backend[Any], world: World | None = None) -> None:
        self._lock = Turns()
        self._open: Transaction | None = None
        super().__init__(config=config, store=store, backend=backend, world=world)

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
                raise DataplaneError(f"{_words(watcher)} has not programmed revision {revision}; nothing else has changed")

    @contextmanager
    def _exclusive(self) -> Generator[None, None, None]:
        with self._lock:
            if self._open is not None:  # the lock lets this thread in again; other threads wait above
                raise InvalidStatusError("a transaction is open in this thread; use its verbs, or end it first")
            yield

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
                f"{_words(watcher)} has not programmed revision {revision} within {PATIENCE:g} s; it is stored and pending",
                pending=True,
            )
        if outcome is None:  # it has gone, and this process, or another one that came, is to do it
            with self._turn():
                outcome = self._store.outcome(revision)
        said = named(outcome.said, self._topology)
        if begun.pending in self._pending:
            self._pending.remove(begun.pending)
            if outcome.state == "cancelled":
                self._topology = begun.before
        if outcome.state == "cancelled":
            raise DataplaneError(said or f"revision {revision} was taken back")
        return said

    def _awaited(self, revision: int) -> Outcome | None:
        """What became of a revision that another process is to program; None: nothing in time, or it has gone."""
        self._world.progress("waiting for the process that watches")
        until = time.monotonic() + PATIENCE
        while (found := self._store.outcome(revision)).state == "pending":
            if time.monotonic() > until or self._store.watcher() is None:
                return None
            time.sleep(_PAUSE)
        return found


def _words(watcher: int | None) -> str:
    return f"process {watcher}, which watches," if watcher else "the process that watches"
