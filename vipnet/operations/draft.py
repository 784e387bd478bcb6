"""A change in the making: the snapshot it starts from, what was put and removed, and what the operations need of the world."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vipnet.config import Config
from vipnet.model import Thing
from vipnet.topology import Snapshot
from vipnet.working import Workspace

__all__ = ["Draft", "Progress", "World"]


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
    digits = noise.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[noise[8] & 3]}{digits[17:20]}-{digits[20:]}"


class Draft:
    """A workspace over a snapshot, which itself never changes: dropping the draft is the rollback.

    `sets_aside`: what the data plane refuses of it is set aside, as in a resync, instead of taking everything back.
    """

    __slots__ = ("base", "config", "sets_aside", "topology", "warnings", "world")

    def __init__(self, base: Snapshot, config: Config, world: World) -> None:
        self.base, self.config, self.world = base, config, world
        self.topology = Workspace(base)
        self.warnings: list[str] = []
        self.sets_aside = False

    def put(self, thing: Thing) -> None:
        """Add an object, or replace the one of its id."""
        self.topology.put(thing)

    def remove(self, thing: Thing) -> None:
        """Remove an object that is there."""
        self.topology.remove(thing)

    def attempt(self, operation: Callable[[Draft], R]) -> R:
        """Run an operation on this draft; if it raises, what it did so far is taken back."""
        warned, aside = len(self.warnings), self.sets_aside
        self.topology.keep()
        try:
            return operation(self)
        except BaseException:
            self.topology.undo()
            self.sets_aside = aside
            del self.warnings[warned:]
            raise
