"""Limits and counters of EIPs: elements of which each keeps its own, by the address alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, TypeGuard

from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.model import short_id
from vipnet.plan import TargetPlan
from vipnet.views import Counters
from vipnet_kernel import names
from vipnet_kernel.namespaces import exists
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.entries import COUNTERS, Count, NativeEntry
from vipnet_nftables.wire.elements import SetElement, by_key
from vipnet_nftables.wire.links import linked

__all__ = ["comment_of", "count", "is_counter", "owner_of", "rate_of", "told_of_loss"]

_LOST: Final = "lost"
"""The last word in the comment of a counter that is not the first of its mapping."""
_COMMENT: Final = re.compile(f"([0-9a-f]{{12}})( {_LOST})?")
_BYTES: Final = 125_000  # a second, of 10^6 bit/s
_MOST_MBPS: Final = ((1 << 64) // 10**9 - 1) // _BYTES  # the kernel multiplies a second's bytes by its nanoseconds, in 64 bits


def rate_of(intent: EipMapping) -> int:
    """Bytes a second that an EIP may send and receive, 0: all. Raises DataplaneError for a limit that the kernel cannot keep."""
    if intent.bandwidth is None:
        return 0
    if intent.bandwidth > _MOST_MBPS:
        raise DataplaneError(
            f"{intent.id} has a bandwidth of {intent.bandwidth} Mbit/s, and the kernel cannot keep a limit above {_MOST_MBPS}; "
            f"give 1 to {_MOST_MBPS}, or none with charge type traffic"
        )
    return intent.bandwidth * _BYTES


def is_counter(entry: NativeEntry) -> TypeGuard[Count]:
    """Whether an entry keeps what an EIP's mapping has counted."""
    return isinstance(entry, Count)


def comment_of(counter: Count) -> str:
    """The comment by which a counter says whose it is, and whether something of what it counted is lost.

    When an EIP is deleted and another one has its address at once, that begins at 0.
    """
    return f"{counter.owner} {_LOST}" if counter.lost else counter.owner


def owner_of(comment: str) -> tuple[str, bool]:
    """For whom a counter of this comment counts ("": for nobody of ours), and whether it says that something is lost."""
    found = _COMMENT.fullmatch(comment)
    return (found[1], found[2] is not None) if found else ("", False)


def told_of_loss(step: TargetPlan[NativeEntry]) -> TargetPlan[NativeEntry]:
    """The step, of which those counters that were there before say that what they had counted is lost.

    They say so where they are, in a comment: so it is known for as long as they live, by every process.
    """
    if step.fresh is None:
        return step
    replaced = tuple((old, _told(new, step.fresh)) for old, new in step.replace)
    return replace(step, create=tuple(_told(entry, step.fresh) for entry in step.create), replace=replaced)


def _told(entry: NativeEntry, fresh: frozenset[str]) -> NativeEntry:
    return entry._replace(lost=True) if is_counter(entry) and entry.key not in fresh else entry


def count(sockets: Sockets, vpc_id: str, eip: int, eip_id: str) -> Counters:
    """Ask the kernel for the counters of an EIP in the router of a VPC: O(1). Raises DataplaneError.

    When the rest of a mapping has gone, nothing reaches its counters: what is not in `vn_eips` is dropped before.
    """
    router, key, owner = names.router_namespace(vpc_id), eip.to_bytes(4, "big"), short_id(eip_id)
    rx, tx = _counted(sockets, router, key, owner) if exists(router) else ((0, 0, True), (0, 0, True))
    return Counters(rx_packets=rx[0], rx_bytes=rx[1], tx_packets=tx[0], tx_bytes=tx[1], lost=rx[2] or tx[2])


def _counted(sockets: Sockets, router: str, key: bytes, owner: str) -> list[tuple[int, int, bool]]:
    with linked(sockets, router) as link:
        found = [by_key(link, "ip", counter, [key]).get(key) for counter in COUNTERS]
    return [_amounts(one, owner) for one in found]


def _amounts(found: SetElement | None, owner: str) -> tuple[int, int, bool]:
    """Packets, bytes, and whether something of them is lost: a counter that is not there, or not the owner's, has lost all."""
    if found is None or found.counted is None:
        return 0, 0, True
    whose, lost = owner_of(found.comment)
    return (*found.counted, lost) if whose == owner else (0, 0, True)
