"""What is measured, as data: scenarios, who takes part in them, and how much of them a profile does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

__all__ = ["PROFILES", "UNITS", "Contestant", "Profile", "Scenario", "Share", "Unit"]

Unit = Literal["us", "ms", "s", "B", "KB", "MB"]
UNITS: Final[Mapping[Unit, float]] = {"us": 1e6, "ms": 1e3, "s": 1.0, "B": 1.0, "KB": 1e-3, "MB": 1e-6}
"""What samples are multiplied by: seconds, or bytes."""

Profile = Literal["quick", "full"]
PROFILES: Final[tuple[Profile, ...]] = ("quick", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who does the work of a scenario: `worker` is "module:class", a `runner.worker.Worker`.

    `most` is the largest scale that it does, `quick` that of the quick profile if it is another one.

    `programs` and `modules` are what must be installed for it, `environment` is a virtual environment below build/ that it needs;
    if they are not there, it is named as missing. `cannot`: why it does not do this work at all, though one would expect it here.
    """

    name: str
    worker: str
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    environment: str = ""
    most: int | None = None
    quick: int | None = None
    cannot: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def within(self, profile: Profile) -> Contestant:
        """Itself, as it takes part in a profile."""
        return self if profile == "full" or self.quick is None else replace(self, most=self.quick)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a scenario a profile does: at which scales, in how many rounds."""

    scales: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The same work, done by several at the same scales, by turns.

    `group` is the data plane, or "pure" for code that asks none: of that CPU time is judged. `reference` is the contestant that
    others are divided by when two runs are compared, "": the loop that every process runs; bytes are compared as they are.
    `goal`: the most that vipnet is to take of a contestant's time, by its name.
    """

    name: str
    group: str
    about: str
    unit: Unit
    per: str
    contestants: tuple[Contestant, ...]
    shares: Mapping[Profile, Share]
    reference: str = ""
    goals: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def is_size(self) -> bool:
        """Whether samples are bytes, which no machine makes more or less of."""
        return self.unit in ("B", "KB", "MB")

    @property
    def id(self) -> str:
        """What it is called in records and on the command line."""
        return f"{self.group}.{self.name}"
