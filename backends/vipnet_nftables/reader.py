"""What is installed of rules, as entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, get_args

from vipnet.model import AccessMode
from vipnet.plan import Entry
from vipnet_kernel import names
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.askers import is_asker
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.entries import Element, Guard, RuleEntry, Skeleton
from vipnet_nftables.rules import is_host_intact
from vipnet_nftables.ruleset import GATEWAY, HOST, TABLES, Kind, router_kind
from vipnet_nftables.verification import verified
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.objects import kind_of, read_declared

__all__ = ["Tables"]

_ROUTERS: Final[tuple[Kind, ...]] = tuple(router_kind(mode) for mode in get_args(AccessMode))


class Tables:
    """Reads our tables; elements that are expected are asked for by key. `askers`: who was found to ask upstream."""

    __slots__ = ("_elements", "_host", "_sockets", "askers")

    def __init__(self, sockets: Sockets, host: str, expected: Mapping[str, Entry]) -> None:
        self._sockets = sockets
        self._host = host
        self.askers = list[Element]()
        self._elements: dict[str, list[ElementEntry]] = defaultdict(list)
        for entry in expected.values():
            if isinstance(entry, ElementEntry):
                self._elements[self.place(entry)].append(entry)

    def place(self, entry: RuleEntry) -> str:
        """The namespace that an entry is in, "": the host's."""
        return "" if isinstance(entry, Guard) else entry.namespace

    def of_host(self) -> Iterable[RuleEntry]:
        """What is in the host's table."""
        with linked(self._sockets, self._host) as link:
            found = list(verified(link, TABLES[HOST], "", self._elements[""]))
        intact = bool(found) and is_host_intact(self._sockets, self._host)
        return found if intact else [replace(entry, intact=False) if isinstance(entry, Guard) else entry for entry in found]

    def of_space(self, name: str) -> Iterator[RuleEntry]:
        """What is in the tables of a router or a gateway, but for askers."""
        kinds: tuple[Kind, ...] = (GATEWAY,) if names.GATEWAY.fullmatch(name) else _ROUTERS
        families = TABLES[kinds[0]]
        with linked(self._sockets, name) as link:
            there = read_declared(link, families)
            if there.families:
                yield Skeleton(name, kind_of(there, kinds))
                for entry in verified(link, families, name, self._elements[name]):
                    if isinstance(entry, Element) and is_asker(entry):
                        self.askers.append(entry)
                    else:
                        yield entry
