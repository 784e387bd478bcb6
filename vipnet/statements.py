"""What the store says to its database with every change, put into words once: that takes longer than to have it done."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Table, bindparam, func, literal_column, select
from sqlalchemy.sql.expression import Executable

from vipnet.model import Address
from vipnet.rows import Schema, key_names

__all__ = ["KEY", "Statements"]

KEY: Final = "k_"
"""What the names of parameters begin with that say which row is meant; others say what it is to be."""

_BLOCK: Final = ("network_id", "version", "first")


class Statements:
    """Statements over a schema; parameters have the names of columns."""

    def __init__(self, schema: Schema) -> None:
        meta, revisions, log, blocks = schema.meta, schema.revisions, schema.changes, schema.blocks
        addresses = schema.tables[Address]
        leaving = addresses.c.state == literal_column("'leaving'")  # as in the condition of the index
        self.meta = meta.select()
        self.meta_added = meta.insert()
        self.meta_changed = _changed(meta, "key")
        self.newest = select(func.max(revisions.c.id))
        self.begun = revisions.insert()
        self.logged = log.insert()
        self.programmed = (
            revisions.update()
            .where(revisions.c.id == bindparam(f"{KEY}id"), revisions.c.state == literal_column("'pending'"))
            .values(state="programmed")
        )
        self.log_forgotten = log.delete().where(log.c.revision <= bindparam("upto"))
        self.revisions_forgotten = revisions.delete().where(revisions.c.id <= bindparam("upto"))
        self.left_for_good = addresses.select().where(leaving, addresses.c.until.is_(None))
        self.left_to_rest = addresses.update().where(leaving).values(state="resting")
        self.block = select(blocks.c.bits).where(*_matches(blocks, *_BLOCK)).with_for_update()
        self.block_added = blocks.insert()
        self.block_changed = _changed(blocks, *_BLOCK)
        self.block_gone = _gone(blocks, *_BLOCK)
        self.added = {kind: table.insert() for kind, table in schema.tables.items()}
        self.changed = {kind: _changed(table, *key_names(kind)) for kind, table in schema.tables.items()}
        self.gone = {kind: _gone(table, *key_names(kind)) for kind, table in schema.tables.items()}


def _matches(table: Table, *names: str) -> list[Any]:
    return [table.c[name] == bindparam(f"{KEY}{name}") for name in names]


def _changed(table: Table, *names: str) -> Executable:
    """Every column of one row, as given."""
    return table.update().where(*_matches(table, *names))


def _gone(table: Table, *names: str) -> Executable:
    return table.delete().where(*_matches(table, *names))
