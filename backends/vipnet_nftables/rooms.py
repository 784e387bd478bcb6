"""How many EIPs a router's maps have room for.

A map that says how much it will hold is filled three times as fast as one that grows by itself, and its elements are found
faster; but then it holds no more. Sets whose elements count or limit do not say: a size makes them no faster, as what takes the
time is each element's own memory, and they never have to be made again, in which they would lose what they know.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from vipnet.errors import DataplaneError
from vipnet_kernel.netlink import attribute, ruleset_generation
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import InterruptedDumpError
from vipnet_nftables.wire.batch import Fault, Message
from vipnet_nftables.wire.elements import dumped_elements, filling
from vipnet_nftables.wire.making import resized
from vipnet_nftables.wire.objects import Name, read_declared

__all__ = ["Room", "is_full", "larger", "room", "sizes"]

_SIZED: Final[tuple[Name, ...]] = (
    ("ip", "vn_eip_vip"),
    ("ip", "vn_vip_eip"),
    ("ip", "vn_vip_out"),
    ("ip", "vn_eips"),
    ("arp", "vn_eips"),
)
_LEAST: Final = 512
_LOOKS: Final = 5


class Room(NamedTuple):
    """For how many EIPs there is room, 0: without bound, and how much of it is taken, 0: this kernel does not say."""

    size: int
    taken: int

    @property
    def is_short(self) -> bool:
        """Whether it is time for more."""
        return 4 * self.taken >= 3 * self.size > 0

    def holds(self, more: int) -> bool:
        """Whether there is room for so many more."""
        return not self.size or self.taken + more <= self.size


def sizes(eips: int) -> Mapping[Name, int]:
    """The sizes of a router's maps, by set, that are to hold so many EIPs, and as many again."""
    return dict.fromkeys(_SIZED, max(_LEAST, 2 * eips))


def is_full(faults: Sequence[Fault]) -> bool:
    """Whether what hindered a transaction is that a map had no room left."""
    return any(fault.code == errno.ENFILE for fault in faults)


def room(link: socket.socket) -> Room | None:
    """Look at a router's maps, O(1); None: there are none. Raises OSError."""
    with suppress(FileNotFoundError):
        found = [filling(link, *name) for name in _SIZED]
        return Room(min(size for size, _ in found), max(taken or 0 for _, taken in found))
    return None


def larger(link: socket.socket, more: int) -> tuple[list[Message], int]:
    """What gives a router's maps room for so many more EIPs, in the transaction that brings them, and the ruleset's generation.

    New maps, filled, take the place of the old ones; they hold what the old ones do as long as the generation is that.
    Raises OSError, and DataplaneError when others keep changing the rules.
    """
    for _ in range(_LOOKS):
        with suppress(InterruptedDumpError):
            generation = ruleset_generation(link)
            return _larger(link, more), generation
    raise DataplaneError("there is no more room for EIPs, and none can be made: others keep changing the rules")


def _larger(link: socket.socket, more: int) -> list[Message]:
    there = read_declared(link, sorted({family for family, _ in _SIZED}))
    elements = {
        name: [attribute(header.LIST_ELEM, inside) for inside in dumped_elements(link, *name)]
        for name in _SIZED
        if name in there.sets
    }
    wanted = sizes(2 * max(map(len, elements.values()), default=0) + more)
    return resized(there, {name: (wanted[name], some) for name, some in elements.items()})
