"""A connection to a bridge: requests, bundles, and what the switch says unasked."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from vipnet.errors import DataplaneError
from vipnet_ovs.wire import messages
from vipnet_ovs.wire.messages import VERSION, Kind, Multipart
from vipnet_ovs.wire.replies import error_text
from vipnet_ovs.wire.unix import connected

__all__ = ["Connection", "Refusal"]

_CHUNK: Final = 1 << 18
_MORE: Final = 1
_UNASKED: Final = frozenset({Kind.PACKET_IN, Kind.FLOW_REMOVED, Kind.EXPERIMENTER, Kind.PORT_STATUS})
_MONITORED: Final = Multipart.FLOW_MONITOR.to_bytes(2)
_PAUSE: Final = 0.02


class Refusal(NamedTuple):
    """What the switch refused: which of the messages, and why."""

    message: int
    reason: str


class Connection:
    """A stream to the OpenFlow socket of a bridge. Not for two threads at once. A context manager.

    Every method raises DataplaneError when the switch cannot be reached or does not answer in time: then what became of a
    change is not known.
    """

    def __init__(self, path: Path, *, timeout: float = 60.0, patience: float = 0.0) -> None:
        """Connect, and for `patience` seconds again where nobody listens: a switch that was just started is not ready at once."""
        self._timeout = timeout
        self._xid = 0
        self._received = bytearray()
        self._unasked: deque[bytes] = deque()
        self._errors: list[bytes] = []
        self._socket = _connected(path, patience)
        self._socket.setblocking(False)
        try:
            self._exchange(messages.hello())
            self._await(lambda message: message[1] == Kind.HELLO)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream."""
        self._socket.close()

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def peer(self) -> int:
        """The switch's process."""
        return struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]  # type: ignore[no-any-return]

    def is_alive(self) -> bool:
        """Whether the switch still holds the other end. Cheap."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send(self, *sent: bytes) -> None:
        """Send without waiting for an answer."""
        self._exchange(b"".join(sent))

    def transact(self, sent: Sequence[bytes]) -> list[Refusal]:
        """Send messages, each by itself, and return what was refused."""
        first = self.begin(len(sent) + 1)
        numbered = [one[:4] + (first + index).to_bytes(4) + one[8:] for index, one in enumerate(sent)]
        last = first + len(sent)
        self.send(*numbered, messages.barrier(xid=last))
        return self.refusals(first, last, Kind.BARRIER_REPLY)

    def begin(self, count: int) -> int:
        """Reserve so many numbers for messages that are sent bit by bit, and return the first; until `refusals`, what the switch
        says of them is kept."""
        self._errors.clear()
        return self._numbers(count)

    def ask(self, request: bytes) -> Iterator[bytes]:
        """Send a multipart request and yield the parts of its answer, whole messages."""
        xid = self._numbers(1)
        self._exchange(request[:4] + xid.to_bytes(4) + request[8:])
        return self._parts(xid)

    def ask_all(self, *requests: bytes) -> list[list[bytes]]:
        """Send multipart requests together; return the parts of the answer of each."""
        first = self._numbers(len(requests))
        numbered = [one[:4] + (first + index).to_bytes(4) + one[8:] for index, one in enumerate(requests)]
        self._exchange(b"".join(numbered))
        return [list(self._parts(first + index)) for index in range(len(requests))]

    def _parts(self, xid: int) -> Iterator[bytes]:
        while True:
            part = self._await(lambda message: int.from_bytes(message[4:8]) == xid)
            if part[1] == Kind.ERROR:
                raise DataplaneError(f"the switch does not answer a question: {error_text(part)}")
            yield part
            if not int.from_bytes(part[10:12]) & _MORE:
                return

    def receive(self, timeout: float) -> bytes | None:
        """What the switch says unasked next; None: nothing in time."""
        deadline = time.monotonic() + timeout
        while not self._unasked:
            if (message := self._next()) is not None:
                self._keep(message)
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not self._fill(left):
                return None
        return self._unasked.popleft()

    def _numbers(self, count: int) -> int:
        first = self._xid + 1
        self._xid += count
        if self._xid >= 1 << 31:
            first, self._xid = 1, count
        return first

    def refusals(self, first: int, last: int, end: Kind) -> list[Refusal]:
        """Wait for the answer to message number `last`, of that kind; return what was refused since `first`, counted from 0."""
        refused: list[Refusal] = []

        def ends(message: bytes) -> bool:
            xid = int.from_bytes(message[4:8])
            if message[1] == Kind.ERROR and first - 1 <= xid <= last:
                refused.append(Refusal(xid - first, error_text(message)))
                return xid == last
            return xid == last and message[1] == end

        if not any(list(map(ends, self._errors))):
            self._await(ends)
        self._errors.clear()
        named = [one for one in refused if 0 <= one.message < last - first]
        return named or refused

    def _await(self, wanted: Callable[[bytes], bool]) -> bytes:
        deadline = time.monotonic() + self._timeout
        while True:
            while (message := self._next()) is not None:
                if wanted(message):
                    return message
                self._keep(message)
            left = deadline - time.monotonic()
            if left <= 0 or not self._fill(left):
                raise DataplaneError(f"the switch did not answer within {self._timeout:g} s")

    def _keep(self, message: bytes) -> None:
        if message[1] == Kind.ECHO_REQUEST:
            self._exchange(messages.echo_reply(message))
        elif message[1] in _UNASKED or (message[1] == Kind.MULTIPART_REPLY and message[8:10] == _MONITORED):
            self._unasked.append(message)
        elif message[1] == Kind.ERROR:
            self._errors.append(message)

    def _next(self) -> bytes | None:
        received = self._received
        if len(received) < 8:
            return None
        length = received[2] << 8 | received[3]
        if received[0] != VERSION or length < 8:
            raise DataplaneError(f"the switch speaks OpenFlow version {received[0]}, not 1.5")
        if len(received) < length:
            return None
        message = bytes(received[:length])
        del received[:length]
        return message

    def _fill(self, timeout: float) -> bool:
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        self._take()
        return True

    def _take(self) -> None:
        try:
            octets = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise DataplaneError(f"the connection to the switch is lost: {error.strerror}") from error
        if not octets:
            raise DataplaneError("the switch has closed the connection")
        self._received += octets

    def _exchange(self, octets: bytes) -> None:
        """Write all of it, and read meanwhile, so that neither side waits for the other."""
        view, deadline = memoryview(octets), time.monotonic() + self._timeout
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                readable, writable, _ = select.select([self._socket], [self._socket], [], max(0, deadline - time.monotonic()))
                if readable:
                    self._take()
                elif not writable:
                    raise DataplaneError(f"the switch took nothing for {self._timeout:g} s") from None
            except OSError as error:
                raise DataplaneError(f"the connection to the switch is lost: {error.strerror}") from error


def _connected(path: Path, patience: float) -> socket.socket:
    until = time.monotonic() + patience
    while True:
        try:
            return connected(path)
        except OSError as error:
            if time.monotonic() > until:
                raise DataplaneError(f"the bridge's socket {path} does not answer: {error.strerror}") from error
            time.sleep(_PAUSE)
