"""What was measured, as JSON lines: the machine first, then one line a round of a contestant."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

__all__ = [
    "COMPLETE",
    "VERSION",
    "Absence",
    "Key",
    "Moment",
    "Record",
    "Series",
    "environment",
    "is_complete",
    "read",
    "series_of",
    "undisturbed",
]

VERSION: Final = 2
"""Of the form of the lines."""

COMPLETE: Final = json.dumps({"kind": "complete"})
"""The last line of a run that has come to its end."""

_VERSIONS: Final = {
    "nft": ["nft", "--version"],
    "iptables": ["iptables", "--version"],
    "ovs": ["ovs-vswitchd", "--version"],
    "keepalived": ["keepalived", "--version"],
    "nginx": ["nginx", "-v"],
}

_PACKAGES: Final = ("pyroute2", "pip-nftables", "os-ken", "python-iptables", "netaddr")


def undisturbed(samples: Iterable[float]) -> float:
    """The lower quartile: what the work takes where nothing else has the machine at the same time."""
    ordered = sorted(samples)
    return ordered[(len(ordered) - 1) // 4]


Moment = tuple[float, str]
"""Seconds, and who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose round it is."""

    scenario: str
    scale: int
    contestant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One round: seconds of each unit of work (`cpu`: CPU seconds), or bytes, and the seconds of the loop before it.

    `timeline`: who answered, and when, in seconds from what was done to them; "": there was no answer.
    """

    key: Key
    round: int
    samples: tuple[float, ...]
    loop: float
    cpu: bool
    peak_mb: float | None = None
    checked: str = ""
    timeline: tuple[Moment, ...] = ()

    def line(self) -> str:
        """As it is written."""
        fields = {**asdict(self.key), **asdict(self)}
        del fields["key"]
        if not self.timeline:
            del fields["timeline"]
        return json.dumps({"kind": "round", **fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Who took no part, and why."""

    key: Key
    reason: str

    def line(self) -> str:
        """As it is written."""
        return json.dumps({"kind": "absent", **asdict(self.key), "reason": self.reason})


@dataclass(frozen=True, slots=True)
class Series:
    """All rounds of one contestant of a scenario at a scale."""

    key: Key
    rounds: tuple[Record, ...]

    @property
    def medians(self) -> list[float]:
        """The median of each round, in seconds."""
        return [median(one.samples) for one in self.rounds]

    @property
    def samples(self) -> list[float]:
        """All samples, in order of size."""
        return sorted(sample for one in self.rounds for sample in one.samples)

    @property
    def peak_mb(self) -> float | None:
        """The peak of memory of its process."""
        return max((one.peak_mb for one in self.rounds if one.peak_mb is not None), default=None)


def read(path: Path) -> tuple[dict[str, Any], list[Record], list[Absence]]:
    """Read a file of records. Raises ValueError for a line that is none, naming file and line."""
    machine: dict[str, Any] = {}
    records: list[Record] = []
    absences: list[Absence] = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # somebody was killed in the middle of writing
                break
            raise ValueError(f"{path}:{number} is no line of JSON: {error}") from error
        try:
            kind = fields.pop("kind")
            if kind == "machine":
                machine = _machine(fields)
            elif kind == "round":
                records.append(_record(fields))
            elif kind == "absent":
                absences.append(Absence(key=_key(fields), reason=fields["reason"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number} is no record of a benchmark: {error!r}") from error
    return machine, records, absences


def is_complete(path: Path) -> bool:
    """Whether a file is of a run that has come to its end."""
    return path.read_text().endswith(COMPLETE + "\n")


def _machine(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["version"] != VERSION:
        raise ValueError(f"records of version {fields['version']}; this reads version {VERSION}")
    return fields


def _record(fields: dict[str, Any]) -> Record:
    key, samples = _key(fields), tuple(fields.pop("samples"))
    timeline = tuple((float(seconds), str(who)) for seconds, who in fields.pop("timeline", ()))
    return Record(key=key, samples=samples, timeline=timeline, **fields)


def _key(fields: dict[str, Any]) -> Key:
    return Key(scenario=fields.pop("scenario"), scale=fields.pop("scale"), contestant=fields.pop("contestant"))


def series_of(records: Iterable[Record]) -> Mapping[Key, Series]:
    """Put rounds together."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        found[record.key].append(record)
    return {key: Series(key, tuple(rounds)) for key, rounds in found.items()}


def environment() -> str:
    """The line that says what machine this is."""
    facts = {
        "kind": "machine",
        "version": VERSION,
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load": os.getloadavg()[0],
        "tools": dict(_tools()),
    }
    return json.dumps(facts)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _tools() -> Iterator[tuple[str, str]]:
    for name, words in _VERSIONS.items():
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            continue
        yield name, (done.stdout or done.stderr).splitlines()[0].strip()
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)
