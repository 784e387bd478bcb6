"""The Controller: what embeds vipnet opens; its verbs are commits (`vipnet.committer`)."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from vipnet.backend import Backend, BackendContext
from vipnet.config import Config, load_config, store_path
from vipnet.errors import DataplaneError, InvalidStatusError
from vipnet.keeper import Keeper
from vipnet.naming import naming
from vipnet.operations.draft import Progress, World
from vipnet.plan import Plan
from vipnet.reconcile import Quarantined, Work
from vipnet.registry import load_backend
from vipnet.reports import ApplyReport, Status
from vipnet.revisions import Begun
from vipnet.store import Pending, Store, open_store
from vipnet.trace import ask, shown
from vipnet.views import TraceView
from vipnet.watch import Report, Watch, Watched

__all__ = ["Controller"]

_NOTHING: Plan[Any] = Plan()



class Controller(Keeper):
    """A model with its store and data plane. Thread-safe; use it as a context manager, or close it.

    Verbs are on `vpcs`, `networks`, `hosts`, `servers`, `groups` and `eips`, those of the whole model here: `export`,
    `import_topology`, `picture`. A refused verb raises a RefusedError and
    changes nothing; DataplaneError says by `pending` whether the change is stored and waits for `apply`.
    """

    def __init__(
        self, *, config: Config, store: Store, backend: Backend[Any], world: World | None = None, by_key: bool = False
    ) -> None:
        super().__init__(config=config, store=store, backend=backend, world=world)
        self._by_key = by_key

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
        chosen = {**settings.backends.get(settings.backend, {}), **options}
        settings = replace(settings, backends={**settings.backends, settings.backend: chosen})
        kind = load_backend(settings.backend)
        path = store_path(settings.store)
        context = BackendContext(
            options=chosen,
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
        with ExitStack() as closing:
            closing.callback(self._store.close)
            closing.callback(self.backend.close)
            closing.callback(self._let_go)
            if self._watch is not None:
                closing.callback(self._watch.end)

    def settle(self) -> None:
        """Take everything that lives now out of Python's garbage collection (gc.freeze), for the whole process.

        A full collection over a model of a million objects stops the process for seconds, in the middle of a verb. Call it
        once after filling or opening a large store; vipnet never does so by itself.
        """
        gc.collect()
        gc.freeze()

    def plan(self) -> Plan[Any]:
        """Compare the desired state with what is installed, changing nothing. Raises DataplaneError if it cannot be read."""
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._plane.require_usable()
            self._refresh(with_pending=not self._claimed)
            if self._is_as_left():
                return _NOTHING
            return self._plane.compared(self._topology)[0]

    def apply(self, *, audit: bool = False) -> ApplyReport:
        """Make the data plane what it should be: finish what is pending, repair drift, set aside what is refused.

        `audit` asks for everything to be read back even where the backend could tell by cheaper means that nothing moved.
        Where another process watches, that one is waited for. Raises DataplaneError.
        """
        with self._exclusive(), naming(self._topology):
            with self._turn(finishes=False) as watcher:
                known = not self._pending and self._plane.is_sound(self._topology, self._store.stamp)
                look = self._resync if watcher is None else self._compare
                plan, aside = (_NOTHING, []) if known and not audit else look()
                begun = self._ask() if watcher is not None and (plan or aside) else None
            if begun is not None and watcher is not None and (said := self._told(begun, watcher)):
                aside = [Quarantined(f"revision {begun.pending.revision}", said)]
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

    def _compare(self) -> tuple[Plan[Any], list[Quarantined]]:
        return self._plane.compared(self._topology)

    def _ask(self) -> Begun:
        """Ask the process that watches to compare everything: by a revision in which nothing changes."""
        pending = Pending(revision=self._revision + 1, thorough=True)
        self._store.begin([], pending)
        begun = Begun(Work({}, {}, _NOTHING, []), [], pending, self._topology)
        self._pending.append(pending)
        self._revision = pending.revision
        return begun

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
            try:
                watch.end()
            finally:
                self._let_go()

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
                keep=self._keep,
                refresh=lambda asks: self._look_round(asks=asks),
                pace=self._pace,
            )
            watch = Watch(watched, report)
            try:
                watch.begin()
            except BaseException:
                self._let_go()
                raise
            self._watch = watch
            return watch

    def status(self) -> Status:
        """Say how things stand; a data plane that cannot be asked is a warning here, never an error."""
        with self._exclusive(), self._store.lock():
            self._refresh(with_pending=not self._claimed)
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
            self._refresh(with_pending=not self._claimed)
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
