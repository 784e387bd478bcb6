"""Durable state: two short transactions a change, so that a crash leaves the old state, the new one, or a pending revision.

Several processes may share a store. A change is made under a lock beside it, by whoever has first folded in, from the log
of changes, what the others did; the number of the newest revision, checked in `begin`, and the keys of the tables are the
last word where the lock could not be.

`begin` writes the new objects and a revision that is pending; addresses that a change gives up stay taken as `leaving`
until `finish`, because nobody may have them before the data plane is seen without them. `cancel` takes a begun revision
back. The tables follow the model class by class and column by column; `addresses` is one table for all owners with
(network, version, address) as its key, which is the last word on who has what.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from vipnet.accounts import Account, Closing, added
from vipnet.config import store_path
from vipnet.errors import InputParameterError
from vipnet.intents import Released
from vipnet.model import Thing
from vipnet.topology import Snapshot
from vipnet.working import Change

__all__ = ["Loaded", "MemoryStore", "News", "Outcome", "Pending", "StaleError", "Store", "open_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A revision whose programming is not known to be complete. `transitions`: object id to what happens to it.

    `thorough`: whoever programs it is to compare everything, and to set aside what is refused.
    """

    revision: int
    transitions: Mapping[str, str] = field(default_factory=dict[str, str])
    released: Sequence[Released] = ()
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a revision, and what whoever programmed it has to say, "": nothing."""

    state: Literal["pending", "programmed", "cancelled"]
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a store holds: the desired model, its newest revision, the revisions that are pending."""

    topology: Snapshot
    revision: int
    pending: tuple[Pending, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What others did since a revision: objects put, or removed (None), by kind and id, in order."""

    revision: int
    things: tuple[tuple[type[Thing], str, Thing | None], ...]
    pending: tuple[Pending, ...]


class StaleError(Exception):
    """The store has a newer revision than the one a change was made on."""


class Store(Protocol):
    """Where the model lives. Every method but `lock` is one short transaction."""

    url: str

    def load(self) -> Loaded: ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes from changing store and data plane. DataplaneError when one of them does not let go."""
        ...

    def moved(self) -> bool:
        """Whether anything may have been written since this was asked last but by us, who were told so. Cheap."""
        ...

    def news(self, since: int, *, with_pending: bool) -> News | None:
        """What happened since a revision, as far as it is programmed unless `with_pending`; None: the log does not reach back."""
        ...

    def stamp(self) -> str:
        """What the backend said of the data plane when the newest revision was programmed."""
        ...

    def bind(self, backend: str, host: str) -> None:
        """Tie the store to a backend and host scope, or raise InputParameterError if it is tied to others."""
        ...

    def check_binding(self, backend: str, host: str) -> None:
        """Raise InputParameterError if the store is tied to another backend or host scope."""
        ...

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        """Write a revision as pending. Raises StaleError when it is not the one after the newest."""
        ...

    def finish(self, revisions: Iterable[int], stamp: str, closing: Closing) -> None:
        """Mark revisions as programmed, with the backend's stamp; addresses that were leaving are free, or rest.

        What they end goes to the accounts, unless others have marked them meanwhile.
        """
        ...

    def account(self, eip_id: str) -> Account | None:
        """What ended mappings of an EIP had counted, now, whatever state was loaded; None: none has ended."""
        ...

    def cancel(self, changes: Sequence[Change], revision: int, reason: str) -> None:
        """Take a pending revision back, and say why."""
        ...

    def claim(self) -> bool:
        """Let other processes leave it to this one to program; False: another one does, or this store cannot say so."""
        ...

    def watcher(self) -> int | None:
        """The process, another one, that programs what is stored, 0: not known which; None: whoever stores it. Cheap."""
        ...

    def release(self) -> None:
        """Let other processes program by themselves."""
        ...

    def answer(self, revisions: Iterable[int], said: str) -> None:
        """Say something of revisions to who has stored them and waits for them."""
        ...

    def outcome(self, revision: int) -> Outcome:
        """What became of a revision. Cheap while it is pending."""
        ...

    def close(self) -> None: ...


def open_store(url: str, *, by_key: bool = False) -> Store:
    """Open `memory:`, `sqlite:///PATH` (made with mode 0600 if absent) or a PostgreSQL URL.

    With `by_key` the model of a file is not read at once but object by object, as it is asked for: what a short-lived
    process wants, whose `load` must stay open as long as its topology is used.
    """
    path = store_path(url)
    if url == "memory:":
        return MemoryStore()
    from vipnet.sqlstore import SqlStore

    if path is None:
        return SqlStore(url, None)
    _make_private(path)
    return SqlStore(f"sqlite:///{path}", path, by_key=by_key)


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise InputParameterError(f"store {str(path)!r} cannot be opened: {reason}; name a file that can be written") from error


class MemoryStore:
    """Keeps accounts and nothing else: the model lives as long as its Controller."""

    url = "memory:"

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def load(self) -> Loaded:
        return Loaded(topology=Snapshot.empty(), revision=0, pending=())

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def moved(self) -> bool:
        return False

    def news(self, since: int, *, with_pending: bool) -> News | None:  # noqa: ARG002 -- nobody else writes here
        return News(revision=since, things=(), pending=())

    def stamp(self) -> str:
        return ""

    def bind(self, backend: str, host: str) -> None:
        pass

    def check_binding(self, backend: str, host: str) -> None:
        pass

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        pass

    def finish(self, revisions: Iterable[int], stamp: str, closing: Closing) -> None:  # noqa: ARG002 -- nobody asks for it
        newest = max(revisions, default=0)
        for id, counters in closing.counted.items():
            self._accounts[id] = added(self._accounts.get(id), counters, newest)
        for id in closing.gone:
            self._accounts.pop(id, None)

    def account(self, eip_id: str) -> Account | None:
        return self._accounts.get(eip_id)

    def cancel(self, changes: Sequence[Change], revision: int, reason: str) -> None:
        pass

    def claim(self) -> bool:
        return True

    def watcher(self) -> int | None:
        return None

    def release(self) -> None:
        pass

    def answer(self, revisions: Iterable[int], said: str) -> None:
        pass

    def outcome(self, revision: int) -> Outcome:  # noqa: ARG002 -- nobody else programs
        return Outcome("programmed")

    def close(self) -> None:
        pass
