"""A database, read by key: the model as it is at one moment, object by object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text

from vipnet.addresses import format_ip, ip_of
from vipnet.blocks import pool_of
from vipnet.ipam import AddressPool
from vipnet.model import Address, Network, Thing
from vipnet.rows import columns_of, decoded, table_name
from vipnet.tables import PoolKey
from vipnet.topology import VRIDS, ranges_of

__all__ = ["SqlSource", "read_all"]

T = TypeVar("T", bound=Thing)


class SqlSource:
    """Implements `vipnet.stored.Source`. It sees the database as it was when it was made, until it is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sql: Connection = engine.connect()

    def by(self, kind: type[T], field: str, value: object) -> Sequence[T]:
        words = _where(kind, field, value)
        return self._read(kind, " AND ".join(f"{name} = :{name}" for name in words), words)

    def all(self, kind: type[T]) -> Iterable[T]:
        return read_all(self.sql, kind)

    def count(self, kind: type[Any]) -> int:
        return int(self.sql.execute(text(f"SELECT count(*) FROM {table_name(kind)}")).scalar_one())  # noqa: S608 -- our names

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
        # Text: compiling a statement of SQLAlchemy's would cost a short-lived process more than running it.
        return [decoded(kind, row) for row in self.sql.execute(text(f"{_select(kind)} WHERE {condition}"), words)]

    def _vrids(self, network_id: str, span: tuple[int, int]) -> AddressPool:
        statement = text("SELECT DISTINCT vrid FROM vips WHERE network_id = :id AND vrid IS NOT NULL")
        pool = AddressPool.of(*span)
        for (vrid,) in self.sql.execute(statement, {"id": network_id}):
            pool = pool.hold(vrid)
        return pool

    def _addresses(self, network_id: str, version: int, span: tuple[int, int]) -> AddressPool:
        words = {"network_id": network_id, "version": version}
        here = "network_id = :network_id AND version = :version"
        statement = text(f"SELECT first, bits FROM blocks WHERE {here}")  # noqa: S608 -- our names
        blocks = ((ip_of(row.first), int.from_bytes(row.bits, "little")) for row in self.sql.execute(statement, words))
        timed = self._read(Address, f"{here} AND until IS NOT NULL AND state IN ('reserved', 'resting')", words)
        return pool_of(*span, blocks, timed)


def read_all(sql: Connection, kind: type[T]) -> list[T]:
    """Read all objects of a kind."""
    return [decoded(kind, row) for row in sql.execute(text(_select(kind)))]


def _select(kind: type[Any]) -> str:
    return f"SELECT {', '.join(columns_of(kind))} FROM {table_name(kind)}"  # noqa: S608 -- our names


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
