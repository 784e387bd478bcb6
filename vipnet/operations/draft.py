"""A change in the making: the snapshot it starts from, what was put and removed, and what the operations need of the world."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vipnet.config import Config
from vipnet.model import Thing
from vipnet.topology import Topology

__all__ = ["Change", "Draft", "Progress", "World"]


class Progress(Protocol):
    """Told what is under way, in words for people, and how far it is: `done` of `total`, 0: not known. Must not raise."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


def _nobody_listens(_stage: str, _done: int = 0, _total: int = 0, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an operation takes from outside, injectable: time in seconds of the epoch, chance, new ids; and whom it tells."""

    clock: Callable[[], float] = time.time
    random: Callable[[int], int] = random.SystemRandom().randrange
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    progress: Progress = _nobody_listens


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None: it did not or does not exist."""

    before: Thing | None
    after: Thing | None


@dataclass(slots=True)
class Draft:
    """Collects changes on top of a snapshot, which itself never changes: dropping the draft is the rollback.

    `sets_aside`: what the data plane refuses of it is set aside, as in a resync, instead of taking everything back.
    """

    base: Topology
    config: Config
    world: World
    topology: Topology = field(init=False)
    warnings: list[str] = field(default_factory=list[str])
    sets_aside: bool = False
    _changes: dict[tuple[type[Thing], str], Change] = field(default_factory=dict[tuple[type[Thing], str], Change])

    def __post_init__(self) -> None:
        self.topology = self.base

    def put(self, thing: Thing) -> None:
        """Add an object, or replace the one of its id."""
        key = (type(thing), thing.id)
        before = self._changes[key].before if key in self._changes else self.base.get(type(thing), thing.id)
        self._changes[key] = Change(before, thing)
        self.topology = self.topology.put(thing)

    def remove(self, thing: Thing) -> None:
        """Remove an object."""
        key = (type(thing), thing.id)
        before = self._changes[key].before if key in self._changes else thing
        self._changes[key] = Change(before, None)
        self.topology = self.topology.remove(thing)

    def take_over(self, later: Draft) -> None:
        """Take what a draft on top of this one has done."""
        for key, change in later._changes.items():
            before = self._changes[key].before if key in self._changes else change.before
            self._changes[key] = Change(before, change.after)
        self.topology = later.topology
        self.warnings += later.warnings
        self.sets_aside = self.sets_aside or later.sets_aside

    @property
    def changes(self) -> list[Change]:
        """What differs from the base, one entry an object, in the order of first touch."""
        return [change for change in self._changes.values() if change.before != change.after]
