"""A database, read by key: the model as it is at one moment, object by object."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from vipnet.addresses import format_ip, ip_of
from vipnet.blocks import pool_of
from vipnet.errors import ConflictError, InputParameterError
from vipnet.ipam import AddressPool
from vipnet.model import Address, Network, Thing
from vipnet.pools import VRIDS, ranges_of
from vipnet.rows import columns_of, decoded, decoder, table_name
from vipnet.tables import PoolKey

__all__ = ["SqlSource", "read_all", "usable"]

T = TypeVar("T", bound=Thing)

_AT_ONCE: Final = 10_000
"""Rows that the driver is asked for together."""


class SqlSource:
    """Implements `vipnet.stored.Source`. It sees the database as it was when it was made, until it is closed."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine, self._url = engine, url
        self.sql: Connection = engine.connect()

    def by(self, kind: type[T], field: str, value: object) -> Sequence[T]:
        words = _where(kind, field, value)
        if not all(map(_is_text, words.values())):
            return ()
        return self._read(kind, " AND ".join(f"{name} = :{name}" for name in words), words)

    def all(self, kind: type[T]) -> Iterable[T]:
        with usable(self._url):
            return read_all(self.sql, kind)

    def count(self, kind: type[Any]) -> int:
        return int(self._asked(f"SELECT count(*) FROM {table_name(kind)}", {})[0][0])  # noqa: S608 -- our names

    def pool(self, key: PoolKey) -> AddressPool | None:
        id, version = key
        network = next(iter(self.by(Network, "id", id)), None)
        span = None if network is None else ranges_of(network).get(version)
        if span is None:
            return None
        return self._vrids(id, span) if version == VRIDS else self._addresses(id, version, span)

    def close(self) -> None:
        self.sql.close()
        self._engine.dispose()

    def _read(self, kind: type[T], condition: str, words: dict[str, Any]) -> list[T]:
        return [decoded(kind, row) for row in self._asked(f"{_select(kind)} WHERE {condition}", words)]

    def _asked(self, statement: str, words: dict[str, Any]) -> Sequence[Row[Any]]:
        # Text: compiling a statement of SQLAlchemy's would cost a short-lived process more than running it.
        with usable(self._url):
            return self.sql.execute(text(statement), words).all()

    def _vrids(self, network_id: str, span: tuple[int, int]) -> AddressPool:
        pool = AddressPool.of(*span)
        for row in self._asked("SELECT DISTINCT vrid FROM vips WHERE network_id = :id AND vrid IS NOT NULL", {"id": network_id}):
            pool = pool.hold(row.vrid)
        return pool

    def _addresses(self, network_id: str, version: int, span: tuple[int, int]) -> AddressPool:
        words = {"network_id": network_id, "version": version}
        here = "network_id = :network_id AND version = :version"
        rows = self._asked(f"SELECT first, bits FROM blocks WHERE {here}", words)  # noqa: S608 -- our names
        blocks = ((ip_of(row.first), int.from_bytes(row.bits, "little")) for row in rows)
        timed = self._read(Address, f"{here} AND until IS NOT NULL AND state IN ('reserved', 'resting')", words)
        return pool_of(*span, blocks, timed)


@contextmanager
def usable(url: str) -> Generator[None, None, None]:
    """Turn what a database says of itself into the error of a store that cannot be used."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"store {url} was changed by another process at the same time ({error.orig}); try again") from error
    except DBAPIError as error:
        raise InputParameterError(f"store {url} cannot be used: {error.orig}; name another, or repair it") from error


def read_all(sql: Connection, kind: type[T]) -> list[T]:
    """Read all objects of a kind."""
    make = decoder(kind)
    rows = sql.execute(text(_select(kind)))
    return [make(row) for some in rows.partitions(_AT_ONCE) for row in some]


def _select(kind: type[Any]) -> str:
    return f"SELECT {', '.join(columns_of(kind))} FROM {table_name(kind)}"  # noqa: S608 -- our names


def _is_text(value: object) -> bool:
    """Whether a database could hold this; a command line may bring bytes that no text has (surrogates)."""
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _where(kind: type[Any], field: str, value: object) -> dict[str, Any]:
    match kind.__name__, field, value:
        case "Address", "id", str(id):
            network_id, version, ip = id.split("/")
            return {"network_id": network_id, "version": int(version), "ip": format_ip(int(version), int(ip))}
        case "Address", "address", (int(version), int(ip)):
            return {"version": version, "ip": format_ip(version, ip)}
        case _, "vrid_key", (str(network_id), int(vrid)):
            return {"network_id": network_id, "vrid": vrid}
        case _:
            return {field: value}
