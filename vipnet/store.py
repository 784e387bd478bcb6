"""Durable state: two short transactions a change, so that a crash leaves the old state, the new one, or a pending revision.

`begin` writes the new objects and a revision that is pending; addresses that a change gives up stay taken as `leaving`
until `finish`, because nobody may have them before the data plane is seen without them. `cancel` takes a begun revision
back. The tables follow the model class by class and column by column; `addresses` is one table for all owners with
(network, version, address) as its key, which is the last word on who has what.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from vipnet.config import store_path
from vipnet.errors import ConflictError, InputParameterError
from vipnet.intents import Released
from vipnet.model import Address, Network, Thing
from vipnet.operations.draft import Change
from vipnet.rows import decoded, encoded, key_of, make_schema
from vipnet.topology import Topology

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Loaded", "MemoryStore", "Pending", "SqlStore", "Store", "open_store"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A revision whose programming is not known to be complete. `transitions`: object id to what happens to it."""

    revision: int
    transitions: Mapping[str, str] = field(default_factory=dict[str, str])
    released: Sequence[Released] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a store holds: the desired model, its newest revision, the revisions that are pending."""

    topology: Topology
    revision: int
    pending: tuple[Pending, ...]


class Store(Protocol):
    """Where the model lives. Every method is one short transaction."""

    url: str

    def load(self) -> Loaded: ...

    def bind(self, backend: str, host: str) -> None:
        """Tie the store to a backend and host scope, or raise InputParameterError if it is tied to others."""
        ...

    def check_binding(self, backend: str, host: str) -> None:
        """Raise InputParameterError if the store is tied to another backend or host scope."""
        ...

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        """Write a revision as pending."""
        ...

    def finish(self, revisions: Iterable[int]) -> None:
        """Mark revisions as programmed; addresses that were leaving are free, or rest."""
        ...

    def cancel(self, changes: Sequence[Change], revision: int) -> None:
        """Take a pending revision back."""
        ...

    def close(self) -> None: ...


def open_store(url: str) -> Store:
    """Open `memory:`, `sqlite:///PATH` (made with mode 0600 if absent) or a PostgreSQL URL."""
    path = store_path(url)
    if url == "memory:":
        return MemoryStore()
    if path is None:
        return SqlStore(url)
    _make_private(path)
    return SqlStore(f"sqlite:///{path}")


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise InputParameterError(f"store {path} cannot be opened: {error.strerror}; name a file that can be written") from error


class MemoryStore:
    """Keeps nothing: the model lives as long as its Controller."""

    url = "memory:"

    def load(self) -> Loaded:
        return Loaded(topology=Topology.empty(), revision=0, pending=())

    def bind(self, backend: str, host: str) -> None:
        pass

    def check_binding(self, backend: str, host: str) -> None:
        pass

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        pass

    def finish(self, revisions: Iterable[int]) -> None:
        pass

    def cancel(self, changes: Sequence[Change], revision: int) -> None:
        pass

    def close(self) -> None:
        pass


class SqlStore:
    """A store in a database, through SQLAlchemy Core. Not thread-safe: its Controller serialises."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self.url = self._engine.url.render_as_string(hide_password=True)
        self._schema = make_schema()
        with self._transaction() as sql:
            self._check_version(sql)

    @contextmanager
    def _transaction(self) -> Generator[Connection, None, None]:
        from sqlalchemy.exc import DatabaseError, IntegrityError

        try:
            with self._engine.begin() as sql:
                yield sql
        except IntegrityError as error:
            raise ConflictError(
                f"store {self.url} was changed by another process at the same time ({error.orig}); try again"
            ) from error
        except DatabaseError as error:
            raise InputParameterError(f"store {self.url} cannot be used: {error.orig}; name another, or repair it") from error

    def _check_version(self, sql: Connection) -> None:
        from sqlalchemy import inspect

        if not inspect(sql).has_table("meta"):
            self._schema.metadata.create_all(sql)
            sql.execute(self._schema.meta.insert(), {"key": "schema", "value": str(SCHEMA_VERSION)})
            return
        version = int(self._meta(sql).get("schema", "0"))
        if version > SCHEMA_VERSION:
            raise InputParameterError(
                f"store {self.url} has schema {version}; this vipnet knows schemas up to {SCHEMA_VERSION}; use a newer vipnet"
            )

    def _meta(self, sql: Connection) -> dict[str, str]:
        return {row.key: row.value for row in sql.execute(self._schema.meta.select())}

    def load(self) -> Loaded:
        topology = Topology.empty()
        with self._transaction() as sql:
            for kind, table in self._schema.tables.items():
                columns = ", ".join(table.columns.keys())
                # driver SQL: compiling thirteen statements would cost a short-lived process more than running them
                for row in sql.exec_driver_sql(f"SELECT {columns} FROM {table.name}").mappings():  # noqa: S608 -- our names
                    topology = topology.put(decoded(kind, dict(row)))
            revisions = sql.execute(self._schema.revisions.select().order_by(self._schema.revisions.c.id)).all()
        return Loaded(
            topology=topology,
            revision=max((row.id for row in revisions), default=0),
            pending=tuple(_pending(row) for row in revisions if row.state == "pending"),
        )

    def check_binding(self, backend: str, host: str) -> None:
        with self._transaction() as sql:
            self._checked_binding(sql, backend, host)

    def _checked_binding(self, sql: Connection, backend: str, host: str) -> bool:
        meta = self._meta(sql)
        if "backend" not in meta:
            return False
        if (meta["backend"], meta["host"]) != (backend, host):
            raise InputParameterError(
                f"store {self.url} is bound to backend {meta['backend']!r} and host {meta['host']!r}, "
                f"not to backend {backend!r} and host {host!r}; use those, or another store"
            )
        return True

    def bind(self, backend: str, host: str) -> None:
        with self._transaction() as sql:
            if not self._checked_binding(sql, backend, host):
                rows = [{"key": "backend", "value": backend}, {"key": "host", "value": host}]
                sql.execute(self._schema.meta.insert(), rows)

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        row = {
            "id": pending.revision,
            "state": "pending",
            "transitions": json.dumps(dict(pending.transitions)),
            "released": json.dumps([asdict(released) for released in pending.released]),
        }
        with self._transaction() as sql:
            sql.execute(self._schema.revisions.insert(), row)
            self._write(sql, _begun(changes))

    def finish(self, revisions: Iterable[int]) -> None:
        addresses, table = self._schema.tables[Address], self._schema.revisions
        with self._transaction() as sql:
            sql.execute(table.update().where(table.c.id.in_(list(revisions))).values(state="programmed"))
            leaving = addresses.c.state == "leaving"
            sql.execute(addresses.delete().where(leaving, addresses.c.until.is_(None)))
            sql.execute(addresses.update().where(leaving).values(state="resting"))

    def cancel(self, changes: Sequence[Change], revision: int) -> None:
        table = self._schema.revisions
        with self._transaction() as sql:
            self._write(sql, [Change(change.after, old.before) for change, old in zip(_begun(changes), changes, strict=True)])
            sql.execute(table.update().where(table.c.id == revision).values(state="cancelled"))

    def _write(self, sql: Connection, changes: Sequence[Change]) -> None:
        """One statement a kind and sort of change; deletes first, so that a key can be given on."""
        from sqlalchemy import bindparam

        gone, come, moved = _sorted(changes)
        for kind, things in gone.items():
            table = self._schema.tables[kind]
            keys = [{f"k_{name}": value for name, value in key_of(thing).items()} for thing in things]
            sql.execute(table.delete().where(*(table.c[name] == bindparam(f"k_{name}") for name in key_of(things[0]))), keys)
        for kind, things in come.items():
            sql.execute(self._schema.tables[kind].insert(), [encoded(thing) for thing in things])
        for kind, things in moved.items():
            table = self._schema.tables[kind]
            match = [table.c[name] == bindparam(f"k_{name}") for name in key_of(things[0])]
            rows = [{**encoded(thing), **{f"k_{name}": value for name, value in key_of(thing).items()}} for thing in things]
            sql.execute(table.update().where(*match), rows)

    def close(self) -> None:
        self._engine.dispose()


