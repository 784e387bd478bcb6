"""From networks, addresses and VIPs to pools: which there are, and what a row means for them."""

from __future__ import annotations

from collections.abc import Sequence

from vipnet.blocks import blocks_of, pool_of
from vipnet.ipam import AddressPool
from vipnet.model import Address, Network

__all__ = ["VRIDS", "address_given_back", "address_taken", "filled", "ranges_of", "vrid_given_back", "vrid_taken"]

VRIDS = 0
"""The VRIDs of a network have a pool in place of an IP version's."""


def ranges_of(network: Network) -> dict[int, tuple[int, int]]:
    """The pools that a network has, by IP version, and that of its VRIDs: first and last, inclusive."""
    spans: dict[int, tuple[int, int]] = {4: (network.start, network.end), VRIDS: (1, 255)}
    if network.start6 is not None and network.end6 is not None:
        spans[6] = (network.start6, network.end6)
    return spans


def filled(span: tuple[int, int], rows: Sequence[Address]) -> AddressPool:
    """Make the pool of a range out of the addresses of its network and version."""
    blocks = ((block.first, bits) for block, bits in blocks_of(rows).items())
    return pool_of(*span, blocks, [row for row in rows if _deadline(row) is not None])


def address_taken(pool: AddressPool, address: Address) -> AddressPool:
    """The pool with an address that has a row now."""
    if address.ip not in pool:  # a gateway reserved before the range was narrowed
        return pool
    if address.state == "resting":
        return pool.rest(address.ip, until=address.until or 0.0)
    return pool.hold(address.ip, until=_deadline(address))


def address_given_back(pool: AddressPool, address: Address) -> AddressPool:
    """The pool without an address that had a row."""
    if address.ip not in pool:
        return pool
    return pool.release(address.ip, resting=address.state == "resting", until=_deadline(address))


def vrid_taken(pool: AddressPool, vrid: int) -> AddressPool:
    """The pool with a VRID that a VIP has.

    What is being imported may have one twice, or one that is none; it is refused for it when all of it is seen.
    """
    return pool.hold(vrid) if vrid in pool and not pool.is_taken(vrid) else pool


def vrid_given_back(pool: AddressPool, vrid: int) -> AddressPool:
    """The pool without a VRID that a VIP had."""
    return pool.release(vrid) if vrid in pool and pool.is_taken(vrid) else pool


def _deadline(address: Address) -> float | None:
    """When the address is free by itself; one that is leaving waits for the data plane, not for the clock."""
    return address.until if address.state in ("reserved", "resting") else None
