"""What the kernel looked like when we last left it: enough to notice that somebody else was there."""

from __future__ import annotations

import functools
import hashlib
import socket
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import exists, number
from vipnet_kernel.netlink import NETFILTER, links_fingerprint, ruleset_generation
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.ears import Ears, Heard

__all__ = ["Look", "Memory", "Snapshot"]

_LOOKS: Final = 3
"""So often everything is looked at before it is worth while to listen: a process that lives for one command never is."""

_DIGEST: Final = 1 << 128

T = TypeVar("T")


class Look(NamedTuple):
    """A namespace: its number, its ruleset's generation, its links as `links_fingerprint` has them."""

    number: int
    generation: int
    links: frozenset[tuple[int, bool, bytes, bytes, bytes]]


Snapshot = dict[str, Look]
"""Looks at namespaces by their names."""


class Memory:
    """Looks at namespaces. Knows nothing at first, and after it was told that it cannot know.

    It listens after a while, and then looks again only where something was heard of: what a verb costs does not follow from how
    many namespaces and interfaces there are.
    """

    __slots__ = ("_digest", "_doubted", "_ears", "_host", "_looks", "_names", "_seen", "_sockets")

    def __init__(self, sockets: Sockets, host: str) -> None:
        self._sockets = sockets
        self._host = host
        self._seen: Snapshot | None = None
        self._doubted: dict[str, Heard] = {}
        self._ears: Ears | None = None
        self._looks = 0
        self._digest = 0
        self._names = ""

    def snapshot(self, namespaces: Iterable[str]) -> Snapshot:
        """Look at namespaces; those that do not exist, or cease to while we look, are left out."""
        return {name: look for name in namespaces if (look := self._look(name)) is not None}

    def learn(self, seen: Snapshot | None) -> None:
        """Take this for what is there; None: not known."""
        self._seen = None if seen is None else dict(seen)
        self._doubted = {}
        self._digest = 0 if seen is None else sum(_digest_of(name, look) for name, look in seen.items()) % _DIGEST
        self._names = "" if seen is None else " ".join(sorted(seen))
        if self._ears is not None:
            self._ears.meet(seen or ())

    def holds(self, namespaces: Iterable[str] | None = None) -> bool:
        """Whether nothing differs from what is remembered, of some namespaces or of all."""
        if self._seen is None:
            return False
        asked = self._seen if namespaces is None else list(namespaces)
        return not self._differing(asked)

    def stamp(self) -> str:
        """Name what is remembered: the namespaces, and a digest of what they look like; "" when nothing is."""
        return "" if self._seen is None else f"{self._digest:032x} {self._names}"

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

    def committed(self, namespace: str) -> None:
        """Remember the generation of a namespace's ruleset after a transaction of ours. Raises DataplaneError."""
        known = None if self._seen is None else self._seen.get(namespace)
        if known is None:
            self.renew([namespace], ())
        elif (generation := self._generation(namespace)) is not None:
            self._move(namespace, known._replace(generation=generation))

    def _move(self, name: str, look: Look) -> None:
        """One transaction moves a generation by one; further on, somebody else was there before we looked: nothing is known."""
        known = None if self._seen is None else self._seen.get(name)
        if known is not None and look.generation - known.generation not in (0, 1):
            self.learn(None)
        elif self._seen is not None and look != known:
            self._put(name, look)

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
        if known is not None and look is not None and heard is not None and heard.is_foreign and look[::2] == known[::2]:
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
                self._ears = Ears(self._host)
                self._ears.meet(self._seen)
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
        if known is not None:
            self._digest -= _digest_of(name, known)
        if look is not None:
            self._seen[name] = look
            self._digest += _digest_of(name, look)
        self._digest %= _DIGEST
        if (known is None) != (look is None):
            self._names = " ".join(sorted(self._seen))
            if look is not None and self._ears is not None:
                self._ears.meet([name])

    def _look(self, name: str) -> Look | None:
        return self._asked(name, self._seen_now)

    def _generation(self, name: str) -> int | None:
        return self._asked(name, self._generation_now)

    def _seen_now(self, name: str) -> Look:
        generation = self._generation_now(name)
        with self._sockets.lent(name, socket.NETLINK_ROUTE) as link:
            return Look(number(name), generation, links_fingerprint(link))

    def _generation_now(self, name: str) -> int:
        with self._sockets.lent(name, NETFILTER) as link:
            return ruleset_generation(link)

    def _asked(self, name: str, look: Callable[[str], T]) -> T | None:
        """What a look at a namespace shows; None: there is none, or none any more. Raises DataplaneError."""
        try:
            return look(name)
        except (OSError, DataplaneError) as error:
            if not exists(name):
                return None
            if isinstance(error, DataplaneError):
                raise
            raise DataplaneError(f"namespace {name or 'of this process'} cannot be looked at: {error.strerror}") from error


def _digest_of(name: str, look: Look) -> int:
    """A digest that no other boot, and no other namespace of the same name, can have."""
    text = repr((_boot(), name, look.number, look.generation, sorted(look.links)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
