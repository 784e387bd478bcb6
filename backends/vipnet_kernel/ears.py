"""Hears which namespaces changed, so that the others need not be looked at."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from vipnet_kernel.arrivals import Arrivals
from vipnet_kernel.multicast import RULESET_GROUPS, Committed, LinkSeen, Multicast, OverrunError, number_in
from vipnet_kernel.namespaces import entered
from vipnet_kernel.netlink import NETFILTER

__all__ = ["Ears", "Heard", "Ours"]

Ours = Callable[[frozenset[str]], bool]
"""Whether a commit that touched tables of these names may have touched something of ours."""

_LINKS: Final = (1,)
"""Of rtnetlink: links."""
_HALF: Final = 1 << 31


class _Remembered(Protocol):
    @property
    def generation(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a namespace. `is_ruleset`: nothing but commits, of which `ours` touched a table of ours."""

    is_ruleset: bool = False
    ours: int = 0

    @property
    def is_foreign(self) -> bool:
        """Whether it was nothing but commits that touched no table of ours."""
        return self.is_ruleset and not self.ours

    def __or__(self, other: Heard) -> Heard:
        return Heard(self.is_ruleset and other.is_ruleset, self.ours + other.ours)


class Ears:
    """Listens from the host's namespace to all that it has met; leaves no file descriptor when closed. Raises DataplaneError."""

    __slots__ = ("_arrivals", "_host", "_name_of", "_ours", "_routes", "_rulesets", "_sources")

    def __init__(self, host: str, ours: Ours) -> None:
        self._ours = ours
        self._host = host
        self._name_of: dict[int | None, str] = {None: host}
        with ExitStack() as opening:
            with entered(host):
                self._routes = Multicast(socket.NETLINK_ROUTE, _LINKS)
                opening.callback(self._routes.close)
                self._rulesets = Multicast(NETFILTER, RULESET_GROUPS)
                opening.callback(self._rulesets.close)
            self._arrivals = Arrivals()
            opening.callback(self._arrivals.close)
            self._sources = opening.pop_all()

    def meet(self, namespaces: Iterable[str]) -> None:
        """Tell some namespaces apart from now on."""
        for name in namespaces:
            if name != self._host and (number := number_in(self._host, name)) is not None:
                self._name_of[number] = name

    def read(self, known: Mapping[str, _Remembered]) -> dict[str, Heard] | None:
        """What was heard since, by namespace; None: some was missed. Commits up to the generation that is known are no news."""
        heard: dict[str, Heard] = {}
        try:
            for name, _ in self._arrivals.read():
                if not name:
                    return None
                heard[name] = Heard()
            for where, notice in self._routes.read():
                if isinstance(notice, LinkSeen) and (found := self._name_of.get(where)) is not None:
                    heard[found] = Heard()
            for where, notice in self._rulesets.read():
                found = self._name_of.get(where)
                if isinstance(notice, Committed) and found is not None and _is_news(notice, known.get(found)):
                    one = Heard(is_ruleset=True, ours=self._ours(notice.tables))
                    heard[found] = heard[found] | one if found in heard else one
        except OverrunError:
            return None
        return heard

    def close(self) -> None:
        """Hear no more."""
        self._sources.close()


def _is_news(notice: Committed, known: _Remembered | None) -> bool:
    return known is None or 0 < (notice.generation - known.generation) % (2 * _HALF) < _HALF
