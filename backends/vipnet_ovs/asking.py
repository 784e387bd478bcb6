"""Flows, asked for over a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vipnet.views import Counters
from vipnet_ovs.metering import Mapped, count, questions
from vipnet_ovs.pipeline import NUMBERS
from vipnet_ovs.wire import messages
from vipnet_ovs.wire.connection import Connection
from vipnet_ovs.wire.replies import FlowRow, flow_rows

__all__ = ["counted", "flows"]

_EVERY_BIT = 0xFFFFFFFFFFFFFFFF


def flows(connection: Connection, *, table: str = "", match: bytes = b"", cookie: int = 0) -> Iterator[FlowRow]:
    """The flows of a table ("": of all) that match no less than this, with a cookie (0: with any)."""
    mask, number = _EVERY_BIT if cookie else 0, NUMBERS[table] if table else 0xFF
    request = messages.flows_request(xid=0, table=number, match=match, cookie=cookie, cookie_mask=mask)
    for part in connection.ask(request):
        yield from flow_rows(part)


def counted(connection: Connection, asked: Iterable[Mapped]) -> dict[str, Counters]:
    """What the flows of EIPs have counted, by EIP id."""
    found: dict[str, Counters] = {}
    for one in asked:
        rows = {table: list(flows(connection, table=table, match=match)) for table, match in questions(one)}
        found[one.eip_id] = count(one, rows)
    return found
