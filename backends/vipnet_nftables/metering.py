"""Limits and counters of EIPs: elements of which each keeps its own, by the address alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeGuard

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.model import short_id
from vipnet.plan import TargetPlan
from vipnet.views import Counters
from vipnet_kernel.namespaces import exists
from vipnet_kernel.set_elements import SetElement, Where, set_elements
from vipnet_nftables import names
from vipnet_nftables.entries import LOST, Element, NativeEntry

__all__ = ["count", "is_counter", "limit_words", "metering", "owner_of", "told_of_loss"]

_COUNTERS: Final = ("vn_rx_count", "vn_tx_count")
_LIMITS: Final = ("vn_rx_limit", "vn_tx_limit")
_COMMENT: Final = re.compile(f"([0-9a-f]{{12}})( {LOST})?")
_BYTES: Final = 125_000  # a second, of 10^6 bit/s
_MOST_MBPS: Final = ((1 << 64) // 10**9 - 1) // _BYTES  # the kernel multiplies a second's bytes by its nanoseconds, in 64 bits


def metering(router: str, intent: EipMapping) -> Iterator[Element]:
    """The counters of an EIP, and its limits if it has any. Raises DataplaneError for a limit that the kernel cannot keep.

    Counters say whose they are: when an EIP is deleted and another one has its address at once, that begins at 0.
    """
    eip = format_ip4(intent.eip)
    for counter in _COUNTERS:
        yield Element(router, "ip", counter, eip, owner=short_id(intent.eip_id))
    if intent.bandwidth is None:
        return
    if intent.bandwidth > _MOST_MBPS:
        raise DataplaneError(
            f"{intent.id} has a bandwidth of {intent.bandwidth} Mbit/s, and the kernel cannot keep a limit above {_MOST_MBPS}; "
            f"give 1 to {_MOST_MBPS}, or none with charge type traffic"
        )
    for limit in _LIMITS:
        yield Element(router, "ip", limit, eip, limit=limit_words(intent.bandwidth * _BYTES))


def is_counter(entry: NativeEntry) -> TypeGuard[Element]:
    """Whether an entry keeps what an EIP's mapping has counted."""
    return isinstance(entry, Element) and entry.set in _COUNTERS


def owner_of(comment: str) -> tuple[str, bool]:
    """For whom a counter of this comment counts ("": for nobody of ours), and whether it says that something is lost."""
    found = _COMMENT.fullmatch(comment)
    return (found[1], found[2] is not None) if found else ("", False)


def limit_words(rate: int, *, burst: int = 1, per: str = "second", over: bool = True) -> str:
    """A limit in nft's words, `rate` and `burst` in bytes.

    The kernel's bucket holds what passes in a second, and `burst` beside that. The second is more than a connection needs to
    fill its line, and the larger the bucket, the more passes at once after a pause: so there is as little as nft takes.
    """
    return f"limit rate {'over ' if over else ''}{rate} bytes/{per} burst {burst} bytes"


def told_of_loss(step: TargetPlan[NativeEntry]) -> TargetPlan[NativeEntry]:
    """The step, of which those counters that were there before say that what they had counted is lost.

    They say so where they are, in a comment: so it is known for as long as they live, by every process.
    """
    if step.fresh is None:
        return step
    replaced = tuple((old, _told(new, step.fresh)) for old, new in step.replace)
    return replace(step, create=tuple(_told(entry, step.fresh) for entry in step.create), replace=replaced)


def _told(entry: NativeEntry, fresh: frozenset[str]) -> NativeEntry:
    return replace(entry, lost=True) if is_counter(entry) and entry.key not in fresh else entry


def count(vpc_id: str, eip: int, eip_id: str) -> Counters:
    """Ask the kernel for the counters of an EIP in the router of a VPC: O(1). Raises DataplaneError.

    When the rest of a mapping has gone, nothing reaches its counters: what is not in `vn_eips` is dropped before.
    """
    router = names.router_namespace(vpc_id)
    places = [Where("ip", "vipnet", counter, eip.to_bytes(4, "big")) for counter in _COUNTERS]
    there = set_elements(router, places) if exists(router) else {}
    rx, tx = (_counted(there.get(place), short_id(eip_id)) for place in places)
    return Counters(rx_packets=rx[0], rx_bytes=rx[1], tx_packets=tx[0], tx_bytes=tx[1], lost=rx[2] or tx[2])


def _counted(found: SetElement | None, owner: str) -> tuple[int, int, bool]:
    """Packets, bytes, and whether something of them is lost: a counter that is not there, or not the owner's, has lost all."""
    if found is None or found.counted is None:
        return 0, 0, True
    whose, lost = owner_of(found.comment)
    return (*found.counted, lost) if whose == owner else (0, 0, True)
