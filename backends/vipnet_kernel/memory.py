"""What the kernel looked like when we last left it: enough to notice that somebody else was there."""

from __future__ import annotations

import functools
import hashlib
import socket
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from vipnet.errors import DataplaneError
from vipnet_kernel.ears import Ears, Heard, Ours
from vipnet_kernel.namespaces import exists, number
from vipnet_kernel.netlink import NETFILTER, links_fingerprint, ruleset_generation
from vipnet_kernel.sockets import Sockets

__all__ = ["Look", "Memory", "Snapshot"]

_LOOKS: Final = 3
"""So often everything is looked at before it is worth while to listen: a process that lives for one command never is."""

_DIGEST: Final = 1 << 128


class Look(NamedTuple):
    """A namespace: its number, its ruleset's generation, its links as `links_fingerprint` has them."""

    number: int
    generation: int
    links: frozenset[tuple[int, bool, bytes, bytes, bytes]]


Snapshot = dict[str, Look]
"""Looks at namespaces by their names."""


class _Sum(NamedTuple):
    """What a look adds to the digest; `around` is the part of it that has to do with links, of which there may be many."""

    look: Look
    around: bytes
    digest: int


class Memory:
    """Looks at namespaces. Knows nothing at first, and after it was told that it cannot know.

    It listens after a while, and then looks again only where something was heard of: what a verb costs does not follow from how
    many namespaces and interfaces there are. `is_sure`: whether nobody but us can have changed our tables in a namespace.
    """

    __slots__ = (
        "_digest",
        "_doubted",
        "_ears",
        "_host",
        "_is_sure",
        "_looks",
        "_moved",
        "_names",
        "_ours",
        "_seen",
        "_sockets",
        "_summed",
    )

    def __init__(self, sockets: Sockets, host: str, is_sure: Callable[[str], bool], ours: Ours) -> None:
        self._ours = ours
        self._sockets = sockets
        self._is_sure = is_sure
        self._host = host
        self._seen: Snapshot | None = None
        self._doubted: dict[str, Heard] = {}
        self._ears: Ears | None = None
        self._looks = 0
        self._digest = 0
        self._summed: dict[str, _Sum] = {}
        self._moved: set[str] = set()
        self._names = ""

    def snapshot(self, namespaces: Iterable[str]) -> Snapshot:
        """Look at namespaces; those that do not exist, or cease to while we look, are left out."""
        return {name: look for name in namespaces if (look := self._look(name)) is not None}

    def learn(self, seen: Snapshot | None) -> None:
        """Take this for what is there; None: not known."""
        self._seen = None if seen is None else dict(seen)
        self._doubted = {}
        self._digest, self._summed, self._moved = 0, {}, set(seen or ())
        self._names = "" if seen is None else " ".join(sorted(seen))
        if self._ears is not None:
            self._ears.meet(seen or ())

    def holds(self, namespaces: Iterable[str] | None = None) -> bool:
        """Whether nothing differs from what is remembered, of some namespaces or of all."""
        if self._seen is None:
            return False
        asked = list(self._seen if namespaces is None else namespaces)
        return not self._differing(asked)

    def stamp(self) -> str:
        """Name what is remembered: the namespaces, and a digest of what they look like; "" when nothing is."""
        if self._seen is None:
            return ""
        for name in self._moved:
            self._sum(name, self._seen.get(name))
        self._moved = set()
        return f"{self._digest:032x} {self._names}"

    def adopt(self, stamp: str) -> bool:
        """Look at the namespaces of a stamp, and remember them if they still look as they did then."""
        digest, _, found = stamp.partition(" ")
        if not digest:
            return False
        before = self._seen
        self.learn(self.snapshot(found.split(" ")))
        if self.stamp() == stamp:
            return True
        self.learn(before)
        return False

    def touched(self, namespaces: Iterable[str]) -> frozenset[str]:
        """Which of some namespaces are not as remembered, or not there and not remembered either."""
        asked = list(namespaces)
        if self._seen is None:
            return frozenset(asked)
        return frozenset(self._differing(asked)) | {name for name in asked if name not in self._seen}

    def take(self, asked: Iterable[str], found: Snapshot) -> None:
        """Remember of some namespaces what they looked like; those that are not in `found` are gone."""
        if self._seen is not None:
            for name in asked:
                self._put(name, found.get(name))

    def renew(self, touched: Iterable[str], gone: Collection[str]) -> None:
        """Remember anew what some namespaces look like after their links were changed by us, and forget those that went."""
        if self._seen is not None:
            for name in gone:
                self._put(name, None)
            for name, look in self.snapshot(touched).items():
                self._move(name, look)

    def committed(self, namespace: str, generation: int | None) -> None:
        """Remember the generation of a namespace's ruleset after a transaction of ours; None: look. Raises DataplaneError."""
        known = None if self._seen is None else self._seen.get(namespace)
        if known is None or generation is None:
            self.renew([namespace], ())
        else:
            self._move(namespace, known._replace(generation=generation))

    def _move(self, name: str, look: Look) -> None:
        """One transaction moves a generation by one; further on, others were there: in our tables, too, and nothing is known."""
        known = None if self._seen is None else self._seen.get(name)
        moved = known is not None and look.generation - known.generation not in (0, 1)
        if moved and not self._is_sure(name) and not self._was_alone(name):
            self.learn(None)
        elif self._seen is not None and look != known:
            self._put(name, look)

    def _was_alone(self, name: str) -> bool:
        """Whether of all that was committed in a namespace since it was looked at, one transaction alone touched our tables."""
        doubted = self._listen()
        heard = None if doubted is None else doubted.get(name)
        return heard is not None and heard.ours == 1 and heard.is_ruleset

    def close(self) -> None:
        """Listen no more."""
        if self._ears is not None:
            self._ears.close()
            self._ears = None

    # ------------------------------------------------------------------------------------------------- within

    def _differing(self, asked: Collection[str]) -> list[str]:
        """Those of some namespaces that are not as remembered; what only others' tables did to a ruleset is remembered."""
        assert self._seen is not None
        doubted = self._listen()
        if doubted is not None:
            asked = [name for name in asked if name in doubted or name not in self._seen]
        return [name for name in asked if not self._is_as_remembered(name, None if doubted is None else doubted.get(name))]

    def _is_as_remembered(self, name: str, heard: Heard | None) -> bool:
        assert self._seen is not None
        known, look = self._seen.get(name), self._look(name)
        foreign = (heard is not None and heard.is_foreign) or self._is_sure(name)
        if known is not None and look is not None and foreign and look[::2] == known[::2]:
            self._put(name, look)
            return True
        if known == look:
            self._doubted.pop(name, None)
        return known == look

    def _listen(self) -> dict[str, Heard] | None:
        """What was heard of namespaces that have not been looked at since; None: they all are to be looked at."""
        assert self._seen is not None
        if self._ears is None:
            self._looks += 1
            if self._looks < _LOOKS:
                return None
            with suppress(DataplaneError):
                self._ears = Ears(self._host, self._ours)
                self._ears.meet(self._seen)
                self._doubted = {name: Heard() for name in self._seen}  # of what was before nothing was heard
            return None
        news = self._ears.read(self._seen)
        if news is None:
            self._ears.meet(self._seen)
            self._doubted = {name: Heard() for name in self._seen}
        else:
            for name, heard in news.items():
                self._doubted[name] = self._doubted[name] | heard if name in self._doubted else heard
        return self._doubted

    def _put(self, name: str, look: Look | None) -> None:
        """Remember one namespace; None: it is gone."""
        assert self._seen is not None
        known = self._seen.pop(name, None)
        self._doubted.pop(name, None)
        self._moved.add(name)
        if look is not None:
            self._seen[name] = look
        if (known is None) != (look is None):
            self._names = " ".join(sorted(self._seen))
            if look is not None and self._ears is not None:
                self._ears.meet([name])

    def _sum(self, name: str, look: Look | None) -> None:
        """Let the digest say what a namespace looks like now."""
        old = self._summed.pop(name, None)
        if look is not None:
            kept = old is not None and (old.look.number, old.look.links) == (look.number, look.links)
            around = old.around if old is not None and kept else _around(name, look)
            digest = hashlib.sha256(b"%b %d" % (around, look.generation)).digest()
            self._summed[name] = _Sum(look, around, int.from_bytes(digest[:16], "big"))
        new = self._summed[name].digest if look is not None else 0
        self._digest = (self._digest - (0 if old is None else old.digest) + new) % _DIGEST

    def _look(self, name: str) -> Look | None:
        """What a namespace looks like; None: there is none, or none any more. Raises DataplaneError."""
        try:
            with self._sockets.lent(name, NETFILTER) as link:
                generation = ruleset_generation(link)
            with self._sockets.lent(name, socket.NETLINK_ROUTE) as link:
                return Look(number(name), generation, links_fingerprint(link))
        except (OSError, DataplaneError) as error:
            if not exists(name):
                return None
            if isinstance(error, DataplaneError):
                raise
            raise DataplaneError(f"namespace {name or 'of this process'} cannot be looked at: {error.strerror}") from error


def _around(name: str, look: Look) -> bytes:
    """A digest of a namespace but for its ruleset, that no other boot, and no other namespace of the same name, can have."""
    return hashlib.sha256(repr((_boot(), name, look.number, sorted(look.links))).encode()).digest()


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
