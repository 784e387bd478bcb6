"""A change in the making: the snapshot it starts from, what was put and removed, and what the operations need of the world."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from vipnet.config import Config
from vipnet.model import Thing
from vipnet.topology import KINDS, Topology

__all__ = ["Change", "Draft", "Progress", "World"]


class Progress(Protocol):
    """Told what is under way, in words for people, and how far it is: `done` of `total`, 0: not known. Must not raise."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


def _nobody_listens(_stage: str, _done: int = 0, _total: int = 0, /) -> None: ...

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an operation takes from outside, injectable: time in seconds of the epoch, chance, new ids; and whom it tells."""

    clock: Callable[[], float] = time.time
    random: Callable[[int], int] = random.SystemRandom().randrange
    new_id: Callable[[], str] = lambda: _uuid4(os.urandom(16))
    progress: Progress = _nobody_listens


def _uuid4(noise: bytes) -> str:
    """A random UUID (RFC 9562, 5.4) as text; uuid.uuid4 takes three times as long, and every object needs one."""
    digits = f"{int.from_bytes(noise) & ~(0xF000C << 60) | (0x40008 << 60):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


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
    # Only what was there before; what is there now, the topology knows. In a transaction of a million verbs every object
    # kept here is one more that Python's garbage collector walks over, again and again.
    _before: dict[type[Thing], dict[str, Thing | None]] = field(init=False)
    _first: list[tuple[dict[str, Thing | None], str]] = field(init=False)

    def __post_init__(self) -> None:
        self.topology = self.base
        self._before = {kind: {} for kind in KINDS}
        self._first = []

    def put(self, thing: Thing) -> None:
        """Add an object, or replace the one of its id."""
        self._change(self.topology.present(thing), thing)

    def remove(self, thing: Thing) -> None:
        """Remove an object that is there."""
        self._change(thing, None)

    def _change(self, old: Thing | None, new: Thing | None) -> None:
        thing = old if new is None else new
        assert thing is not None
        before, id = self._before[type(thing)], thing.id
        if id not in before:
            before[id] = old
            self._first.append((before, id))
        self.topology = self.topology.change(old, new)

    def attempt(self, operation: Callable[[Draft], R]) -> R:
        """Run an operation on this draft; if it raises, what it did so far is taken back."""
        topology, warned, aside, self._first = self.topology, len(self.warnings), self.sets_aside, []
        try:
            return operation(self)
        except BaseException:
            self.topology, self.sets_aside = topology, aside
            del self.warnings[warned:]
            for before, id in self._first:
                del before[id]
            raise

    @property
    def changes(self) -> list[Change]:
        """What differs from the base, one entry an object: what goes, referring kinds first, and then what is new or changed."""
        gone: list[Change] = []
        come: list[Change] = []
        for kind, before in self._before.items():
            for id, old in before.items():
                new = self.topology.get(kind, id)
                if new is not None and new != old:
                    come.append(Change(old, new))
                elif new is None and old is not None:
                    gone.append(Change(old, None))
        return [*reversed(gone), *come]
