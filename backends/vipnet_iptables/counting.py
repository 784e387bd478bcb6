"""What counters have counted: read from the chains that they are in, each for itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from vipnet.model import short_id
from vipnet.views import Counters
from vipnet_iptables.entries import DIRECTIONS, Count, Direction, NativeEntry
from vipnet_iptables.lines import rule_of_count
from vipnet_iptables.metering import Comment
from vipnet_iptables.router import MANGLE, Router, tree_of
from vipnet_iptables.tools import Tools
from vipnet_iptables.tree import Node
from vipnet_kernel.namespaces import exists

__all__ = ["Counting"]

_LINE: Final = re.compile(r"\s*(\d+)\s+(\d+)\s.*/\* (\S+) \*/\s*")
_Key = tuple[str, Direction]
"""An owner, which has one EIP, and a direction."""

_Amounts = tuple[int, int, bool]
"""Packets, bytes, and whether something of them is lost."""

_NOTHING: Final[_Amounts] = (0, 0, True)
_MANY: Final = 8
"""Of so many EIPs at once the whole table is read."""


class Counting:
    """Reads counters. `known` says what is known of a router; None: nothing, and its table is read whole."""

    __slots__ = ("_known", "_tools")

    def __init__(self, tools: Tools, known: Callable[[str], Router | None]) -> None:
        self._tools = tools
        self._known = known

    def read(self, router: str, asked: Sequence[tuple[str, int]]) -> list[Counters]:
        """What was counted of EIPs, each of an id, in a router. Raises DataplaneError."""
        if not exists(router):
            return [_together(_NOTHING, _NOTHING) for _ in asked]
        known = self._known(router)
        if known is None or len(asked) > _MANY:
            listed = self._tools.listed(router, "ip", ["mangle"]).get(MANGLE)
            found = _by_owner({} if listed is None else listed.counts)
        else:
            there = (count for _, eip in asked for count in (known.rx.get(eip), known.tx.get(eip)) if count is not None)
            found = self._of(router, list(there))
        return [_together(*(found.get((short_id(id), side), _NOTHING) for side in DIRECTIONS)) for id, _ in asked]

    def carried(self, router: str, moved: Iterable[tuple[NativeEntry, NativeEntry]]) -> dict[str, tuple[int, int]]:
        """What counters that move have counted, by the rule that they are going to be."""
        pairs = [(old, new) for old, new in moved if isinstance(old, Count) and isinstance(new, Count)]
        found = self._of(router, [old for old, _ in pairs])
        carried = dict[str, tuple[int, int]]()
        for old, new in pairs:
            packets, octets, lost = found.get((old.owner, old.direction), _NOTHING)
            carried[rule_of_count(new._replace(lost=lost))] = packets, octets
        return carried

    def _of(self, router: str, counts: Sequence[Count]) -> dict[_Key, _Amounts]:
        chains = {_chain(count) for count in counts}
        lines = (line for chain in chains for line in self._tools.chain(router, MANGLE, chain).splitlines())
        matches = (match for line in lines if (match := _LINE.fullmatch(line)) is not None)
        return _by_owner({match[3]: (int(match[1]), int(match[2])) for match in matches})


def _chain(count: Count) -> str:
    tag, ip = (f"RX{count.uplink}", count.eip) if count.direction == "rx" else (f"TX{count.uplink}", count.vip)
    return tree_of(tag)[1].chain(Node(7, ip >> 4))


def _by_owner(counts: Mapping[str, tuple[int, int]]) -> dict[_Key, _Amounts]:
    found: dict[_Key, _Amounts] = {}
    for text, (packets, octets) in counts.items():
        if (said := Comment.parsed(text)) is not None:
            found[said.owner, "tx" if said.eip else "rx"] = packets, octets, said.lost
    return found


def _together(rx: _Amounts, tx: _Amounts) -> Counters:
    return Counters(rx_packets=rx[0], rx_bytes=rx[1], tx_packets=tx[0], tx_bytes=tx[1], lost=rx[2] or tx[2])
