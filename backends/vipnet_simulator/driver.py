"""The simulator as a backend: entries in this process, or in a file that others may edit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vipnet.backend import Backend, BackendContext, check_options
from vipnet.evidence import Finding
from vipnet.intents import Intent
from vipnet.plan import TargetPlan
from vipnet_simulator import statefile
from vipnet_simulator.codec import decode, encode, key_of
from vipnet_simulator.compiler import compile_intents
from vipnet_simulator.entry import SimulatorEntry

__all__ = ["SimulatorBackend"]


class SimulatorBackend(Backend[SimulatorEntry]):
    """Holds entries. They are in the file of the option `state`, else in that of the context, else in this object.

    One at a time may write a file; the core's store sees to that. It has no counters: no packet passes it but those that a
    test asks about, and made-up numbers would pass for measured ones.
    """

    name = "simulator"
    capabilities = frozenset({"ipv4", "ipv6", "eip", "distgw", "classic", "limits"})
    notices_all = True

    def __init__(self, context: BackendContext) -> None:
        check_options(self.name, context.options, {"state": str})
        path = context.options.get("state") or context.state
        self._shelf: _Memory | _File = _Memory() if path is None else _File(Path(path))

    def compile(self, intents: Iterable[Intent]) -> dict[str, SimulatorEntry]:
        return compile_intents(intents)

    def read(self) -> dict[str, SimulatorEntry]:
        return dict(self._shelf.entries())

    def apply(self, step: TargetPlan[SimulatorEntry]) -> Mapping[str, str]:
        """Change what the step names; nothing is ever refused."""
        put = {entry.key: entry for entry in (*step.create, *(new for _, new in step.replace))}
        gone = {entry.key for entry in (*step.delete, *(old for old, _ in step.replace))} - put.keys()
        self._shelf.change(put, gone)
        return {}

    def evidence(self, entries: Sequence[SimulatorEntry]) -> Mapping[str, Finding]:
        """Look entries up by key."""
        there = self._shelf.find([entry.key for entry in entries])
        return {entry.key: _finding(entry, there.get(entry.key)) for entry in entries}

    def counts(self) -> dict[str, int]:
        return self._shelf.counts()

    def changed(self) -> bool:
        return self._shelf.changed()

    def stamp(self) -> str:
        return self._shelf.stamp()

    def adopt(self, stamp: str) -> bool:
        return self._shelf.adopt(stamp)


def _finding(entry: SimulatorEntry, there: SimulatorEntry | None) -> Finding:
    if there is None:
        return Finding("missing")
    return Finding("installed") if there == entry else Finding("different", there.text)


class _Memory:
    """Entries of this process."""

    def __init__(self) -> None:
        self._entries: dict[str, SimulatorEntry] = {}

    def entries(self) -> Mapping[str, SimulatorEntry]:
        return self._entries

    def find(self, keys: Iterable[str]) -> Mapping[str, SimulatorEntry]:
        return {key: self._entries[key] for key in keys if key in self._entries}

    def change(self, put: Mapping[str, SimulatorEntry], gone: Iterable[str]) -> None:
        for key in gone:
            self._entries.pop(key, None)
        self._entries.update(put)

    def counts(self) -> dict[str, int]:
        return dict(Counter(entry.target for entry in self._entries.values()))

    def changed(self) -> bool:
        return False

    def stamp(self) -> str:
        return ""

    def adopt(self, stamp: str) -> bool:  # noqa: ARG002 -- nobody else is here
        return False


class _File:
    """Entries in a file; what was read last is kept, for as long as the file is still that one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: statefile.Identity | None = None
        self._known = False  # whether what was seen is from an apply or a read, or adopted
        self._entries: dict[str, SimulatorEntry] | None = None

    def entries(self) -> Mapping[str, SimulatorEntry]:
        if self._entries is None or self.changed():
            self._seen, entries = statefile.load(self._path, decode)
            self._entries, self._known = {entry.key: entry for entry in entries}, True
        return self._entries

    def find(self, keys: Iterable[str]) -> Mapping[str, SimulatorEntry]:
        found = statefile.found(self._path, map(key_of, keys), decode)
        return {entry.key: entry for entry in found}

    def change(self, put: Mapping[str, SimulatorEntry], gone: Iterable[str]) -> None:
        self._entries = None
        rows = ((*encode(entry), entry.target) for entry in put.values())
        before, after = statefile.change(self._path, rows, map(key_of, gone))
        # What somebody else did just before stays, and must not pass for known; an empty file is as good as none.
        self._known &= after is not None and (before == self._seen or (self._seen is None and before.size == 0))
        self._seen = after

    def counts(self) -> dict[str, int]:
        return statefile.counts(self._path)

    def changed(self) -> bool:
        return not self._known or statefile.identity(self._path) != self._seen

    def stamp(self) -> str:
        return repr(self._seen) if self._known else ""

    def adopt(self, stamp: str) -> bool:
        seen = statefile.identity(self._path)
        if repr(seen) != stamp:
            return False
        if seen != self._seen:
            self._entries = None
        self._seen, self._known = seen, True
        return True
