"""Gratuitous ARP for EIPs that a router begins to answer for: at once, and twice more, a second apart, should one be lost.

The later ones come from a thread of their own, and only for what the router answers for at that moment: meanwhile an EIP may
have moved on, also by another process, and would be called back. A process that ends before sends the first alone.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count

from vipnet.errors import DataplaneError
from vipnet_kernel.arp import Announcer
from vipnet_kernel.namespaces import exists
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.columns import leg_key
from vipnet_nftables.wire.elements import by_key
from vipnet_nftables.wire.links import linked

__all__ = ["Announcements", "answered_for"]

_REPEATS = 2
_APART = 1.0
_AT_ONCE = 100
_GATHERED = 0.05


class Announcements:
    """Announces, and goes on announcing until closed."""

    __slots__ = ("_announcer", "_closed", "_due", "_forgets", "_news", "_sockets", "_thread", "_turn")

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._announcer = Announcer()
        self._news = threading.Condition()
        self._due: list[tuple[float, int, str, str, frozenset[int]]] = []
        self._turn = count()
        self._forgets = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, router: str, leg: str, eips: Sequence[int]) -> None:
        """Announce EIPs on a leg, now and twice more. Raises DataplaneError when the leg is not there or down.

        Of many, most are left to the thread: an announcement takes as long as it takes to program what it is about.
        """
        first, rest = frozenset(eips[:_AT_ONCE]), frozenset(eips[_AT_ONCE:])
        with self._news:
            self._announcer.announce(router, leg, first)
            now, sleeps = time.monotonic(), not self._due or bool(rest)
            for repeat in range(_REPEATS + 1):
                if some := first | rest if repeat else rest:
                    heappush(self._due, (now + _APART * repeat, next(self._turn), router, leg, some))
            if self._thread is None:
                self._thread = threading.Thread(target=self._repeat, name="vipnet-announcements", daemon=True)
                self._thread.start()
            if sleeps:  # else it wakes up in time by itself
                self._news.notify()

    def is_connected(self, router: str, leg: str) -> bool:
        """Whether a leg is up and its other end too. Raises DataplaneError when the namespace cannot be reached."""
        with self._news:
            return self._announcer.is_connected(router, leg)

    def forget(self, router: str) -> None:
        """Let go of a namespace that is going to be deleted."""
        with self._news:
            self._forgets += 1
            self._due = [due for due in self._due if due[2] != router]
            heapify(self._due)
            self._announcer.forget(router)

    def close(self) -> None:
        """Say nothing more than what nobody has heard yet."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self._announcer.close()

    def _repeat(self) -> None:
        while (due := self._next()) is not None:
            for (router, leg), eips in due.items():
                with suppress(DataplaneError):  # a router that has gone since announces nothing
                    self._announce_again(router, leg, eips)

    def _next(self) -> dict[tuple[str, str], set[int]] | None:
        """Wait for what is due next, and for what is due soon after: a few at once cost the others less than each alone."""
        with self._news:
            while not self._closed:
                if not self._due:
                    self._news.wait()
                elif (pause := self._due[0][0] + _GATHERED - time.monotonic()) > 0:
                    self._news.wait(pause)
                else:
                    return self._taken(time.monotonic())
            return self._taken(time.monotonic()) or None

    def _taken(self, now: float) -> dict[tuple[str, str], set[int]]:
        due: dict[tuple[str, str], set[int]] = defaultdict(set)
        while self._due and self._due[0][0] <= now:
            _, _, router, leg, eips = heappop(self._due)
            due[router, leg] |= eips
        return due

    def _announce_again(self, router: str, leg: str, eips: set[int]) -> None:
        """Nobody waits while the kernel is asked."""
        forgets = self._forgets
        if exists(router) and (still := answered_for(self._sockets, router, leg, eips)):
            with self._news:
                if self._forgets == forgets:  # else a socket may be opened in a namespace that is being deleted
                    self._announcer.announce(router, leg, still)


def answered_for(sockets: Sockets, router: str, leg: str, among: Collection[int]) -> set[int]:
    """Those of some EIPs that a router answers for on a leg, as the kernel says: O(1) each."""
    keys = {leg_key(leg, eip): eip for eip in among}
    with linked(sockets, router) as link:
        return {keys[key] for key in by_key(link, "arp", "vn_eips", list(keys))}
