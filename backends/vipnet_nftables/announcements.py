"""Gratuitous ARP for EIPs that a router begins to answer for: at once, and twice more, a second apart, should one be lost.

The later ones come from a thread of their own, and only for what the router answers for at that moment: meanwhile an EIP may
have moved on, also by another process, and would be called back. A process that ends before sends the first alone.
"""

from __future__ import annotations

import socket
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
from vipnet_kernel.netlink import link_mac
from vipnet_kernel.sockets import Sockets
from vipnet_nftables import names
from vipnet_nftables.columns import leg_key
from vipnet_nftables.wire.elements import by_key
from vipnet_nftables.wire.links import linked

__all__ = ["Announcements", "answered_for"]

_REPEATS = 2
_APART = 1.0
_AT_ONCE = 4
_GATHERED = 0.05


class Announcements:
    """Announces, and goes on announcing until closed.

    It speaks for a router from the host's namespace, into the bridge of the uplink, with the MAC of the router's leg: so it needs
    one socket, however many routers there are.
    """

    __slots__ = ("_announcer", "_closed", "_due", "_news", "_sockets", "_thread", "_turn")

    def __init__(self, sockets: Sockets, host: str) -> None:
        self._sockets = sockets
        self._announcer = Announcer(host)
        self._news = threading.Condition()
        self._due: list[tuple[float, int, str, int, frozenset[int]]] = []
        self._turn = count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, router: str, uplink: int, eips: Sequence[int]) -> None:
        """Announce EIPs that a router answers for on an uplink, now and twice more. Raises DataplaneError when that cannot be.

        Of many, most are left to the thread: an announcement goes to every router on the uplink, which takes 1.6 us for each.
        """
        first, rest = frozenset(eips[:_AT_ONCE]), frozenset(eips[_AT_ONCE:])
        self._announce(router, uplink, first)
        with self._news:
            now, sleeps = time.monotonic(), not self._due or bool(rest)
            for repeat in range(_REPEATS + 1):
                if some := first | rest if repeat else rest:
                    heappush(self._due, (now + _APART * repeat, next(self._turn), router, uplink, some))
            if self._thread is None:
                self._thread = threading.Thread(target=self._repeat, name="vipnet-announcements", daemon=True)
                self._thread.start()
            if sleeps:  # else it wakes up in time by itself
                self._news.notify()

    def is_connected(self, uplink: int) -> bool:
        """Whether the bridge of an uplink leads somewhere."""
        return self._announcer.is_connected(names.uplink_bridge(uplink))

    def forget(self, router: str) -> None:
        """Say no more for a router that is going to be deleted."""
        with self._news:
            self._due = [due for due in self._due if due[2] != router]
            heapify(self._due)

    def close(self) -> None:
        """Say nothing more than what nobody has heard yet."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self._announcer.close()

    def _announce(self, router: str, uplink: int, eips: Collection[int]) -> None:
        leg = names.uplink_leg(uplink)
        try:
            with self._sockets.lent(router, socket.NETLINK_ROUTE) as link:
                mac = link_mac(link, leg)
        except OSError as error:
            raise DataplaneError(f"nothing can be announced for {leg} of {router}: {error.strerror}") from error
        self._announcer.announce(names.uplink_bridge(uplink), mac, eips)

    def _repeat(self) -> None:
        while (due := self._next()) is not None:
            for (router, uplink), eips in due.items():
                with suppress(DataplaneError):  # a router that has gone since announces nothing
                    if exists(router) and (still := answered_for(self._sockets, router, uplink, eips)):
                        self._announce(router, uplink, still)

    def _next(self) -> dict[tuple[str, int], set[int]] | None:
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

    def _taken(self, now: float) -> dict[tuple[str, int], set[int]]:
        due: dict[tuple[str, int], set[int]] = defaultdict(set)
        while self._due and self._due[0][0] <= now:
            _, _, router, uplink, eips = heappop(self._due)
            due[router, uplink] |= eips
        return due


def answered_for(sockets: Sockets, router: str, uplink: int, among: Collection[int]) -> set[int]:
    """Those of some EIPs that a router answers for on an uplink, as the kernel says: O(1) each."""
    leg = names.uplink_leg(uplink)
    keys = {leg_key(leg, eip): eip for eip in among}
    with linked(sockets, router) as link:
        return {keys[key] for key in by_key(link, "arp", "vn_eips", list(keys))}
