"""What the backend sees while somebody watches: who claims addresses, devices that come and go, and that the switch was changed.

Frames are heard on the devices themselves, before the switch has them. Of the switch two short questions are asked a few times
a second, on connections of its own: so a restart, deleted and added flows, and changed ports are seen within that time. Of flows
that were modified in place the switch tells by itself (a flow monitor).
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar, Final

from vipnet.errors import DataplaneError
from vipnet.sightings import Appeared, Changed, Eyes, Overrun, Sighting, Vanished
from vipnet_kernel.listening import Listener, sighting_of
from vipnet_kernel.multicast import LinkSeen, Multicast, OverrunError, links
from vipnet_kernel.namespaces import entered
from vipnet_ovs.database import Database, Reading
from vipnet_ovs.switch import State, Switch

__all__ = ["PLACE", "OvsEyes"]

PLACE: Final = "switch"
"""The one place in which anything of ours can change."""

_PAUSE: Final = 0.3
_REST: Final = 0.02
"""Seconds between two looks at frames: who sends thousands is heard all the same, and takes no more of us."""

_LINKS: Final = (1,)
"""Of rtnetlink: links."""

_ASKER: Final = b"\x02vnask"
"""As whom members are asked: a MAC that no port and no router has, so that the answer goes to nobody."""


class OvsEyes(Eyes):
    """Sees from the moment it is made until it is closed."""

    blind: ClassVar[bool] = False

    def __init__(self, host: str, database: Database, socket_path: Path, report: Callable[[Sighting], None]) -> None:
        """`database` is for the eyes alone, and closed with them."""
        self._report, self._database, self._switch = report, database, Switch(socket_path)
        self._known: tuple[Reading, State | None] | None = None
        self._looked_at = 0.0
        with ExitStack() as opening:
            opening.callback(database.close)
            opening.callback(self._switch.close)
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opening.callback(os.close, self._wake)
            with entered(host):
                self._frames = Listener()
                opening.callback(self._frames.close)
                self._routes = Multicast(socket.NETLINK_ROUTE, _LINKS)
                opening.callback(self._routes.close)
            self._names = {link.index: link.name for link in links(host)}
            self._poll = opening.enter_context(select.epoll())
            for source in (self._wake, self._frames, self._routes):
                self._poll.register(source, select.EPOLLIN)
            with suppress(DataplaneError):  # not there yet
                if database.read().bridge:
                    self._switch.modified()  # from now on
            self._sources = opening.pop_all()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="vipnet-eyes", daemon=True)
        self._thread.start()

    def ask(self, device: str, mac: str, ip: int) -> None:
        self._frames.ask(device, bytes.fromhex(mac.replace(":", "")), _ASKER, ip)

    def close(self) -> None:
        self._closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._sources.close()

    def _watch(self) -> None:
        while not self._closed:
            ready = {descriptor for descriptor, _ in self._poll.poll(_PAUSE)}
            for sighting in dict.fromkeys(self._told(ready)):  # of many alike one is enough
                self._report(sighting)

    def _told(self, ready: set[int]) -> Iterator[Sighting]:
        if self._frames.fileno() in ready:
            yield from map(sighting_of, self._frames.read())
            time.sleep(_REST)
        if self._routes.fileno() in ready:
            try:
                for where, notice in self._routes.read():
                    if where is None and isinstance(notice, LinkSeen):
                        yield from self._link(notice)
            except OverrunError:
                yield Overrun()
        if time.monotonic() - self._looked_at > _PAUSE:
            yield from self._looked()

    def _link(self, seen: LinkSeen) -> Iterator[Sighting]:
        before = self._names.pop(seen.index, None)
        if not seen.gone:
            self._names[seen.index] = seen.name
        if before is not None and (seen.gone or before != seen.name):
            yield Vanished(place=PLACE, device=before)
        if not seen.gone and before != seen.name:
            yield Appeared(place=PLACE, device=seen.name)
        yield Changed(place=PLACE)

    def _looked(self) -> Iterator[Sighting]:
        found: tuple[Reading, State | None] | None = None
        modified = False
        with suppress(DataplaneError):  # gone for a while: whatever comes back is news
            reading = self._database.read()
            modified = reading.bridge and self._switch.modified()
            found = reading, self._switch.looked() if reading.bridge else None
        if found != self._known or modified:
            yield Changed(place=PLACE, hidden=modified)
        self._known, self._looked_at = found, time.monotonic()
