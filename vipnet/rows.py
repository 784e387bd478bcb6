"""Rows and objects: a table of the store is a class of the model, a column is a field, an address is text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from vipnet.addresses import format_ip
from vipnet.model import Address, Thing
from vipnet.topology import KINDS

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table

__all__ = ["Schema", "address_fields", "decoded", "encoded", "key_of", "make_schema", "table_name"]

_TABLE_NAMES = {"InstanceGroup": "instancegroups", "Address": "addresses"}


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables: `meta` (schema version, binding, stamp), `revisions`, `changes` (their log), one for each kind of object."""

    metadata: MetaData
    meta: Table
    revisions: Table
    changes: Table
    tables: Mapping[type[Thing], Table]


@functools.cache
def make_schema() -> Schema:
    """Describe the tables; once a process, since describing them costs more than a small transaction."""
    from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

    metadata = MetaData()
    meta = Table("meta", metadata, Column("key", String(32), primary_key=True), Column("value", Text, nullable=False))
    revisions = Table(
        "revisions",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("state", String(16), nullable=False, index=True),
        Column("transitions", Text, nullable=False),
        Column("released", Text, nullable=False),
    )
    changes = Table(
        "changes",
        metadata,
        Column("revision", BigInteger, primary_key=True, autoincrement=False),
        Column("position", BigInteger, primary_key=True, autoincrement=False),
        Column("kind", String(32), nullable=False),
        Column("object", String(300), nullable=False),
        Column("row", Text, nullable=True),
    )
    tables = {kind: Table(table_name(kind), metadata, *_columns(kind)) for kind in KINDS}
    return Schema(metadata, meta, revisions, changes, tables)


def table_name(kind: type[Thing]) -> str:
    """What the table of a kind is called, here and in an export."""
    return _TABLE_NAMES.get(kind.__name__, f"{kind.__name__.lower()}s")


def _columns(kind: type[Thing]) -> list[Column[Any]]:
    from sqlalchemy import Column

    keys = ("network_id", "version", "ip") if kind is Address else ("id",)
    return [
        Column(
            item.name,
            _sql_type(kind, item.name, str(item.type)),
            primary_key=item.name in keys,
            nullable="None" in str(item.type),
            autoincrement=False,
        )
        for item in fields(kind)
    ]


def _sql_type(kind: type[Thing], name: str, words: str) -> Any:
    """The column type of a field, from its annotation, which is text (PEP 563)."""
    from sqlalchemy import BigInteger, Boolean, Float, String

    if name in address_fields(kind):
        return String(39)
    scalars = {"int": BigInteger(), "bool": Boolean(), "float": Float(53)}
    return scalars.get(words.partition(" ")[0], String(300))


def encoded(thing: Thing) -> dict[str, Any]:
    """The row of an object."""
    row = {item.name: getattr(thing, item.name) for item in fields(thing)}
    for name, version in address_fields(type(thing)).items():
        if row[name] is not None:
            row[name] = format_ip(version or row["version"], row[name])
    return row


def decoded(kind: type[Thing], row: Mapping[str, Any]) -> Thing:
    """The object of a row."""
    values = dict(row)
    for name in address_fields(kind):
        if values[name] is not None:
            values[name] = int(ip_address(values[name]))
    for item in fields(kind):
        if item.type == "bool":  # SQLite has none
            values[item.name] = bool(values[item.name])
    return kind(**values)


def key_of(thing: Thing) -> dict[str, Any]:
    """The primary key of an object's row."""
    row = encoded(thing)
    return {name: row[name] for name in (("network_id", "version", "ip") if isinstance(thing, Address) else ("id",))}


def address_fields(kind: type[Thing]) -> dict[str, int]:
    """The fields that hold addresses and their IP version; 0: the row says which."""
    if kind is Address:
        return {"ip": 0}
    return {item.name: int(str(item.type)[2]) for item in fields(kind) if str(item.type).startswith(("Ip4", "Ip6"))}
