"""The Controller: one model, one store, one backend; every verb is a transaction over all three.

How a change is committed: validate on a draft; `begin` in the store (revision pending); program the data plane, one
native transaction a target; flush what lived on released addresses; `finish` in the store. A refusal by the data plane
takes everything back. A lost target leaves the revision pending, and whoever comes next finishes it before anything else.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from vipnet.accounts import Closing
from vipnet.backend import Backend, BackendContext
from vipnet.config import Config, load_config, store_path
from vipnet.errors import ConflictError, DataplaneError, InputParameterError, InvalidStatusError, VipnetError
from vipnet.model import Address, Eip
from vipnet.naming import naming
from vipnet.operations.draft import Draft, Progress, World
from vipnet.plan import Plan
from vipnet.plane import Plane, Programmed
from vipnet.reconcile import Quarantined, Refused
from vipnet.registry import load_backend
from vipnet.reports import ApplyReport, Status, transitions
from vipnet.store import News, Pending, StaleError, Store, open_store
from vipnet.topology import Snapshot
from vipnet.trace import ask, shown
from vipnet.transaction import AllVerbs, Transaction
from vipnet.turns import Turns
from vipnet.viewer import Viewer
from vipnet.views import Counters, TraceView
from vipnet.watch import Mended, Report, Watch, Watched
from vipnet.working import Change, Workspace

__all__ = ["Controller"]

_NOTHING: Plan[Any] = Plan()

R = TypeVar("R")
V = TypeVar("V")


class Controller(AllVerbs):
    """A model with its store and data plane. Thread-safe; use it as a context manager, or close it.

    Verbs are on `vpcs`, `networks`, `hosts`, `servers`, `groups` and `eips`, those of the whole model here: `export`,
    `import_topology`, `picture`. A refused verb raises a RefusedError and
    changes nothing; DataplaneError says by `pending` whether the change is stored and waits for `apply`.
    """

    def __init__(
        self, *, config: Config, store: Store, backend: Backend[Any], world: World | None = None, by_key: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self._store = store
        self._world = world or World()
        self._lock = Turns()
        self._plane = Plane(backend, config, self._world.progress)
        self._open: Transaction | None = None
        self._watch: Watch | None = None
        self._by_key = by_key
        self._behind = True
        store.check_binding(backend.name, config.host)
        self._load()

    @classmethod
    def open(
        cls,
        config: str | Path | Config | None = None,
        *,
        store: str | None = None,
        backend: str | None = None,
        world: World | None = None,
        by_key: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Controller:
        """Open a configuration file, or a Config, or the defaults; `store`, `backend` and the backend's options win over it.

        With `by_key` objects are read from the store as they are asked for, instead of all at once: for processes that make
        a few changes and end. `topology` must then not be used after `close`.
        `progress` is told what is under way, often, in the thread that does it: (stage, done, total), total 0: not known.
        Raises InputParameterError for a wrong configuration or a store that is bound otherwise.
        """
        settings = config if isinstance(config, Config) else Config() if config is None else load_config(Path(config))
        settings = replace(settings, store=store or settings.store, backend=backend or settings.backend)
        kind = load_backend(settings.backend)
        path = store_path(settings.store)
        context = BackendContext(
            options={**settings.backends.get(settings.backend, {}), **options},
            state=None if path is None else path.with_name(f"{path.name}.{settings.backend}.state"),
        )
        plane = kind(context)
        try:
            opened = open_store(settings.store, by_key=by_key)
        except BaseException:
            plane.close()
            raise
        try:
            world = world or World()
            world = world if progress is None else replace(world, progress=progress)
            return cls(config=settings, store=opened, backend=plane, world=world, by_key=by_key)
        except BaseException:
            opened.close()
            plane.close()
            raise

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the store and the backend's sockets; what is installed stays. A watch ends."""
        try:
            if self._watch is not None:
                self._watch.end()
        finally:
            try:
                self.backend.close()
            finally:
                self._store.close()

    def settle(self) -> None:
        """Take everything that lives now out of Python's garbage collection (gc.freeze), for the whole process.

        A full collection over a model of a million objects stops the process for seconds, in the middle of a verb. Call it
        once after filling or opening a large store; vipnet never does so by itself.
        """
        gc.collect()
        gc.freeze()

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
        self._store.finish([pending.revision for pending in self._pending], stamp, done.closing)
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

    # ------------------------------------------------------------------------------------------------- the data plane

    def plan(self) -> Plan[Any]:
        """Compare the desired state with what is installed, changing nothing. Raises DataplaneError if it cannot be read."""
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._plane.require_usable()
            self._refresh(with_pending=True)
            if self._is_as_left():
                return _NOTHING
            return self._plane.compared(self._topology)[0]

    def apply(self, *, audit: bool = False) -> ApplyReport:
        """Make the data plane what it should be: finish what is pending, repair drift, set aside what is refused.

        `audit` asks for everything to be read back even where the backend could tell by cheaper means that nothing moved.
        """
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._refresh(with_pending=True)
            known = self._is_as_left() or (not (self._pending or self._plane.quarantined) and self._plane.is_untouched())
            plan, aside = (_NOTHING, []) if known and not audit else self._resync()
            created = sum(len(target.create) for target in plan.targets)
            replaced = sum(len(target.replace) for target in plan.targets)
            deleted = sum(len(target.delete) for target in plan.targets)
            return ApplyReport(
                changed=created + replaced + deleted,
                created=created,
                replaced=replaced,
                deleted=deleted,
                quarantined=tuple(aside),
                revision=self._revision,
            )

    @contextmanager
    def watch(self, report: Report | None = None) -> Generator[Watch, None, None]:
        """Watch over the data plane for the length of a `with` block: repair what others change, say what happens.

        `report` is called with each event, in a thread of the watch, one after the other; what it raises ends the reports and
        comes out of the block. What was adrift is repaired before the block begins. Verbs go on meanwhile, also by other
        processes. Raises DataplaneError where that cannot be, InvalidStatusError for a second watch on one Controller.
        """
        watch = self._begin_watch(report)
        try:
            yield watch
        finally:
            self._watch = None
            watch.end()

    def _begin_watch(self, report: Report | None) -> Watch:
        if self._by_key:
            raise InvalidStatusError("a Controller opened by_key reads as it goes, for one thread; open it without to watch")
        with self._exclusive():
            if self._watch is not None:
                raise InvalidStatusError("this Controller is watched already; end that watch first")
            watched = Watched(
                backend=self.backend,
                config=self.config,
                topology=lambda: self._topology,
                mend=self._mend,
                refresh=lambda asks: self._look_round(asks=asks),
            )
            self._watch = Watch(watched, report)
            try:
                self._watch.begin()
            except BaseException:
                self._watch = None
                raise
            return self._watch

    def _mend(self, places: Collection[str] | None, hidden: Collection[str]) -> Mended:
        """Repair what drifted in some places, None: in all; `hidden` ones are compared though nothing shows."""
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._refresh(with_pending=True)
            if places is None or self._pending:
                known = not (hidden or self._pending or self._plane.quarantined) and self._plane.is_known(self._store.stamp)
                plan, aside = (_NOTHING, []) if known else self._resync()
                return Mended(plan, tuple(aside))
            drifted = self._plane.disturbed(places, self._store.stamp) | frozenset(hidden)
            if not drifted:
                return Mended(_NOTHING)
            plan, aside = self._plane.recheck(self._topology, drifted)
            if self._plane.is_synced and (stamp := self._plane.stamp()) != self._store.stamp():
                self._store.finish([], stamp, Closing())
            return Mended(plan, tuple(aside))

    def _look_round(self, *, asks: bool) -> bool:
        """Fold in what other processes did, and say, if asked, whether the data plane has changed; not while somebody works."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._open is not None:
                return False
            self._refresh(with_pending=False)
            return asks and not self._plane.is_untouched()
        finally:
            self._lock.release()

    def status(self) -> Status:
        """Say how things stand; a data plane that cannot be asked is a warning here, never an error."""
        with self._exclusive(), self._store.lock():
            self._refresh(with_pending=True)
            entries, drift, aside, warnings = self._asked()
            return Status(
                backend=self.backend.name,
                store=self._store.url,
                revision=self._revision,
                programmed=min((pending.revision - 1 for pending in self._pending), default=self._revision),
                pending=tuple(pending.revision for pending in self._pending),
                entries=entries,
                drift=drift,
                quarantined=aside,
                versions=self.backend.versions(),
                warnings=warnings,
            )

    def trace(
        self,
        *,
        from_: str,
        dst: str | None = None,
        src: str | None = None,
        proto: str = "tcp",
        sport: int | None = None,
        dport: int | None = None,
    ) -> TraceView:
        """Follow the first packet between two ends through the model, and look for what it needs in the data plane.

        `from_` is a server, or "external"; `src` its own address if not given (from external: some public one); `proto` is
        tcp, udp, icmp, arp (neighbour discovery too) or 112, VRRP, whose `dst` is its multicast group if not given. Changes
        nothing and sends nothing. Where the data plane cannot be asked the answer is the model's, and a warning says so.
        Raises InputParameterError, MissingParameterError or ResourceNotFoundError for a packet that cannot be.
        """
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._refresh(with_pending=True)
            question = ask(self._topology, self.config, from_=from_, src=src, dst=dst, proto=proto, sport=sport, dport=dport)
            explained, unasked = self._plane.explained(self._topology, question)
            return shown(explained, question.packet, self._topology, remedy=self._remedy(), unasked=unasked)

    def _remedy(self) -> str:
        """Who puts right what is not installed."""
        if self._pending:
            return f"revision {self._pending[0].revision} is pending, vipnet apply finishes it"
        return "vipnet apply puts it right"

    def _asked(self) -> tuple[dict[str, int], bool | None, tuple[Quarantined, ...], tuple[str, ...]]:
        try:
            self._plane.require_usable()
            plan, aside = _NOTHING, list[Quarantined]()
            if not self._is_as_left():
                plan, aside = self._plane.compared(self._topology)
            entries = self.backend.counts()
        except DataplaneError as error:
            return {}, None, self._plane.quarantined, (error.details,)
        return dict(sorted(entries.items())), bool(plan), (*self._plane.quarantined, *aside), ()


def _folded(topology: Snapshot, news: News) -> Snapshot:
    work = Workspace(topology)
    for kind, id, thing in news.things:
        old = work.get(kind, id)
        if old is not None or thing is not None:
            work.change(old, thing)
    return work.settled()
