"""A change in the making: the snapshot it starts from, what was put and removed, and what the operations need of the world."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from vipnet.config import Config
from vipnet.model import Thing
from vipnet.topology import Topology

__all__ = ["Change", "Draft", "World"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an operation takes from outside, injectable: time in seconds of the epoch, chance, new ids."""

    clock: Callable[[], float] = time.time
    random: Callable[[int], int] = random.SystemRandom().randrange
    new_id: Callable[[], str] = lambda: _uuid4(os.urandom(16))


def _uuid4(noise: bytes) -> str:
    """A random UUID (RFC 9562, 5.4) as text; uuid.uuid4 takes three times as long, and every object needs one."""
    digits = f"{int.from_bytes(noise) & ~(0xF000C << 60) | (0x40008 << 60):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None: it did not or does not exist."""

    before: Thing | None
    after: Thing | None


_Key = tuple[type[Thing], str]


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
    _changes: dict[_Key, Change] = field(default_factory=dict[_Key, Change])
    _undo: dict[_Key, Change | None] = field(default_factory=dict[_Key, Change | None])

    def __post_init__(self) -> None:
        self.topology = self.base

    def put(self, thing: Thing) -> None:
        """Add an object, or replace the one of its id."""
        self._change(self.topology.present(thing), thing)

    def remove(self, thing: Thing) -> None:
        """Remove an object that is there."""
        self._change(thing, None)

    def _change(self, old: Thing | None, new: Thing | None) -> None:
        thing = old if new is None else new
        assert thing is not None
        key = (type(thing), thing.id)
        earlier = self._changes.get(key)
        self._undo.setdefault(key, earlier)
        self._changes[key] = Change(old if earlier is None else earlier.before, new)
        self.topology = self.topology.change(old, new)

    def attempt(self, operation: Callable[[Draft], R]) -> R:
        """Run an operation on this draft; if it raises, what it did so far is taken back."""
        topology, warned, aside, self._undo = self.topology, len(self.warnings), self.sets_aside, {}
        try:
            return operation(self)
        except BaseException:
            self.topology, self.sets_aside = topology, aside
            del self.warnings[warned:]
            for key, earlier in self._undo.items():
                if earlier is None:
                    del self._changes[key]
                else:
                    self._changes[key] = earlier
            raise

    @property
    def changes(self) -> list[Change]:
        """What differs from the base, one entry an object, in the order of first touch."""
        return [change for change in self._changes.values() if change.before != change.after]
