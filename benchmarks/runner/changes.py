"""What happens to EIPs that are there, whatever the data plane: one more, one less, one moved; many of these; some lost."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Any, Final, Literal, TypeVar, assert_never

from runner.scenes import InScene, Programmed
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan, diff

__all__ = ["Change", "Changing", "Churning", "Drifting", "What", "drawn", "timed", "what_of"]

S = TypeVar("S", bound=Programmed)

What = Literal["more", "less", "moved"]
_WHATS: Final[tuple[What, ...]] = ("more", "less", "moved")
_MOST: Final = 1_000
"""Changes in a row; where fewer EIPs are, as many as they are."""

_LOST: Final = 100
"""One of so many EIPs is lost."""


@dataclass(frozen=True, slots=True)
class Change:
    """EIPs that a change is about: as they are, and as they are to be."""

    before: tuple[EipMapping, ...]
    after: tuple[EipMapping, ...]

    @property
    def undone(self) -> Change:
        """What takes it back."""
        return Change(self.after, self.before)

    def steps(self, scene: Programmed) -> list[TargetPlan[Any]]:
        """What is to be done for it in a scene."""
        return scene.steps(*map(scene.backend.compile, (self.before, self.after)))

    def carry_out(self, scene: Programmed) -> None:
        """Make it in a scene."""
        scene.carry_out(self.steps(scene))


def what_of(options: Mapping[str, str]) -> What:
    """Read the option `what`; one more, if it is not there. Raises ValueError."""
    word = options.get("what", "more")
    match word:
        case "more" | "less" | "moved":
            return word
        case _:
            raise ValueError(f"option what is {word!r}; it takes: {', '.join(_WHATS)}")


def drawn(scene: Programmed, what: What, *, among: int, most: int, seed: int) -> list[Change]:
    """Changes, each of which is for a scene with so many EIPs: seeded, of other EIPs each, none of which has a meter of ovs."""
    there = range(1, among, 10)
    old = [1] * most if what == "more" else Random(seed).sample(there, min(most, len(there)))  # of one more it is no matter
    return [_changed(what, scene, scene.mapped(number), among + 10 * place + 1) for place, number in enumerate(old)]


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _changed(what: What, scene: Programmed, old: EipMapping, new: int) -> Change:
    """A change of an EIP that is there, or of one, or to a VIP, whose number nobody has."""
    match what:
        case "more":
            return Change((), (scene.mapped(new),))
        case "less":
            return Change((old,), ())
        case "moved":
            return Change((old,), (replace(old, vip=scene.mapped(new).vip),))
        case _:
            assert_never(what)


class Changing(InScene[S]):
    """vipnet: one EIP more, less or moved (option `what`), then that is undone; from the plan to the acknowledgement."""

    most = 25
    """Changes a round."""

    def changes(self) -> list[Change]:
        """Those of a round."""
        return drawn(self.scene, what_of(self.options), among=self.scale, most=self.most, seed=self.seed)

    def once(self) -> Sequence[float]:
        return list(map(self.made, self.changes()))

    def made(self, change: Change) -> float:
        """Make a change, and undo it; the seconds of the first."""
        steps = change.steps(self.scene)
        took = timed(lambda: self.scene.carry_out(steps))
        change.undone.carry_out(self.scene)
        return took


class _Population:
    """EIPs that come, go and move at random, a scene's `scale` at first."""

    def __init__(self, scene: Programmed, scale: int, chance: Random) -> None:
        self._scene, self._chance = scene, chance
        self.there = [scene.mapped(number) for number in range(scale)]
        self._unused = count(scale)

    def changes(self, most: int) -> Iterator[Change]:
        """So many, one after the other; each is made as it is given."""
        return (self._next() for _ in range(most))

    def _next(self) -> Change:
        what: What = self._chance.choice(_WHATS) if len(self.there) > 1 else "more"
        place = self._chance.randrange(len(self.there))
        change = _changed(what, self._scene, self.there[place], next(self._unused))
        self.there[place] = self.there[-1]
        del self.there[-1:]
        self.there += change.after
        return change


class Churning(InScene[S]):
    """vipnet: a row of random changes, one by one or in one transaction (option `together`); the mean time of one.

    From intents to the acknowledgement. What was changed stays so: the next round goes on from there.
    """

    _population: _Population | None = None

    def once(self) -> Sequence[float]:
        if self._population is None:
            self._population = _Population(self.scene, self.scale, Random(self.seed))
        before = {one.id: one for one in self._population.there}
        changes = list(self._population.changes(min(_MOST, self.scale)))
        if self.options["together"] == "yes":
            changes = [_summed(before, changes)]
        begun = time.perf_counter()
        for change in changes:
            change.carry_out(self.scene)
        return [(time.perf_counter() - begun) / min(_MOST, self.scale)]

    @property
    def expected(self) -> int:
        """EIPs that are there."""
        return len(self._population.there) if self._population is not None else self.scale


def _summed(before: Mapping[str, EipMapping], changes: Sequence[Change]) -> Change:
    """Changes in a row, as one."""
    after: dict[str, EipMapping | None] = {}
    for change in changes:
        after |= {one.id: None for one in change.before}
        after |= {one.id: one for one in change.after}
    was = tuple(before[id] for id in after if id in before)
    return Change(was, tuple(one for one in after.values() if one is not None))


class Drifting(InScene[S]):
    """vipnet: an EIP of a hundred was removed behind its back; all is read back and repaired until it is whole."""

    _desired: Mapping[str, Any] | None = None

    @abstractmethod
    def lose(self, mappings: Sequence[EipMapping]) -> None:
        """Remove what EIPs are in the data plane, by its own means."""

    def once(self) -> Sequence[float]:
        desired, lost = self.desired, max(1, self.scale // _LOST)
        self.lose([self.scene.mapped(number) for number in Random(self.seed).sample(range(self.scale), lost)])
        begun = time.perf_counter()
        plan = diff(self.scene.backend.audit(desired), desired)
        self.scene.carry_out(list(self.scene.backend.steps(plan)))
        took = time.perf_counter() - begun
        assert len(plan) >= lost, f"{lost} EIPs were removed, and only {len(plan)} entries are missed"
        return [took]

    @property
    def desired(self) -> Mapping[str, Any]:
        """All entries that are to be there."""
        if self._desired is None:
            all_of_them = map(self.scene.mapped, range(self.scale))
            self._desired = {**self.scene.base, **self.scene.backend.compile(all_of_them)}
        return self._desired

    def whole(self) -> str:
        """Read everything back. Raises AssertionError where something is missing."""
        plan = diff(self.scene.backend.audit(self.desired), self.desired)
        assert not plan, str(plan)[:300]
        return "whole"
