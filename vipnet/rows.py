"""Rows and objects: a table of the store is a class of the model, a column is a field, an address is text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from vipnet.addresses import format_ip, ip_of
from vipnet.model import Address, Thing
from vipnet.topology import INDEXES, KINDS
from vipnet.views import Counters

if TYPE_CHECKING:
    from sqlalchemy import Column, Index, MetaData, Table

__all__ = [
    "Schema",
    "address_fields",
    "columns_of",
    "decoded",
    "decoded_by_name",
    "decoder",
    "encoded",
    "key_names",
    "key_of",
    "make_schema",
    "table_name",
]

T = TypeVar("T", bound=Thing)

_TABLE_NAMES = {"InstanceGroup": "instancegroups", "Address": "addresses"}


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables: `meta` (schema version, binding, stamp), `revisions`, `changes` (their log), one for each kind of object.

    `accounts`: what mappings of EIPs had counted that have ended.

    `blocks`: which addresses have a row, 4,096 in a row, so that pools are made without reading each address.
    """

    metadata: MetaData
    meta: Table
    revisions: Table
    changes: Table
    blocks: Table
    accounts: Table
    tables: Mapping[type[Thing], Table]


@functools.cache
def make_schema() -> Schema:
    """Describe the tables; once a process, since describing them costs more than a small transaction."""
    from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, String, Table, Text

    metadata = MetaData()
    meta = Table("meta", metadata, Column("key", String(32), primary_key=True), Column("value", Text, nullable=False))
    revisions = Table(
        "revisions",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("state", String(16), nullable=False, index=True),
        Column("transitions", Text, nullable=False),
        Column("released", Text, nullable=False),
        Column("logged", Boolean, nullable=False),
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
    blocks = Table(
        "blocks",
        metadata,
        Column("network_id", String(300), primary_key=True),
        Column("version", BigInteger, primary_key=True, autoincrement=False),
        Column("first", String(39), primary_key=True),
        Column("bits", LargeBinary, nullable=False),
    )
    accounts = Table(
        "accounts",
        metadata,
        Column("eip_id", String(300), primary_key=True),
        Column("revision", BigInteger, nullable=False),
        *(Column(item.name, Boolean if item.type == "bool" else BigInteger, nullable=False) for item in fields(Counters)),
    )
    tables = {kind: Table(table_name(kind), metadata, *_columns(kind), *_indexes(kind)) for kind in KINDS}
    return Schema(metadata, meta, revisions, changes, blocks, accounts, tables)


def table_name(kind: type[Any]) -> str:
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


def _indexes(kind: type[Thing]) -> list[Index]:
    """By what objects are looked up, and the few addresses that something still happens to."""
    from sqlalchemy import Index, text

    name = table_name(kind)
    if kind is Address:
        return [
            Index("addresses_address", "ip", "version"),
            Index("addresses_leaving", "state", sqlite_where=text("state = 'leaving'")),
            Index("addresses_until", "network_id", "version", sqlite_where=text("until IS NOT NULL")),
        ]
    columns = {"vrid_key": ("network_id", "vrid")}
    return [Index(f"{name}_{field}", *columns.get(field, (field,))) for field in INDEXES[kind]]


def _sql_type(kind: type[Thing], name: str, words: str) -> Any:
    """The column type of a field, from its annotation, which is text (PEP 563)."""
    from sqlalchemy import BigInteger, Boolean, Float, String

    if name in address_fields(kind):
        return String(39)
    scalars = {"int": BigInteger(), "bool": Boolean(), "float": Float(53)}
    return scalars.get(words.partition(" ")[0], String(300))


def encoded(thing: Thing) -> dict[str, Any]:
    """The row of an object."""
    names, addresses, _ = _SHAPES[type(thing)]
    row = {name: getattr(thing, name) for name in names}
    for name, version in addresses:
        if row[name] is not None:
            row[name] = format_ip(version or row["version"], row[name])
    return row


def columns_of(kind: type[Any]) -> tuple[str, ...]:
    """The columns of a kind's table, in the order in which `decoded` takes them."""
    return _SHAPES[kind][0]


def decoded(kind: type[T], row: Sequence[Any]) -> T:
    """The object of a row, whose values come in the order of `columns_of`."""
    return decoder(kind)(row)


def decoder(kind: type[T]) -> Callable[[Sequence[Any]], T]:
    """What makes objects of rows as `decoded` does, for very many of them.

    Fields are set by their slots: the class's own way, which is for objects that nobody has checked, takes twice as long.
    """
    return cast("Callable[[Sequence[Any]], T]", _decoder(cast(Any, kind)))


@functools.cache
def _decoder(kind: Any) -> Callable[[Sequence[Any]], Any]:
    names, addresses, flags = _SHAPES[kind]
    slots = [getattr(kind, name).__set__ for name in names]
    turned: list[tuple[int, Callable[[Any], Any]]] = [(names.index(name), ip_of) for name, _ in addresses]
    turned += [(names.index(name), bool) for name in flags]  # SQLite has no booleans

    def make(row: Sequence[Any]) -> Any:
        thing = object.__new__(kind)
        for put, value in zip(slots, row, strict=True):
            put(thing, value)
        for at, turn in turned:
            if row[at] is not None:
                slots[at](thing, turn(row[at]))
        return thing

    return make


def key_of(thing: Thing) -> dict[str, Any]:
    """The primary key of an object's row."""
    row = encoded(thing)
    return {name: row[name] for name in key_names(type(thing))}


def key_names(kind: type[Thing]) -> tuple[str, ...]:
    """The columns of the primary key."""
    return ("network_id", "version", "ip") if kind is Address else ("id",)


def address_fields(kind: type[Thing]) -> dict[str, int]:
    """The fields that hold addresses and their IP version; 0: the row says which."""
    if kind is Address:
        return {"ip": 0}
    return {item.name: int(str(item.type)[2]) for item in fields(kind) if str(item.type).startswith(("Ip4", "Ip6"))}


def decoded_by_name(kind: type[T], values: Mapping[str, Any]) -> T:
    """The object of a row, whose values are given by column."""
    return decoded(kind, [values[name] for name in columns_of(kind)])


_SHAPES: Mapping[type[Any], tuple[tuple[str, ...], tuple[tuple[str, int], ...], tuple[str, ...]]] = {
    kind: (
        tuple(item.name for item in fields(kind)),
        tuple(address_fields(kind).items()),
        tuple(item.name for item in fields(kind) if item.type == "bool"),
    )
    for kind in KINDS
}
"""Of each kind the fields; which of them are addresses, of which version; which are yes or no."""
