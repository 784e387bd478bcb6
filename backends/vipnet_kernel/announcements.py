"""Gratuitous ARP for EIPs that a router begins to answer for: at once, and twice more, a second apart, should one be lost.

They come from a thread of their own, and only for what the router answers for at that moment: meanwhile an EIP may have moved
on, also by another process, and would be called back. A process that ends before sends the first alone.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count

from vipnet.errors import DataplaneError
from vipnet_kernel import names
from vipnet_kernel.arp import Announcer
from vipnet_kernel.namespaces import exists, number
from vipnet_kernel.netlink import link_seen
from vipnet_kernel.sockets import Sockets

__all__ = ["Announcements", "Answered", "leg_seen"]

_REPEATS = 2
_APART = 1.0
_MOMENT, _GATHERED = 0.003, 0.05
"""Seconds that what is new, and what is due, waits for more: a few at once cost the others less than each alone."""


_Way = tuple[str, int]
"""A router and an uplink."""
Answered = Callable[[str, int, Collection[int]], set[int]]
"""Says for which of some EIPs a router answers on an uplink. Raises DataplaneError."""

_Some = tuple[_Way, frozenset[int]]
"""EIPs that a router answers for on an uplink."""


class Announcements:
    """Announces, and goes on announcing until closed.

    It speaks for a router from the host's namespace, into the bridge of the uplink, with the MAC of the router's leg: so it needs
    one socket, however many routers there are.
    """

    __slots__ = ("_announcer", "_answered", "_closed", "_due", "_firsts", "_macs", "_news", "_sockets", "_thread", "_turn")

    def __init__(self, sockets: Sockets, host: str, answered: Answered) -> None:
        self._answered = answered
        self._sockets = sockets
        self._announcer = Announcer(host)
        self._news = threading.Condition()
        self._firsts: list[_Some] = []
        self._due: list[tuple[float, int, _Some]] = []
        self._macs: dict[_Way, tuple[int, bytes]] = {}
        self._turn = count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, router: str, uplink: int, eips: Iterable[int]) -> None:
        """Announce EIPs that a router answers for on an uplink, now and twice more, and wait for none of it.

        An announcement goes to every router on the uplink, so that it may take longer than to program what it is about.
        """
        some = (router, uplink), frozenset(eips)
        with self._news:
            now = time.monotonic()
            self._firsts.append(some)
            for repeat in range(1, _REPEATS + 1):
                heappush(self._due, (now + _APART * repeat, next(self._turn), some))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="vipnet-announcements", daemon=True)
                self._thread.start()
            if len(self._firsts) == 1:
                self._news.notify()

    def is_connected(self, uplink: int) -> bool:
        """Whether the bridge of an uplink leads somewhere."""
        return self._announcer.is_connected(names.uplink_bridge(uplink))

    def forget(self, router: str) -> None:
        """Say no more for a router that is going to be deleted."""
        with self._news:
            self._firsts = [some for some in self._firsts if some[0][0] != router]
            self._due = [due for due in self._due if due[2][0][0] != router]
            heapify(self._due)
            self._macs = {way: known for way, known in self._macs.items() if way[0] != router}

    def close(self) -> None:
        """Say nothing more than what nobody has heard yet."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self._announcer.close()

    def _work(self) -> None:
        while (due := self._next()) is not None:
            for way, eips in due.items():
                with suppress(DataplaneError):  # a router that has gone since announces nothing
                    self._announce(way, eips)

    def _next(self) -> dict[_Way, set[int]] | None:
        """Wait for what is new, or for what is due next, and for more that comes soon after."""
        with self._news:
            while not self._closed and not self._firsts:
                if not self._due:
                    self._news.wait()
                elif (pause := self._due[0][0] + _GATHERED - time.monotonic()) > 0:
                    self._news.wait(pause)
                else:
                    return _gathered(self._taken(time.monotonic()))
            if not self._closed:
                self._news.wait(_MOMENT)
            firsts, self._firsts = self._firsts, []
            return _gathered(firsts) or None

    def _taken(self, now: float) -> Iterator[_Some]:
        while self._due and self._due[0][0] <= now:
            yield heappop(self._due)[2]

    def _announce(self, way: _Way, eips: Collection[int]) -> None:
        router, uplink = way
        if exists(router) and (still := self._answered(router, uplink, eips)):
            self._announcer.announce(names.uplink_bridge(uplink), self._mac(way), still)

    def _mac(self, way: _Way) -> bytes:
        there = number(way[0])
        known, mac = self._macs.get(way, (0, b""))
        if known != there:
            mac, _ = leg_seen(self._sockets, *way)
            self._macs[way] = there, mac
        return mac


def _gathered(some: Iterable[_Some]) -> dict[_Way, set[int]]:
    found: dict[_Way, set[int]] = defaultdict(set)
    for way, eips in some:
        found[way] |= eips
    return found


def leg_seen(sockets: Sockets, router: str, uplink: int) -> tuple[bytes, bool]:
    """The MAC of a router's leg on an uplink, and whether it is connected. Raises DataplaneError."""
    leg = names.uplink_leg(uplink)
    try:
        with sockets.lent(router, socket.NETLINK_ROUTE) as link:
            return link_seen(link, leg)
    except OSError as error:
        raise DataplaneError(f"leg {leg} of {router} cannot be looked at: {error.strerror}") from error
