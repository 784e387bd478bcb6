"""Which addresses are not plainly free, by blocks of 4,096: from them a pool is made without a look at each address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vipnet.ipam import AddressPool
from vipnet.model import Address

__all__ = ["Block", "blocks_of", "pool_of"]

_BITS = 12
_SIZE = 1 << _BITS
_ALL = (1 << _SIZE) - 1


class Block(NamedTuple):
    """The addresses `number` * 4,096 and on of a network, of one IP version."""

    network_id: str
    version: int
    number: int

    @property
    def first(self) -> int:
        """Its first address."""
        return self.number << _BITS


def blocks_of(rows: Iterable[Address]) -> dict[Block, int]:
    """Sort addresses into blocks; bit n: the n-th address of the block is among them."""
    found: dict[Block, int] = {}
    for row in rows:
        block = Block(row.network_id, row.version, row.ip >> _BITS)
        found[block] = found.get(block, 0) | 1 << (row.ip & (_SIZE - 1))
    return found


def pool_of(first: int, last: int, blocks: Iterable[tuple[int, int]], timed: Iterable[Address]) -> AddressPool:
    """Make the pool of a range out of the blocks (first address, bits) of its network that overlap it.

    `timed` are the rows of addresses that become free by themselves. What is outside the range is left out: a gateway may
    have been reserved before the range was narrowed.
    """
    leaves: dict[int, int] = {}
    for begin, given in blocks:
        bits = given if begin >= first else given >> (first - begin)
        leaf, shift = divmod(max(0, begin - first), _SIZE)
        for index, part in ((leaf, bits << shift & _ALL), (leaf + 1, bits << shift >> _SIZE)):
            inside = part & ((1 << max(0, min(_SIZE, last + 1 - first - index * _SIZE))) - 1)
            if inside:
                leaves[index] = leaves.get(index, 0) | inside
    due = [(row.until or 0.0, row.ip, row.state) for row in timed if first <= row.ip <= last]
    resting = sum(state == "resting" for _, _, state in due)
    return AddressPool.of_leaves(first, last, leaves.items(), resting=resting, deadlines=[(until, ip) for until, ip, _ in due])
