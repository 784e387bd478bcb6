"""What the backend sees while somebody watches: one thread, one epoll, four sockets, however many routers there are.

It only tells: what of ours was touched, by whom if the kernel says, which interfaces came and went, who claims an address.
Places are the names of namespaces, and `names.HOST` for the host's.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import ClassVar, Protocol, TypeVar, assert_never

from vipnet.errors import DataplaneError
from vipnet.sightings import Appeared, Changed, Eyes, Overrun, Sighting, Vanished
from vipnet_kernel import names
from vipnet_kernel.arrivals import Arrivals
from vipnet_kernel.ears import Ours
from vipnet_kernel.link_entries import Namespace
from vipnet_kernel.listening import Listener, sighting_of
from vipnet_kernel.multicast import (
    ROUTE_GROUPS,
    RULESET_GROUPS,
    Committed,
    LinkSeen,
    Multicast,
    Notice,
    Other,
    OverrunError,
    links,
    number_in,
)
from vipnet_kernel.namespaces import entered, exists, listed
from vipnet_kernel.netlink import NETFILTER, loopback_alias

__all__ = ["KernelEyes"]

_FIRST_LOOK, _LAST_LOOK = 0.02, 60.0
"""Seconds after which a new namespace is looked at, doubled until it has a mark: it gets ours a moment after its name."""

_BLURRED = 1.0
"""Seconds after which it looks around again when it could not."""

_REST = 0.02
"""Seconds between two looks at frames: who sends thousands is heard all the same, and takes no more of us."""


class KernelEyes(Eyes):
    """Sees from the moment it is made until it is closed."""

    blind: ClassVar[bool] = False

    def __init__(
        self, host: str, owner: str, report: Callable[[Sighting], None], ours: Ours, *, vanished: Callable[[str], object]
    ) -> None:
        """`vanished` is told at once, in the thread that sees, of each namespace of ours whose name is gone."""
        self._host = host
        self._ours = ours
        self._vanished = vanished
        self._owner = owner
        self._report = report
        self._links: dict[int, LinkSeen] = {}
        self._by_name: dict[str, LinkSeen] = {}
        self._number_of: dict[str, int] = {}
        self._name_of: dict[int, str] = {}
        self._due: dict[str, tuple[float, float]] = {}
        self._blurred = False
        with ExitStack() as opening:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opening.callback(os.close, self._wake)
            with entered(host):
                self._routes = _closing(opening, Multicast(socket.NETLINK_ROUTE, ROUTE_GROUPS))
                self._rulesets = _closing(opening, Multicast(NETFILTER, RULESET_GROUPS))
                self._frames = _closing(opening, Listener())
            self._arrivals = _closing(opening, Arrivals())
            self._poll = opening.enter_context(select.epoll())
            for source in (self._wake, self._routes, self._rulesets, self._frames, self._arrivals):
                self._poll.register(source, select.EPOLLIN)
            self._look_around()
            self._sources = opening.pop_all()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="vipnet-eyes", daemon=True)
        self._thread.start()

    def ask(self, device: str, mac: str, ip: int) -> None:
        """As the bridge, so that the answer goes to nobody else."""
        port = self._by_name.get(device)
        bridge = None if port is None else self._links.get(port.master)
        if bridge is not None and names.BRIDGE.fullmatch(bridge.name):
            self._frames.ask(device, bytes.fromhex(mac.replace(":", "")), bridge.mac, ip)

    def close(self) -> None:
        self._closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._sources.close()

    def _watch(self) -> None:
        rested = 0.0
        while not self._closed:
            ready = {descriptor for descriptor, _ in self._poll.poll(self._patience())}
            told = dict.fromkeys(self._told(ready))  # of many alike one is enough
            if self._frames.fileno() in ready and (pause := rested + _REST - time.monotonic()) > 0:
                time.sleep(pause)
            if self._frames.fileno() in ready:
                rested = time.monotonic()
                for heard in self._frames.read():
                    sighting = sighting_of(heard)
                    told.pop(sighting, None)  # the last of them counts
                    told[sighting] = None
            for sighting in told:
                self._report(sighting)

    def _patience(self) -> float | None:
        if self._blurred:
            return _BLURRED
        return max(0.0, min(due for due, _ in self._due.values()) - time.monotonic()) if self._due else None

    def _told(self, ready: set[int]) -> Iterator[Sighting]:
        try:
            if self._arrivals.fileno() in ready:
                yield from self._heard_names()
            yield from self._looked_at_names()
            if self._routes.fileno() in ready:
                for where, notice in self._routes.read():
                    yield from self._noticed(where, notice)
            if self._rulesets.fileno() in ready:
                for where, notice in self._rulesets.read():
                    yield from self._noticed(where, notice)
        except (OverrunError, DataplaneError):  # or what we asked about went away while we did
            self._blurred = True
        if self._blurred:
            with suppress(DataplaneError):  # tried again after a while
                self._look_around()
                self._blurred = False
            yield Overrun()

    # ------------------------------------------------------------------------------------------------- what is there

    def _look_around(self) -> None:
        self._links = {link.index: link for link in links(self._host)}
        self._by_name = {link.name: link for link in self._links.values()}
        self._number_of, self._name_of = {}, {}
        for name in listed(names.NAMESPACE):
            self._meet(name)

    def _meet(self, name: str) -> bool:
        """Listen to a namespace from now on if it is ours."""
        if self._mark(name) != Namespace(name, self._owner).alias or (number := number_in(self._host, name)) is None:
            return False
        self._number_of[name] = number
        self._name_of[number] = name
        return True

    def _mark(self, name: str) -> str | None:
        """Whose a namespace is, "": nobody's yet; None: it is gone, or not all there yet."""
        try:
            return loopback_alias(name)
        except DataplaneError:
            if exists(name):
                raise
            return None

    # ------------------------------------------------------------------------------------------------- what happens

    def _heard_names(self) -> Iterator[Sighting]:
        for name, came in self._arrivals.read():
            if not name:
                raise OverrunError
            if not names.NAMESPACE.fullmatch(name):
                continue
            if came:
                self._due[name] = time.monotonic() + _FIRST_LOOK, _FIRST_LOOK
                continue
            self._due.pop(name, None)
            if name in self._number_of:
                self._name_of.pop(self._number_of.pop(name), None)
                self._vanished(name)
                yield Changed(place=name)

    def _looked_at_names(self) -> Iterator[Sighting]:
        now = time.monotonic()
        for name, (_, wait) in [item for item in self._due.items() if item[1][0] <= now]:
            del self._due[name]
            if self._meet(name):
                yield Changed(place=name, hidden=True)  # nobody listened until now
            elif not self._mark(name) and wait < _LAST_LOOK:
                self._due[name] = now + 2 * wait, 2 * wait

    def _noticed(self, where: int | None, notice: Notice) -> Iterator[Sighting]:
        place = names.HOST if where is None else self._name_of.get(where)
        if place is None:
            return
        match notice:
            case LinkSeen():
                yield from self._link(notice) if place == names.HOST else [Changed(place=place)]
            case Committed():
                if self._ours(notice.tables):
                    yield Changed(place=place, by=f"{notice.program} (process {notice.pid})")
            case Other():
                if place != names.HOST:
                    yield Changed(place=place, hidden=True)
            case _:
                assert_never(notice)

    def _link(self, seen: LinkSeen) -> Iterator[Sighting]:
        before = self._links.pop(seen.index, None)
        after = None if seen.gone else seen
        ours = any(link is not None and self._concerns_us(link) for link in (before, after))
        if before is not None:
            self._by_name.pop(before.name, None)
        if after is not None:
            self._links[after.index] = self._by_name[after.name] = after
        if before is not None and (after is None or after.name != before.name):
            yield Vanished(place=names.HOST, device=before.name)
        if after is not None and (before is None or before.name != after.name):
            yield Appeared(place=names.HOST, device=after.name)
        if ours and before != after:
            yield Changed(place=names.HOST)

    def _concerns_us(self, link: LinkSeen) -> bool:
        master = self._links.get(link.master)
        named = (names.BRIDGE, names.FAR_END, names.VLAN)
        return any(pattern.fullmatch(link.name) for pattern in named) or (
            link.master != 0 and (master is None or names.BRIDGE.fullmatch(master.name) is not None)
        )


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


def _closing(stack: ExitStack, source: C) -> C:
    stack.callback(source.close)
    return source
