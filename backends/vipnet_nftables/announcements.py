"""Gratuitous ARP for EIPs that a router begins to answer for: at once, and twice more, a second apart, should one be lost.

The later ones come from a thread of their own, and only for what the router answers for at that moment: meanwhile an EIP may
have moved on, also by another process, and would be called back. A process that ends before sends the first alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from contextlib import suppress

from vipnet.addresses import parse_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.arp import Announcer
from vipnet_kernel.namespaces import exists
from vipnet_nftables import nft

__all__ = ["Announcements", "answered_for"]

_REPEATS = 2
_APART = 1.0


class Announcements:
    """Announces, and goes on announcing until closed."""

    __slots__ = ("_announcer", "_closed", "_due", "_news", "_thread")

    def __init__(self) -> None:
        self._announcer = Announcer()
        self._news = threading.Condition()
        self._due: list[tuple[float, str, str, frozenset[int]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, router: str, leg: str, eips: Collection[int]) -> None:
        """Announce EIPs on a leg, now and twice more. Raises DataplaneError when the leg is not there or down."""
        with self._news:
            self._announcer.announce(router, leg, eips)
            now = time.monotonic()
            self._due += [(now + _APART * count, router, leg, frozenset(eips)) for count in range(1, _REPEATS + 1)]
            self._due.sort(key=lambda due: due[0])
            if self._thread is None:
                self._thread = threading.Thread(target=self._repeat, name="vipnet-announcements", daemon=True)
                self._thread.start()
            self._news.notify()

    def forget(self, router: str) -> None:
        """Let go of a namespace that is going to be deleted."""
        with self._news:
            self._due = [due for due in self._due if due[1] != router]
            self._announcer.forget(router)

    def close(self) -> None:
        """Say nothing more."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self._announcer.close()

    def _repeat(self) -> None:
        with self._news:
            while not self._closed:
                if not self._due:
                    self._news.wait()
                elif (pause := self._due[0][0] - time.monotonic()) > 0:
                    self._news.wait(pause)
                else:
                    _, router, leg, eips = self._due.pop(0)
                    with suppress(DataplaneError):  # the first was sent; a router that has gone since announces nothing
                        self._announce_again(router, leg, eips)

    def _announce_again(self, router: str, leg: str, eips: frozenset[int]) -> None:
        if exists(router) and (still := eips & answered_for(router, leg)):
            self._announcer.announce(router, leg, still)


def answered_for(router: str, leg: str) -> set[int]:
    """The EIPs that a router answers for on a leg, as the kernel says."""
    found = (one.element.partition(" . ") for one in nft.listing(router, families=("arp",)).elements if one.set == "vn_eips")
    return {parse_ip4(eip, what="EIP") for where, _, eip in found if where.strip('"') == leg}
