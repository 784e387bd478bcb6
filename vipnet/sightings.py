"""What a backend that watches tells the core: sightings, in words of no particular data plane.

A backend says that something of its own may have changed, and what it saw of addresses on ports. It decides nothing: the core
compares, repairs and reports (`vipnet.watch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Advertised", "Announced", "Answered", "Appeared", "Changed", "Eyes", "Overrun", "Sighting", "Vanished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something was changed in `place`, a word of the backend's that `Backend.recheck` understands; `by` whom, "": unknown.

    `hidden`: `Backend.changed` does not notice such a change, so that it must be compared in any case.
    """

    place: str
    by: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Appeared:
    """An interface is there now, which may be a port; `place` is where it belongs."""

    place: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """An interface is there no more."""

    place: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Who is behind a port said unasked that it has an address: gratuitous ARP of either form, or an unsolicited NA."""

    device: str
    mac: str
    ip: int
    version: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertised:
    """Who is behind a port sent a VRRP advertisement for addresses; the next is due after `interval` seconds.

    `priority` 0: it gives them up (RFC 5798, 5.2.4).
    """

    device: str
    mac: str
    ips: tuple[int, ...]
    interval: float
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who is behind a port answers for an address; the backend asked it, see `Eyes.ask`."""

    device: str
    mac: str
    ip: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """More happened than could be taken in: anything may have changed."""


Sighting = Changed | Appeared | Vanished | Announced | Advertised | Answered | Overrun


class Eyes:
    """A backend's part of a watch, while it lasts. This one sees nothing, and the core asks `Backend.changed` at an interval."""

    blind: ClassVar[bool] = True

    def ask(self, device: str, mac: str, ip: int) -> None:
        """Ask who is behind a port, by its MAC, whether it has an address, so that no neighbour table notices.

        Answers are reported as `Answered`. A port that is not there is not asked. Any thread may call it.
        """

    def close(self) -> None:
        """See no more. Nothing is reported after it has returned."""
