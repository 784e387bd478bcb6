"""Limits and counters of EIPs: elements of which each keeps its own, by the address alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeGuard

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan
from vipnet.views import Counters
from vipnet_kernel.namespaces import exists
from vipnet_kernel.set_elements import SetElement, Where, set_elements
from vipnet_nftables import names
from vipnet_nftables.entries import Element, NativeEntry

__all__ = ["LOST", "count", "is_counter", "limit_words", "metering", "told_of_loss"]

_COUNTERS: Final = ("vn_rx_count", "vn_tx_count")
_LIMITS: Final = ("vn_rx_limit", "vn_tx_limit")
LOST: Final = "lost"
"""The comment of a counter that is not the first of its EIP."""
_BYTES: Final = 125_000  # a second, of 10^6 bit/s
_MOST_MBPS: Final = ((1 << 64) // 10**9 - 1) // _BYTES  # the kernel multiplies a second's bytes by its nanoseconds, in 64 bits


def metering(router: str, intent: EipMapping) -> Iterator[Element]:
    """The counters of an EIP, and its limits if it has any. Raises DataplaneError for a limit that the kernel cannot keep."""
    eip = format_ip4(intent.eip)
    for counter in _COUNTERS:
        yield Element(router, "ip", counter, eip)
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
    return replace(step, create=tuple(_told(entry, step.fresh) for entry in step.create))


def _told(entry: NativeEntry, fresh: frozenset[str]) -> NativeEntry:
    if is_counter(entry) and entry.key not in fresh:
        return replace(entry, state=f'comment "{LOST}"')
    return entry


def count(vpc_id: str, eip: int) -> Counters:
    """Ask the kernel for the counters of an EIP in the router of a VPC: O(1). Raises DataplaneError.

    When the rest of a mapping has gone, nothing reaches its counters: what is not in `vn_eips` is dropped before.
    """
    router = names.router_namespace(vpc_id)
    places = [Where("ip", "vipnet", counter, eip.to_bytes(4, "big")) for counter in _COUNTERS]
    there = set_elements(router, places) if exists(router) else {}
    rx, tx = (_counted(there.get(place)) for place in places)
    return Counters(rx_packets=rx[0], rx_bytes=rx[1], tx_packets=tx[0], tx_bytes=tx[1], lost=LOST in (rx[2], tx[2]))


def _counted(found: SetElement | None) -> tuple[int, int, str]:
    """Packets, bytes, comment."""
    if found is None or found.counted is None:
        return 0, 0, LOST
    return *found.counted, found.comment
