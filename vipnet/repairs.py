"""When what was touched is looked at, and repaired: at once, but never in a circle. Pure; times are seconds of a steady clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

__all__ = ["ANYWHERE", "Cause", "Repairs"]

ANYWHERE = "*"
"""The place that stands for all of them."""

QUIET = 0.02
"""Seconds from the first sign to the look: what comes in one burst is one repair."""

CONTESTED_REPAIRS, CONTESTED_WINDOW = 5, 30.0
"""A place in which the same thing was repaired so often within so many seconds is contested."""

CONTESTED_PAUSE, MOST_PAUSE = 2.0, 60.0
"""Seconds before a contested place is repaired again, doubled each time; and the most that anything waits."""

MOST_KEYS = 1000
"""So many entries of a repair are remembered, to know them again."""

RETRY = 0.2
"""Seconds before a repair that failed is tried again, doubled each time."""


@dataclass(slots=True)
class Cause:
    """Why a place is to be looked at: who was seen there, and what came and went."""

    by: dict[str, None] = field(default_factory=dict[str, None])
    hidden: bool = False
    came: list[str] = field(default_factory=list[str])
    went: list[str] = field(default_factory=list[str])
    touched: bool = False


@dataclass(slots=True)
class _Place:
    cause: Cause | None = None
    due: float = 0.0
    not_before: float = 0.0
    repaired: deque[tuple[float, frozenset[str]]] = field(default_factory=deque[tuple[float, frozenset[str]]])
    pause: float = 0.0
    failures: int = 0


class Repairs:
    """Places that were touched, and when each has its turn."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def cause(self, name: str, now: float) -> Cause:
        """What is known of why a place is to be looked at; from now on it is."""
        place = self._places.setdefault(name, _Place())
        if place.cause is None:
            place.cause = Cause()
            place.due = max(now + QUIET, place.not_before)
        return place.cause

    def next(self) -> float | None:
        """When the next place has its turn, or a contested one has been left alone long enough."""
        times = [place.due for place in self._places.values() if place.cause is not None]
        times += [place.repaired[-1][0] + _rest(place) for place in self._places.values() if place.pause]
        return min(times, default=None)

    def take(self, now: float) -> dict[str, Cause]:
        """The places whose turn it is."""
        taken: dict[str, Cause] = {}
        for name, place in self._places.items():
            if place.cause is not None and place.due <= now:
                taken[name], place.cause = place.cause, None
        return taken

    def done(self, names: Iterable[str], now: float, repaired: Iterable[str]) -> list[str]:
        """These were looked at, and entries of these keys repaired; return those that have just become contested."""
        keys = frozenset(islice(repaired, MOST_KEYS))
        contested: list[str] = []
        for name in names:
            place = self._places.setdefault(name, _Place())
            place.failures = 0
            if keys and self._is_contested(place, now, keys):
                if not place.pause:
                    contested.append(name)
                place.pause = min(place.pause * 2 or CONTESTED_PAUSE, MOST_PAUSE)
                place.not_before = now + place.pause
                if place.cause is not None:
                    place.due = max(place.due, place.not_before)
        return contested

    def failed(self, causes: dict[str, Cause], now: float) -> None:
        """These could not be looked at or repaired: again, later."""
        for name, cause in causes.items():
            place = self._places.setdefault(name, _Place())
            place.not_before = now + min(RETRY * 2**place.failures, MOST_PAUSE)
            place.failures += 1
            place.cause, place.due = cause, place.not_before

    def rested(self, now: float) -> list[str]:
        """Contested places that have been left alone, which are so no more; places of which nothing is left are forgotten."""
        over = [name for name, place in self._places.items() if place.pause and place.repaired[-1][0] + _rest(place) <= now]
        for name in over:
            self._places[name].pause = 0.0
            self._places[name].repaired.clear()
        for name, place in list(self._places.items()):
            if place.cause is None and not place.pause and (not place.repaired or place.repaired[-1][0] + CONTESTED_WINDOW < now):
                del self._places[name]
        return over

    def _is_contested(self, place: _Place, now: float, keys: frozenset[str]) -> bool:
        place.repaired.append((now, keys))
        while place.repaired[0][0] < now - _rest(place):
            place.repaired.popleft()
        often = Counter(key for _, repaired in place.repaired for key in repaired).most_common(1)[0][1]
        return often >= CONTESTED_REPAIRS


def _rest(place: _Place) -> float:
    return CONTESTED_WINDOW + place.pause
