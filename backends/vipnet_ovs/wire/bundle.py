"""A bundle on its way: messages that the switch carries out all or none, in order (OpenFlow 1.5.1, 7.3.9)."""

from __future__ import annotations

import struct
from typing import Final

from vipnet_ovs.wire.connection import Connection, Refusal
from vipnet_ovs.wire.messages import BUNDLE_FLAGS, NO_BUFFER, NOWHERE, RESET_COUNTS, VERSION, FlowCommand, Kind, bundle_control

__all__ = ["Bundle"]

_ADD: Final = struct.Struct("!BBHIIxxH")
_FLOW: Final = struct.Struct("!BBHIIxxHBBHIQQBBHHHIIIHHHH")
"""What puts a message into a bundle, its header, a flow mod and the header of its match, together: there may be a million."""

_FLOW_SIZE: Final = _FLOW.size - _ADD.size
_PADDING: Final = tuple(bytes(-length % 8) for length in range(8))
_AT_ONCE: Final = 400
"""Messages that are sent together: the switch reads them while further ones are made."""


class Bundle:
    """Sends messages as they come; nothing of them is done before `commit`. Each has a number, counted from 0.

    Methods raise DataplaneError when the switch cannot be reached or does not answer: then the outcome is not known.
    """

    __slots__ = ("_connection", "_first", "_number", "_waiting")

    def __init__(self, connection: Connection, most: int) -> None:
        """Open it for at most so many messages."""
        self._connection = connection
        self._first = connection.begin(most + 2)
        self._number = 0
        self._waiting = [bundle_control("open", self._first, xid=self._first)]

    def flow(
        self,
        command: FlowCommand,
        table: int,
        priority: int,
        match: bytes,
        instructions: bytes = b"",
        cookie: int = 0,
        *,
        reset: bool = False,
    ) -> None:
        """Add, modify or delete a flow, as `messages.flow_mod` says it."""
        length, xid = 4 + len(match), self._next()
        padding = _PADDING[length % 8]
        size = _FLOW_SIZE + len(match) + len(padding) + len(instructions)
        flags = RESET_COUNTS if reset else 0
        head = _FLOW.pack(
            *(VERSION, 34, 16 + size, xid, self._first, BUNDLE_FLAGS),
            *(VERSION, 14, size, xid),
            *(cookie, 0, table, command, 0, 0, priority, NO_BUFFER, NOWHERE, NOWHERE, flags, 0, 1, length),
        )
        self._waiting.append(head + match + padding + instructions)

    def add(self, message: bytes) -> None:
        """Add any message; both it and what puts it there get the same xid (7.3.9.6)."""
        xid = self._next()
        head = _ADD.pack(VERSION, Kind.BUNDLE_ADD, 16 + len(message), xid, self._first, BUNDLE_FLAGS)
        self._waiting.append(head + message[:4] + xid.to_bytes(4) + message[8:])

    def beside(self, message: bytes) -> None:
        """Have a message, which a bundle cannot hold, carried out at once, before all that follow."""
        xid = self._next()
        self._waiting.append(message[:4] + xid.to_bytes(4) + message[8:])

    def commit(self) -> list[Refusal]:
        """Have it carried out; return what was refused, if anything was: then nothing is done, but for what was beside it."""
        return self._end("commit")

    def discard(self) -> None:
        """Have nothing of it done."""
        self._end("discard")

    def _next(self) -> int:
        self._number += 1
        if not self._number % _AT_ONCE:
            self._connection.send(*self._waiting)
            self._waiting = []
        return self._first + self._number

    def _end(self, how: str) -> list[Refusal]:
        last = self._first + self._number + 1
        self._connection.send(*self._waiting, bundle_control(how, self._first, xid=last))
        return self._connection.refusals(self._first + 1, last, Kind.BUNDLE_CONTROL)
