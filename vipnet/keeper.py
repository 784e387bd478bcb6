"""What a Controller does while somebody watches: it repairs, keeps others off the data plane, and programs for them."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

from vipnet.accounts import Closing
from vipnet.backend import Backend
from vipnet.committer import Committer
from vipnet.config import Config
from vipnet.errors import DataplaneError
from vipnet.naming import naming
from vipnet.operations.draft import World
from vipnet.plan import Plan
from vipnet.store import Store
from vipnet.watch import POLL, Mended, Watch

__all__ = ["Keeper"]

_CALM, _BUSY, _REST = 0.05, 0.005, 1.0
"""Seconds between two looks at whether another process has stored something; the shorter ones for so long after it has. A look
takes 13 us, waking up for it 0.4 ms: together less than 1 % of a processor."""


class Keeper(Committer):
    """The verbs of a Controller, and what its watch needs."""

    def __init__(self, *, config: Config, store: Store, backend: Backend[Any], world: World | None = None) -> None:
        super().__init__(config=config, store=store, backend=backend, world=world)
        self._watch: Watch | None = None
        self._keeps = True
        self._served_at = 0.0

    def _pace(self) -> float:
        if not self._claimed:
            return POLL
        return _BUSY if time.monotonic() < self._served_at + _REST else _CALM

    def _keep(self) -> None:
        """Have the data plane to ourselves, and program for other processes, unless one of them does so for us."""
        if self._claimed or not self._keeps or self._store.watcher() is not None:
            return
        with self._store.lock(), naming(self._topology):
            if self._store.claim():
                try:
                    self._refresh(with_pending=True)
                    self._finish_pending()
                    self._catch_up()
                    self._keeps = self._claimed = self.backend.own()
                    self._restamp()
                finally:
                    if not self._claimed:
                        self._store.release()

    def _let_go(self) -> None:
        with self._lock, self._store.lock() if self._claimed and self._open is None else nullcontext():
            self._keeps = True
            if self._claimed:
                try:
                    self.backend.disown()
                    self._restamp()
                finally:
                    self._claimed = False
                    self._store.release()

    def _mend(self, places: Collection[str] | None, hidden: Collection[str]) -> Mended:
        """Repair what drifted in some places, None: in all; `hidden` ones are compared though nothing shows."""
        with self._exclusive(), self._store.lock(), naming(self._topology):
            self._take_in()
            if self._store.watcher() is not None:  # another process repairs
                return Mended(Plan())
            if places is None or self._pending:
                known = not (hidden or self._pending) and self._plane.is_sound(self._topology, self._store.stamp)
                plan, aside = (Plan(), []) if known else self._resync()
                return Mended(plan, tuple(aside))
            drifted = self._plane.disturbed(places, self._store.stamp) | frozenset(hidden)
            if not drifted:
                return Mended(Plan())
            plan, aside = self._plane.recheck(self._topology, drifted)
            self._restamp()
            return Mended(plan, tuple(aside))

    def _restamp(self) -> None:
        """Leave word of what is installed now, for other processes."""
        if self._plane.is_synced and (stamp := self._plane.stamp()) != self._store.stamp():
            self._store.finish([], stamp, Closing())

    def _look_round(self, *, asks: bool) -> bool:
        """Fold in what other processes did, prepare the data plane for what may come, and say, if asked, whether it has changed;
        not while somebody works."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._open is not None:
                return False
            self._refresh(with_pending=False)
            if self._claimed and self._behind and not self._serve_others():
                return True
            if self._watch is not None:
                self._keep()
            if not self.backend.is_prepared():
                with self._store.lock():
                    self.backend.prepare()
                    self._restamp()
            return asks and not self._plane.is_untouched()
        finally:
            self._lock.release()

    def _serve_others(self) -> bool:
        """Program what other processes have stored; False: it could not be, and is to be tried again."""
        with self._store.lock(), naming(self._topology):
            try:
                self._take_in()
                self._finish_pending()
                self._served_at = time.monotonic()
            except DataplaneError as error:
                self._store.answer([one.revision for one in self._pending], error.details)
                return False
            return True
