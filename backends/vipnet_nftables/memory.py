"""What the kernel looked like when we last left it: enough to notice that somebody else was there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import exists, number
from vipnet_kernel.netlink import links_fingerprint, ruleset_generation

__all__ = ["Memory", "Snapshot", "snapshot"]

Snapshot = dict[str, tuple[int, int, frozenset[tuple[int, bool, bytes, bytes, bytes]]]]
"""By name of the namespace: its number, its ruleset's generation, its links."""


class Memory:
    """Ruleset generations and links by namespace. Knows nothing at first, and after it was told that it cannot know."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: Snapshot | None = None

    def learn(self, seen: Snapshot | None) -> None:
        """Take this for what is there; None: not known."""
        self._seen = seen

    def holds(self, namespaces: Iterable[str] | None = None) -> bool:
        """Whether nothing differs from what is remembered, of some namespaces or of all."""
        if self._seen is None:
            return False
        asked = self._seen if namespaces is None else list(namespaces)
        return snapshot(asked) == {name: self._seen[name] for name in asked if name in self._seen}

    def stamp(self) -> str:
        """Name what is remembered: the namespaces, and a digest of what they look like; "" when nothing is."""
        return "" if self._seen is None else f"{_digest(self._seen)} {' '.join(sorted(self._seen))}"

    def adopt(self, stamp: str) -> bool:
        """Look at the namespaces of a stamp, and remember them if they still look as they did then."""
        digest, _, found = stamp.partition(" ")
        seen = snapshot(found.split(" ")) if digest else {}
        if not digest or _digest(seen) != digest:
            return False
        self._seen = seen
        return True

    def touched(self, namespaces: Iterable[str]) -> frozenset[str]:
        """Which of some namespaces are not as remembered, or not there and not remembered either."""
        asked = list(namespaces)
        if self._seen is None:
            return frozenset(asked)
        found = snapshot(asked)
        return frozenset(name for name in asked if name not in found or found[name] != self._seen.get(name))

    def take(self, asked: Iterable[str], found: Snapshot) -> None:
        """Remember of some namespaces what they looked like; those that are not in `found` are gone."""
        if self._seen is not None:
            self._seen = {**{name: seen for name, seen in self._seen.items() if name not in set(asked)}, **found}

    def renew(self, touched: Iterable[str], gone: Collection[str]) -> None:
        """Remember anew what some namespaces look like after a transaction of ours, and forget those that went.

        One transaction moves a generation by one. Further on, somebody else was there before we could look: nothing is known.
        """
        if self._seen is not None:
            kept = {name: seen for name, seen in self._seen.items() if name not in gone}
            found = snapshot(touched)
            alone = all(name not in kept or found[name][1] - kept[name][1] in (0, 1) for name in found)
            self._seen = {**kept, **found} if alone else None


def snapshot(namespaces: Iterable[str]) -> Snapshot:
    """Look at namespaces; those that do not exist, or cease to while we look, are left out."""
    return {name: look for name in namespaces if (look := _look(name)) is not None}


def _look(name: str) -> tuple[int, int, frozenset[tuple[int, bool, bytes, bytes, bytes]]] | None:
    if not exists(name):
        return None
    try:
        return number(name), ruleset_generation(name), links_fingerprint(name)
    except (DataplaneError, FileNotFoundError):
        if exists(name):
            raise
        return None


def _digest(seen: Snapshot) -> str:
    """A digest that no other boot, and no other namespaces of the same names, can have."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    rows = [(name, inode, generation, sorted(links)) for name, (inode, generation, links) in sorted(seen.items())]
    return hashlib.sha256(repr((boot, rows)).encode()).hexdigest()[:32]
