"""Ownership of our tables: while a process watches, it alone can change them.

A table with the kernel's flag OWNER takes changes by one netlink socket alone; another one of the same process is refused, too.
PERSIST keeps it when that socket is closed, by whatever death: then anybody may change it, and the next owner adopts it. The
kernel lets a table be adopted only if it was made with PERSIST, so those of routers always are. The host's is made anew with it
when it is to be owned, and without it at the end: of a table that persists without an owner nft 1.0.6 makes broken JSON, and
the host's namespace is others', too.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from vipnet.errors import DataplaneError, OwnedError
from vipnet_kernel.namespaces import entered, number, scratch
from vipnet_kernel.netlink import NETFILTER, ruleset_generation, talking
from vipnet_kernel.sockets import Sockets, opened
from vipnet_nftables.owners import Table, described, our_tables
from vipnet_nftables.wire import header
from vipnet_nftables.wire.batch import transacted
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.making import flagged

__all__ = ["OWNED", "Adopted", "Ownership", "refused"]

OWNED: Final = header.TABLE_F_OWNER | header.TABLE_F_PERSIST
_SPARE: Final = 256
"""Files that a process may have open beside the sockets of ownership."""


class Adopted(NamedTuple):
    """Tables that can be owned: the generation of their ruleset, and whether they are; else they are to be made anew first."""

    generation: int
    is_owned: bool


class Ownership:
    """Lends netlink sockets for batches: where our tables are owned, the one that owns them. For any thread.

    An open socket keeps its namespace alive: `release` it before it is deleted, and `sweep` for those that others deleted.
    `wanted`: whether tables are to be owned at all.
    """

    __slots__ = ("_due", "_host", "_is_on", "_left", "_limits", "_lock", "_owned", "_persists", "_sockets", "_sure", "_wanted")

    def __init__(self, sockets: Sockets, host: str, *, wanted: bool) -> None:
        self._sockets = sockets
        self._host = host
        self._wanted = wanted
        self._is_on = False
        self._lock = threading.RLock()
        self._owned: dict[str, tuple[int, socket.socket]] = {}
        self._sure: set[str] = set()
        self._due: set[str] = set()
        self._left: dict[str, int | None] = {}
        self._persists: bool | None = None
        self._limits: tuple[int, int] | None = None

    # ------------------------------------------------------------------------------------------------- lending

    @contextmanager
    def lent(self, namespace: str, family: int) -> Generator[socket.socket]:
        """Have a socket of a namespace for the length of a `with` block. Raises OSError, and DataplaneError without one.

        After an error it is closed: its answers may still come. So what it owned can be changed by others, until it is adopted.
        """
        with self._lock:
            link = self._link(namespace) if self._is_on and family == NETFILTER else None
            if link is not None:
                try:
                    yield link
                except BaseException:
                    self.release(namespace)
                    self._due.add(namespace)
                    raise
                return
        with self._sockets.lent(namespace, family) as link:
            yield link

    def flags(self, namespace: str) -> int:
        """The flags of tables that are made in a namespace, by what `lent` lends there. Raises DataplaneError."""
        if namespace in self._owned:
            return OWNED
        return header.TABLE_F_PERSIST if self._wanted and namespace != self._host and self._can() else 0

    # ------------------------------------------------------------------------------------------------- owning

    def begin(self, namespaces: Iterable[str]) -> bool:
        """Let tables be owned: new ones at once, those that are there as they are adopted; False: not wanted, or not possible."""
        if not self._wanted or not self._can():
            return False
        with self._lock:
            self._is_on = True
            self._due = set(namespaces)
            self._make_room()
        return True

    def end(self) -> None:
        """Let go of all tables; they stay."""
        with self._lock:
            self._is_on = False
            self._due.clear()
            self._left.clear()
            for namespace in list(self._owned):
                self.release(namespace)
            self._restore_limits()

    @property
    def due(self) -> frozenset[str]:
        """Namespaces whose tables are to be adopted."""
        return frozenset(self._due)

    def adopt(self, namespace: str) -> Adopted | None:
        """Own the tables that a namespace has; None: they cannot be had, and others may change them. Raises DataplaneError."""
        with self._lock:
            self._due.discard(namespace)
            if not self._is_on or namespace in self._owned:
                return None
            self._left[namespace] = _number(namespace)  # also if it fails
            with _failing(namespace):
                link = self._opened(namespace)
                found = None if link is None else self._adopted(namespace, link)
            if link is not None and found is not None:
                self._owned[namespace] = number(namespace), link
                del self._left[namespace]
            return found

    def drop(self, namespace: str) -> None:
        """Leave a namespace out that has gone."""
        self._due.discard(namespace)

    def reconsider(self, namespaces: Iterable[str]) -> None:
        """Let it be tried again to own what could not be had."""
        with self._lock:
            self._due |= {name for name in namespaces if self._left.pop(name, None) is not None}

    def confirm(self, namespace: str) -> None:
        """From now on nobody else can have changed what is owned in a namespace."""
        if namespace in self._owned:
            self._sure.add(namespace)

    def is_sure(self, namespace: str) -> bool:
        """Whether nobody else can have changed our tables in a namespace since that was confirmed."""
        return namespace in self._sure

    def release(self, namespace: str) -> None:
        """Let go of what is owned in a namespace."""
        with self._lock:
            self._sure.discard(namespace)
            _, link = self._owned.pop(namespace, (0, None))
        if link is not None:
            link.close()

    def sweep(self) -> None:
        """Let go of namespaces that are gone, or are others of the same name."""
        for namespace, (known, _) in list(self._owned.items()):
            if _number(namespace) != known:
                self.release(namespace)

    def check(self, namespaces: Iterable[str]) -> None:
        """Raise OwnedError where somebody else owns our tables."""
        for namespace in namespaces:
            if namespace not in self._owned:
                with linked(self._sockets, namespace) as link:
                    owned = [one for one in our_tables(link) if one.owner]
                if owned:
                    raise refused(namespace, owned[0])

    # ------------------------------------------------------------------------------------------------- within

    def _link(self, namespace: str) -> socket.socket | None:
        """What owns the tables of a namespace, or those that will be made there; None: others may change them."""
        there = _number(namespace)
        known, link = self._owned.get(namespace, (None, None))
        if link is not None and known == there:
            return link
        self.release(namespace)
        if namespace in self._due or (there is not None and self._left.get(namespace) == there):
            return None
        if (link := self._opened(namespace)) is None or not _is_bare(link):
            self._left[namespace] = there
            return None
        self._owned[namespace] = number(namespace), link
        self._sure.add(namespace)
        return link

    def _adopted(self, namespace: str, link: socket.socket) -> Adopted | None:
        with ExitStack() as giving_up:
            giving_up.callback(link.close)
            tables = our_tables(link)
            persist = all(one.flags & header.TABLE_F_PERSIST for one in tables)
            if any(one.owner for one in tables) or not (persist or namespace == self._host):
                return None
            if persist and transacted(link, flagged([one.family for one in tables], OWNED)):  # somebody was faster
                return None
            found = Adopted(ruleset_generation(link), persist)
            giving_up.pop_all()
            return found

    def _opened(self, namespace: str) -> socket.socket | None:
        """A socket of a namespace; None: this process may not have more files open."""
        if len(self._owned) >= self._room():
            return None
        try:
            with entered(namespace):
                return opened(NETFILTER)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return None
            raise

    def _room(self) -> int:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return sys.maxsize if soft == resource.RLIM_INFINITY else soft - _SPARE

    def _make_room(self) -> None:
        """Let this process have more files open if it must; as many as it may, if that is less."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * len(self._due) + _SPARE + len([*Path("/proc/self/fd").iterdir()])
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and more > soft:
            with suppress(OSError, ValueError):  # not allowed: what finds no room is listened to
                resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
                self._limits = soft, more

    def _restore_limits(self) -> None:
        if self._limits is not None:
            before, ours = self._limits
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if soft == ours:
                resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
            self._limits = None

    def _can(self) -> bool:
        """Whether this kernel knows tables that persist: Linux 6.9 and later."""
        if self._persists is None:
            try:
                with scratch(), talking("", NETFILTER) as link:
                    faults = transacted(link, flagged(["bridge"], OWNED))
            except OSError as error:
                raise DataplaneError(f"the kernel cannot be asked for ownership: {os.strerror(error.errno or 0)}") from error
            self._persists = not faults
        return self._persists


def refused(namespace: str, table: Table) -> OwnedError:
    """The error that says whose a table is."""
    where = f"namespace {namespace}" if namespace else "this namespace"
    who = described(namespace, table.owner)
    return OwnedError(
        f"table {table.family} vipnet of {where} belongs to {who}, which watches over it: end that process, or use its store"
    )


def _is_bare(link: socket.socket) -> bool:
    """Whether there is no table of ours; else the socket is closed. Raises OSError."""
    with ExitStack() as giving_up:
        giving_up.callback(link.close)
        if our_tables(link):
            return False
        giving_up.pop_all()
        return True


@contextmanager
def _failing(namespace: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        where = namespace or "this namespace"
        raise DataplaneError(f"the rules of {where} cannot be owned: {error.strerror or error}") from error


def _number(namespace: str) -> int | None:
    try:
        return number(namespace)
    except FileNotFoundError:
        return None
