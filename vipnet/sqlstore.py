"""The store in a database, through SQLAlchemy Core; imported on demand, because SQLAlchemy costs 180 ms."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    bindparam,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import StaticPool

from vipnet.accounts import Account, Closing, added
from vipnet.addresses import format_ip
from vipnet.blocks import Block, blocks_of
from vipnet.claim import Claim
from vipnet.errors import InputParameterError
from vipnet.filelock import locked
from vipnet.intents import Released
from vipnet.model import Address, Network, Thing
from vipnet.rows import decoded, decoded_by_name, encoded, key_of, make_schema
from vipnet.sqlsource import SqlSource, read_all, usable
from vipnet.statements import KEY, Statements, say
from vipnet.store import Loaded, News, Outcome, Pending, StaleError
from vipnet.topology import KINDS, Snapshot
from vipnet.views import Counters
from vipnet.working import Change

__all__ = ["KEPT_REVISIONS", "MOST_LOGGED", "SCHEMA_VERSION", "SqlStore"]

SCHEMA_VERSION = 2
KEPT_REVISIONS = 10_000
"""How many revisions the log of changes reaches back; a process that slept longer reads everything anew."""

MOST_LOGGED = 10_000
"""A change of more objects is not logged: the others read everything anew, which is as quick and needs no second copy."""

_ANSWERS, _ANSWERED, _THOROUGH = "answers", 32, "thorough"
"""Where it is kept what was said of the last so many revisions, and which revision is to be programmed thoroughly."""

_BATCH = 10_000
"""Rows handed to the database at once: the rows of a million objects need not be in memory together."""

_COUNTED = tuple(item.name for item in fields(Counters))

KINDS_BY_NAME = {kind.__name__: kind for kind in KINDS}


class SqlStore:
    """A store in a database, through SQLAlchemy Core. Not thread-safe: its Controller serialises."""

    def __init__(self, url: str, path: Path | None, *, by_key: bool = False) -> None:
        self._engine = _engine(url)
        self._by_key = by_key
        self._source: SqlSource | None = None
        self._path = path
        self._claim = None if path is None else Claim(path)
        self._seen: int | None = None
        self._driver: Any = None
        self._url = url
        self.url = self._engine.url.render_as_string(hide_password=True)
        self._schema = make_schema()
        self._say = Statements(self._schema, self._engine.dialect)
        self._bound: tuple[str, str] | None = None
        self._outlasts_power = True
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "invalidate", self._disconnected)
        with self._transaction() as sql:
            self._check_version(sql)

    @contextmanager
    def _transaction(self, *, outlasts_power: bool = True) -> Generator[Connection, None, None]:
        """A transaction of one's own: whatever is written, and read but by key, is so here.

        One that need not outlast a loss of power waits for no disk. It is never lost but together with all later ones.
        """
        try:
            with usable(self.url):
                if self._path is not None and outlasts_power != self._outlasts_power:
                    self._pragma(f"synchronous={'FULL' if outlasts_power else 'NORMAL'}")  # https://sqlite.org/pragma.html
                    self._outlasts_power = outlasts_power
                with self._engine.begin() as sql:
                    yield sql
        except BaseException:
            self._seen = None  # it may be done all the same: we must look, like at what another process did
            raise

    def _connected(self, driver: Any, _record: Any) -> None:
        self._driver = driver

    def _disconnected(self, _driver: Any, _record: Any, _error: Any) -> None:
        self._driver = None

    def _check_version(self, sql: Connection) -> None:
        if not inspect(sql).has_table("meta"):
            self._schema.metadata.create_all(sql)
            say(sql, self._say.meta_added, {"key": "schema", "value": str(SCHEMA_VERSION)})
            return
        version = int(self._meta(sql).get("schema", "0"))
        if version > SCHEMA_VERSION:
            raise InputParameterError(
                f"store {self.url} has schema {version}; this vipnet knows schemas up to {SCHEMA_VERSION}; use a newer vipnet"
            )
        if version < SCHEMA_VERSION:  # 2 has a table more
            self._schema.metadata.create_all(sql)
            self._set_meta(sql, "schema", str(SCHEMA_VERSION))

    def _meta(self, sql: Connection) -> dict[str, str]:
        return dict(say(sql, self._say.meta).fetchall())

    def load(self) -> Loaded:
        if self._by_key:
            self._close_source()
            with usable(self.url):
                self._source = SqlSource(_engine(self._url, begin="BEGIN"), self.url)
                return self._loaded(self._source.sql, Snapshot.stored(self._source))
        with self._transaction() as sql:
            return self._loaded(sql, Snapshot.of({kind: read_all(sql, kind) for kind in KINDS}))

    def _loaded(self, sql: Connection, topology: Snapshot) -> Loaded:
        table = self._schema.revisions
        rows = sql.execute(table.select().where(table.c.state == "pending").order_by(table.c.id)).all()
        return Loaded(topology=topology, revision=self._newest(sql), pending=self._pending(sql, rows))

    def _pending(self, sql: Connection, rows: Sequence[Any]) -> tuple[Pending, ...]:
        thorough = self._meta(sql).get(_THOROUGH) if rows else None
        return tuple(_pending(row, thorough=str(row.id) == thorough) for row in rows)

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
        if self._bound == (backend, host):  # it stays so for good
            return
        with self._transaction() as sql:
            if not self._checked_binding(sql, backend, host):
                rows = [{"key": "backend", "value": backend}, {"key": "host", "value": host}]
                say(sql, self._say.meta_added, rows)
        self._bound = backend, host

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext() if self._path is None else locked(self._path)

    def moved(self) -> bool:
        if self._path is None:
            return True
        seen = self._data_version()
        moved, self._seen = seen != self._seen, seen
        return moved

    def _data_version(self) -> int:
        with usable(self.url):
            return int(self._pragma("data_version")[0])  # no transaction: this is asked before every read

    def _pragma(self, words: str) -> Any:
        return self._quickly(f"PRAGMA {words}")

    def _quickly(self, words: str) -> Any:
        """The first row of an answer of SQLite, outside any transaction."""
        if self._driver is None:
            self._engine.raw_connection().close()  # back to the pool
        try:
            return cast(sqlite3.Connection, self._driver).execute(words).fetchone()
        except sqlite3.Error as error:
            raise OperationalError(words, (), error) from error

    def news(self, since: int, *, with_pending: bool) -> News | None:
        table, log = self._schema.revisions, self._schema.changes
        with self._transaction() as sql:
            rows = sql.execute(table.select().where(table.c.id > since).order_by(table.c.id)).all()
            if not with_pending:
                rows = list(itertools.takewhile(lambda row: row.state != "pending", rows))
            if [row.id for row in rows if row.logged] != list(range(since + 1, since + 1 + len(rows))):
                return None  # trimmed away, or too large
            last = rows[-1].id if rows else since
            within = log.select().where(log.c.revision > since, log.c.revision <= last)
            logged = sql.execute(within.order_by(log.c.revision, log.c.position)).all()
            pending = self._pending(sql, [row for row in rows if row.state == "pending"])
        return News(
            revision=last,
            things=tuple((KINDS_BY_NAME[row.kind], row.object, _logged(row)) for row in logged),
            pending=pending,
        )

    def stamp(self) -> str:
        with self._transaction() as sql:
            return self._meta(sql).get("stamp", "")

    def begin(self, changes: Sequence[Change], pending: Pending) -> None:
        row = {
            "id": pending.revision,
            "state": "pending",
            "transitions": json.dumps(dict(pending.transitions)),
            "released": json.dumps([asdict(released) for released in pending.released]),
            "logged": len(changes) <= MOST_LOGGED,
        }
        with self._transaction() as sql:
            if self._newest(sql) != pending.revision - 1:
                raise StaleError
            say(sql, self._say.begun, row)
            if row["logged"] and changes:
                say(sql, self._say.logged, _log(changes, pending.revision))
            if pending.thorough:
                self._set_meta(sql, _THOROUGH, str(pending.revision))
            self._write(sql, _begun(changes))

    def finish(self, revisions: Iterable[int], stamp: str, closing: Closing) -> None:
        numbers, words = list(revisions), self._say
        with self._transaction(outlasts_power=False) as sql:  # else they are pending again, and what is programmed is gone, too
            if numbers:
                if sum([say(sql, words.programmed, {f"{KEY}id": number}).rowcount for number in numbers]):
                    self._close_accounts(sql, closing, max(numbers))
                free = say(sql, words.left_for_good).fetchall()
                self._write(sql, [Change(decoded(Address, row), None) for row in free])
                say(sql, words.left_to_rest)
                old = {"upto": max(numbers) - KEPT_REVISIONS}
                say(sql, words.log_forgotten, old)
                say(sql, words.revisions_forgotten, old)
            self._set_meta(sql, "stamp", stamp)

    def _newest(self, sql: Connection) -> int:
        return say(sql, self._say.newest).fetchone()[0] or 0

    def account(self, eip_id: str) -> Account | None:
        with self._transaction() as sql:
            return self._account(sql, eip_id)

    def _account(self, sql: Connection, eip_id: str) -> Account | None:
        # Text: every `eip-show` of the command line asks this, and compiling a statement costs it more than running it.
        names = ", ".join(_COUNTED)
        query = f"SELECT revision, {names} FROM accounts WHERE eip_id = :id"  # noqa: S608 -- our names
        row = sql.execute(text(query), {"id": eip_id}).first()
        if row is None:
            return None
        found: dict[str, Any] = {name: getattr(row, name) for name in _COUNTED}
        return Account(counters=Counters(**{**found, "lost": bool(row.lost)}), revision=row.revision)

    def _close_accounts(self, sql: Connection, closing: Closing, revision: int) -> None:
        accounts = self._schema.accounts
        for id, counters in closing.counted.items():
            before = self._account(sql, id)
            after = added(before, counters, revision)
            values = {"revision": after.revision, **asdict(after.counters)}
            here = accounts.insert().values(eip_id=id) if before is None else accounts.update().where(accounts.c.eip_id == id)
            sql.execute(here.values(**values))
        if closing.gone:
            sql.execute(accounts.delete().where(accounts.c.eip_id == bindparam("gone")), [{"gone": id} for id in closing.gone])

    def _set_meta(self, sql: Connection, key: str, value: str) -> None:
        if say(sql, self._say.meta_changed, {f"{KEY}key": key, "value": value}).rowcount == 0:
            say(sql, self._say.meta_added, {"key": key, "value": value})

    def cancel(self, changes: Sequence[Change], revision: int, reason: str) -> None:
        table, log = self._schema.revisions, self._schema.changes
        with self._transaction() as sql:
            self._write(sql, [Change(change.after, old.before) for change, old in zip(_begun(changes), changes, strict=True)])
            sql.execute(log.delete().where(log.c.revision == revision))
            sql.execute(table.update().where(table.c.id == revision).values(state="cancelled"))
            self._answer(sql, [revision], reason)

    def claim(self) -> bool:
        return self._claim is not None and self._claim.take()

    def watcher(self) -> int | None:
        return None if self._claim is None else self._claim.holder()

    def release(self) -> None:
        if self._claim is not None:
            self._claim.release()

    def answer(self, revisions: Iterable[int], said: str) -> None:
        with self._transaction(outlasts_power=False) as sql:
            self._answer(sql, revisions, said)

    def _answer(self, sql: Connection, revisions: Iterable[int], said: str) -> None:
        answers: dict[str, str] = json.loads(self._meta(sql).get(_ANSWERS, "{}"))
        answers |= {str(revision): said for revision in revisions}
        self._set_meta(sql, _ANSWERS, json.dumps({key: answers[key] for key in sorted(answers, key=int)[-_ANSWERED:]}))

    def outcome(self, revision: int) -> Outcome:
        if self._path is not None and self._state(revision) == "pending":  # asked again and again, so without a transaction
            return Outcome("pending")
        with self._transaction() as sql:
            state = sql.execute(text("SELECT state FROM revisions WHERE id = :id"), {"id": revision}).scalar()
            said: dict[str, str] = json.loads(self._meta(sql).get(_ANSWERS, "{}"))
        return Outcome(state or "programmed", said.get(str(revision), ""))

    def _state(self, revision: int) -> str | None:
        with usable(self.url):
            found = self._quickly(f"SELECT state FROM revisions WHERE id = {revision:d}")  # noqa: S608 -- a number
        return None if found is None else str(found[0])

    def _write(self, sql: Connection, changes: Sequence[Change]) -> None:
        """One statement a kind and sort of change; deletes first, so that a key can be given on."""
        gone, come, moved = _sorted(changes)
        for kind, things in gone.items():
            say(sql, self._say.gone[kind], [_keyed(key_of(thing)) for thing in things])
        for kind, things in come.items():
            for at in range(0, len(things), _BATCH):
                say(sql, self._say.added[kind], [encoded(thing) for thing in things[at : at + _BATCH]])
        for kind, things in moved.items():
            say(sql, self._say.changed[kind], [{**encoded(thing), **_keyed(key_of(thing))} for thing in things])
        self._write_blocks(sql, blocks_of(_addresses(gone)), blocks_of(_addresses(come)))

    def _write_blocks(self, sql: Connection, gone: Mapping[Block, int], come: Mapping[Block, int]) -> None:
        for block in gone.keys() | come.keys():
            key = {"network_id": block.network_id, "version": block.version, "first": format_ip(block.version, block.first)}
            here = _keyed(key)
            before = say(sql, self._say.block, here).fetchone()
            bits = (0 if before is None else int.from_bytes(before[0], "little")) & ~gone.get(block, 0) | come.get(block, 0)
            values = {"bits": bits.to_bytes(512, "little")}
            if before is None:
                say(sql, self._say.block_added, key | values)
            elif bits:
                say(sql, self._say.block_changed, here | values)
            else:
                say(sql, self._say.block_gone, here)

    def close(self) -> None:
        self.release()
        self._close_source()
        self._engine.dispose()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


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


def _addresses(things: _ByKind) -> list[Address]:
    return cast("list[Address]", things.get(Address, []))


def _keyed(key: Mapping[str, Any]) -> dict[str, Any]:
    """A key as parameters."""
    return {f"{KEY}{name}": value for name, value in key.items()}


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


def _log(changes: Sequence[Change], revision: int) -> list[dict[str, Any]]:
    return [
        {
            "revision": revision,
            "position": position,
            "kind": type(thing).__name__,
            "object": thing.id,
            "row": None if change.after is None else json.dumps(encoded(change.after)),
        }
        for position, change in enumerate(changes)
        if (thing := change.after if change.after is not None else change.before) is not None
    ]


def _logged(row: Any) -> Thing | None:
    return None if row.row is None else decoded_by_name(KINDS_BY_NAME[row.kind], json.loads(row.row))


def _pending(row: Any, *, thorough: bool) -> Pending:
    return Pending(
        revision=row.id,
        transitions=json.loads(row.transitions),
        released=tuple(Released(**entry) for entry in json.loads(row.released)),
        thorough=thorough,
    )


def _engine(url: str, *, begin: str = "BEGIN IMMEDIATE") -> Engine:
    if not url.startswith("sqlite:"):
        try:
            return create_engine(url)
        except (ArgumentError, ImportError, ValueError) as error:
            raise InputParameterError(
                f"store {url.partition('://')[0]}://… cannot be opened: {error}; install its driver (pip install psycopg), "
                "or use sqlite:///PATH"
            ) from error
    # One connection, handed from thread to thread by the Controller's lock; the driver's own transactions are switched
    # off because they begin too late: a read and a write of one transaction must see one state.
    # The path is handed over as it is: in a URL a `?` would end it.
    place = URL.create("sqlite", database=url.removeprefix("sqlite:///"))
    options = {"check_same_thread": False, "isolation_level": None}
    engine = create_engine(place, poolclass=StaticPool, paramstyle="named", connect_args=options)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(sql: Connection) -> None:
        sql.connection.cursor().execute(begin)

    del on_connect, on_begin  # registered by the decorators
    return engine
