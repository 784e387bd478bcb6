"""Limits and counters of EIPs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan
from vipnet_iptables.entries import Count, NativeEntry

__all__ = ["Comment", "rate_of", "told_of_loss"]

_BYTES: Final = 125_000  # a second, of 10^6 bit/s
_MOST_MBPS: Final = 100_000  # from here on hashlimit, which keeps what 16 bytes cost as a whole number, would be off by over 10 %
_COMMENT: Final = re.compile(r"([0-9a-f]{12})(?:-(\d+\.\d+\.\d+\.\d+))?(-lost)?")


def rate_of(intent: EipMapping) -> int:
    """Bytes a second that an EIP may send and receive, 0: all. Raises DataplaneError for a limit that cannot be kept."""
    if intent.bandwidth is None:
        return 0
    if intent.bandwidth > _MOST_MBPS:
        raise DataplaneError(
            f"{intent.id} has a bandwidth of {intent.bandwidth} Mbit/s, and iptables cannot keep a limit above {_MOST_MBPS}; "
            f"give 1 to {_MOST_MBPS}, or none with charge type traffic"
        )
    return intent.bandwidth * _BYTES


class Comment:
    """What the comment of a counter says: for whom it counts, of which EIP if it stands at a VIP, whether something is lost."""

    __slots__ = ("eip", "lost", "owner")

    def __init__(self, owner: str, eip: str, *, lost: bool) -> None:
        self.owner = owner
        self.eip = eip
        self.lost = lost

    @classmethod
    def parsed(cls, text: str) -> Comment | None:
        """None: it is none of ours."""
        found = _COMMENT.fullmatch(text)
        return None if found is None else cls(found[1], found[2] or "", lost=found[3] is not None)


def told_of_loss(step: TargetPlan[NativeEntry]) -> TargetPlan[NativeEntry]:
    """The step, of which those counters that were there before say that what they had counted is lost.

    One that only moves takes along what it has counted.
    """
    if step.fresh is None:
        return step
    fresh = step.fresh
    replaced = tuple((old, new if _moves(old, new) else _told(new, fresh)) for old, new in step.replace)
    return replace(step, create=tuple(_told(entry, fresh) for entry in step.create), replace=replaced)


def _moves(old: NativeEntry, new: NativeEntry) -> bool:
    return isinstance(old, Count) and isinstance(new, Count) and old.owner == new.owner


def _told(entry: NativeEntry, fresh: frozenset[str]) -> NativeEntry:
    return entry._replace(lost=True) if isinstance(entry, Count) and entry.key not in fresh else entry
