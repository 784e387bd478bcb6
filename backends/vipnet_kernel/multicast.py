"""What the kernel says unasked, by netlink multicast, of one namespace and of all those that have a number in it.

One socket a family hears every namespace (NETLINK_LISTEN_ALL_NSID, netlink(7)): it costs no file descriptor a namespace, and
keeps none of them alive. By hand, as pyroute2 reads no ruleset events and hears one namespace a socket.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import opened
from vipnet_kernel.netlink import NETFILTER, ask, attribute, attributes, dump, messages, outcomes, talking
from vipnet_kernel.routelist import ANSWERS

__all__ = [
    "ROUTE_GROUPS",
    "RULESET_GROUPS",
    "Committed",
    "LinkSeen",
    "Multicast",
    "Notice",
    "Other",
    "OverrunError",
    "links",
    "number_in",
]

ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 25)
"""Of rtnetlink (linux/rtnetlink.h): links; IPv4 addresses, routes, rules; the same of IPv6; settings of both."""

RULESET_GROUPS = (7,)
"""Of nfnetlink (linux/netfilter/nfnetlink.h): nftables."""

_NETLINK, _JOIN, _ALL_NAMESPACES = 270, 1, 8
_BUFFER_FORCE = 33
_ROOM = 8 << 20
_LINK = struct.Struct("=BxHiII")
_NEWLINK, _DELLINK = 16, 17
_NEWROUTE, _PROTOCOL_AT = 24, 5
_GETLINK = 18
_NEWNSID, _GETNSID = 88, 90
_NUMBER, _BY_FILE = 1, 3
_ANY_FAMILY = bytes(4)
_UP = 1
_ADDRESS, _NAME, _MASTER = 1, 3, 10
_RULESET, _NEWGEN = 10, (10 << 8) | 15
_GENERATION, _PID, _PROGRAM = 1, 2, 3


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An interface as it is now, or, `gone`, as it was; `master` 0: it is no port."""

    index: int
    name: str
    up: bool
    mac: bytes
    master: int
    gone: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """The ruleset was changed, by a program, and has this generation now. `tables` are the names of those that it touched."""

    tables: frozenset[str]
    generation: int
    program: str
    pid: int


@dataclass(frozen=True, slots=True)
class Other:
    """An address, a route, a rule or a setting was changed."""


Notice = LinkSeen | Committed | Other


class OverrunError(Exception):
    """More was said than the socket could hold: some of it is lost."""


class Multicast:
    """A socket that hears some groups of a family, in the calling thread's namespace and those with a number there."""

    __slots__ = ("_family", "_socket", "_tables")

    def __init__(self, family: int, groups: Sequence[int]) -> None:
        self._family = family
        self._tables: dict[int | None, set[bytes]] = {}
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCE, _ROOM)
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_NETLINK, _JOIN, group)
            self._socket.setsockopt(_NETLINK, _ALL_NAMESPACES, 1)
        except OSError as error:
            self._socket.close()
            raise DataplaneError(f"the kernel's notices cannot be heard: {error.strerror}") from error

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def read(self) -> Iterator[tuple[int | None, Notice]]:
        """What was said since, each with the number of its namespace (None: the own). Raises OverrunError, then goes on."""
        while True:
            try:
                data, control, _, _ = self._socket.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._tables.clear()
                raise OverrunError from error
            where = _namespace(control)
            for kind, payload in messages(data):
                if (notice := self._notice(where, kind, payload)) is not None:
                    yield where, notice

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def _notice(self, where: int | None, kind: int, payload: bytes) -> Notice | None:
        if self._family != NETFILTER:
            return _notice(kind, payload)
        if kind >> 8 != _RULESET:
            return None
        if kind != _NEWGEN:  # a transaction's messages come in a row, and its generation last
            self._tables.setdefault(where, set()).add(_first(payload))
            return None
        found = attributes(payload, 4)
        tables = frozenset(_text(name) for name in self._tables.pop(where, ()))
        generation, pid = (int.from_bytes(found.get(kind, b""), "big") for kind in (_GENERATION, _PID))
        return Committed(tables, generation, _text(found.get(_PROGRAM, b"")), pid)


def _first(payload: bytes) -> bytes:
    """The first attribute, which in all of nf_tables is the table: there is a message for each element, so no more is read."""
    return payload[8 : 4 + int.from_bytes(payload[4:6], sys.byteorder)]


def _namespace(control: Iterable[tuple[int, int, bytes]]) -> int | None:
    found = (struct.unpack_from("=i", body)[0] for level, kind, body in control if (level, kind) == (_NETLINK, _ALL_NAMESPACES))
    return next(found, None)


def links(namespace: str) -> list[LinkSeen]:
    """The interfaces that a namespace has. Raises DataplaneError."""
    try:
        with talking(namespace, socket.NETLINK_ROUTE) as link:
            return [_link(payload, gone=False) for _, payload in dump(link, _GETLINK, _LINK.pack(0, 0, 0, 0, 0))]
    except OSError as error:
        raise DataplaneError(f"the links of {namespace or 'this namespace'} cannot be read: {error.strerror}") from error


def number_in(host: str, namespace: str) -> int | None:
    """The number that a namespace has in another one, given now if it had none; None: it is gone. Raises DataplaneError.

    It goes with the namespace. A pair of interfaces that leads from one to the other gives it one, too.
    """
    try:
        with talking(host, socket.NETLINK_ROUTE) as link, opened(namespace) as there:
            question = _ANY_FAMILY + attribute(_BY_FILE, struct.pack("=i", there))
            if (known := _number(link, question)) is None:
                outcomes(link, _NEWNSID, [question + attribute(_NUMBER, struct.pack("=i", -1))])  # EEXIST: somebody was faster
                known = _number(link, question)
            return known
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a file on which no namespace is mounted (any more)
            return None
        raise DataplaneError(f"namespace {namespace} has no number: {error.strerror}") from error


def _number(link: socket.socket, question: bytes) -> int | None:
    ((_, answer),) = ask(link, _GETNSID, question)
    (number,) = struct.unpack("=i", attributes(answer, len(_ANY_FAMILY))[_NUMBER])
    return None if number < 0 else int(number)


def _notice(kind: int, payload: bytes) -> Notice | None:
    """A message of rtnetlink; None: a bridge's view of its ports, which comes beside that of the link itself, or that a router
    answers for an EIP from now on, which nobody need put right.
    """
    if kind == _NEWROUTE and payload[_PROTOCOL_AT] == ANSWERS:
        return None
    if kind not in (_NEWLINK, _DELLINK):
        return Other()
    return _link(payload, gone=kind == _DELLINK) if payload[0] == socket.AF_UNSPEC else None


def _link(payload: bytes, *, gone: bool) -> LinkSeen:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    found = attributes(payload, _LINK.size)
    master = int.from_bytes(found.get(_MASTER, b""), sys.byteorder)
    return LinkSeen(index, _text(found[_NAME]), bool(flags & _UP), found.get(_ADDRESS, b""), master, gone)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