_ByKind = dict[type[Thing], list[Thing]]


def _sorted(changes: Sequence[Change]) -> tuple[_ByKind, _ByKind, _ByKind]:
    gone, come, moved = _ByKind(), _ByKind(), _ByKind()
    for change in changes:
        if change.before is None and change.after is None:
            continue
        thing = cast(Thing, change.after if change.after is not None else change.before)
        sort = gone if change.after is None else come if change.before is None else moved
        sort.setdefault(type(thing), []).append(thing)
    return gone, come, moved


def _begun(changes: Sequence[Change]) -> list[Change]:
    """The changes as `begin` writes them; no address waits in a network that goes itself."""
    gone = {change.before.id for change in changes if isinstance(change.before, Network) and change.after is None}
    return [
        change if isinstance(change.before, Address) and change.before.network_id in gone else _leaving(change)
        for change in changes
    ]


def _leaving(change: Change) -> Change:
    """A used address that is given up is leaving, and remembers how long it then rests."""
    before, after = change.before, change.after
    if not isinstance(before, Address) or before.state != "used":
        return change
    if isinstance(after, Address) and after.state != "resting":
        return change
    until = after.until if isinstance(after, Address) else None
    return Change(before, replace(before, state="leaving", until=until))


def _pending(row: Any) -> Pending:
    return Pending(
        revision=row.id,
        transitions=json.loads(row.transitions),
        released=tuple(Released(**entry) for entry in json.loads(row.released)),
    )


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import StaticPool

    if not url.startswith("sqlite:"):
        try:
            return create_engine(url)
        except (ArgumentError, ImportError) as error:
            raise InputParameterError(
                f"store {url.partition('://')[0]}://… cannot be opened: {error}; install its driver (pip install psycopg), "
                "or use sqlite:///PATH"
            ) from error
    # One connection, handed from thread to thread by the Controller's lock; the driver's own transactions are switched
    # off because they begin too late: a read and a write of one transaction must see one state.
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(sql: Connection) -> None:
        sql.exec_driver_sql("BEGIN IMMEDIATE")

    del on_connect, on_begin  # registered by the decorators
    return engine
