"""What the store says to its database with every change, put into the database's own words once.

SQLAlchemy compiles a statement once, too, but takes ten times as long to have it carried out as the driver does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NewType

from sqlalchemy import Connection, Dialect, Table, bindparam, func, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement

from vipnet.model import Address
from vipnet.rows import Schema, key_names

__all__ = ["KEY", "Said", "Statements", "say"]

KEY: Final = "k_"
"""What the names of parameters begin with that say which row is meant; others say what it is to be."""

_BLOCK: Final = ("network_id", "version", "first")

Said = NewType("Said", str)
"""A statement as the driver takes it; its parameters have names."""


def say(sql: Connection, said: Said, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = {}) -> Any:
    """Have a statement carried out within a transaction, for each if there are many values; the driver's cursor.

    Raises DBAPIError.
    """
    cursor = sql.connection.cursor()
    native: type[Exception] = sql.dialect.loaded_dbapi.Error
    try:
        if isinstance(values, Mapping):
            cursor.execute(said, values)
        else:
            cursor.executemany(said, values)
    except native as error:
        raise DBAPIError.instance(said, None, error, native, dialect=sql.dialect) from error
    return cursor


class Statements:
    """Statements over a schema; parameters have the names of columns."""

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        meta, revisions, log, blocks = schema.meta, schema.revisions, schema.changes, schema.blocks
        addresses = schema.tables[Address]
        leaving = addresses.c.state == literal_column("'leaving'")  # as in the condition of the index

        def put(statement: ClauseElement) -> Said:
            return Said(str(statement.compile(dialect=dialect)))

        self.meta = put(select(meta.c.key, meta.c.value))
        self.meta_added = put(meta.insert())
        self.meta_changed = put(_changed(meta, "key"))
        self.newest = put(select(func.max(revisions.c.id)))
        self.begun = put(revisions.insert())
        self.logged = put(log.insert())
        self.programmed = put(
            revisions.update()
            .where(revisions.c.id == bindparam(f"{KEY}id"), revisions.c.state == literal_column("'pending'"))
            .values(state=literal_column("'programmed'"))
        )
        self.log_forgotten = put(log.delete().where(log.c.revision <= bindparam("upto")))
        self.revisions_forgotten = put(revisions.delete().where(revisions.c.id <= bindparam("upto")))
        self.left_for_good = put(addresses.select().where(leaving, addresses.c.until.is_(None)))
        self.left_to_rest = put(addresses.update().where(leaving).values(state=literal_column("'resting'")))
        self.block = put(select(blocks.c.bits).where(*_matches(blocks, *_BLOCK)).with_for_update())
        self.block_added = put(blocks.insert())
        self.block_changed = put(_changed(blocks, *_BLOCK))
        self.block_gone = put(_gone(blocks, *_BLOCK))
        self.added = {kind: put(table.insert()) for kind, table in schema.tables.items()}
        self.changed = {kind: put(_changed(table, *key_names(kind))) for kind, table in schema.tables.items()}
        self.gone = {kind: put(_gone(table, *key_names(kind))) for kind, table in schema.tables.items()}


def _matches(table: Table, *names: str) -> list[Any]:
    return [table.c[name] == bindparam(f"{KEY}{name}") for name in names]


def _changed(table: Table, *names: str) -> ClauseElement:
    """All but the key of one row, as given."""
    rest: dict[str, Any] = {column.name: bindparam(column.name) for column in table.columns if column.name not in names}
    return table.update().where(*_matches(table, *names)).values(rest)


def _gone(table: Table, *names: str) -> ClauseElement:
    return table.delete().where(*_matches(table, *names))
