"""Which of the indexes 0..n-1 are free, as a persistent 16-way tree over leaves of 4,096: the inside of `vipnet.ipam`.

A leaf is one int, bit set: free; an inner node keeps a mask of its kids with anything free, and how many free indexes are
below it. So the highest or lowest free one is found by one bit operation a level, whatever is used, and a change copies one
node a level: the old tree stays valid. What nobody has touched is one shared node a level. 2**24 indexes (an IPv4 /8) have
three levels above their leaves, 2**64 thirteen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeAlias

__all__ = ["LEAF", "LEAF_BITS", "Tree", "blank", "filled", "flipped", "highest", "leaf", "lowest", "select", "touched_leaves"]

# Measured for a /8: leaves of half or a quarter save nothing, and tuples of 32 or 64 cost a third more than those of 16,
# which the interpreter keeps ready for the next one.
LEAF_BITS = 12
LEAF = 1 << LEAF_BITS
_LEAF_MASK = LEAF - 1
_WAY_BITS = 4
_WAYS = 1 << _WAY_BITS
_WAY_MASK = _WAYS - 1

# An inner node is (mask of kids with free ones, free indexes, kids); a kid beyond the range is 0. Tuples, for one is made
# a level for every address that is given.
Tree: TypeAlias = "tuple[int, int, tuple[_Node, ...]]"
_Node: TypeAlias = "int | Tree"


def blank(size: int) -> tuple[Tree, int]:
    """A tree whose first `size` indexes are free, and its shift: how far it shifts an index to find the kid of it."""
    last, shift = size - 1, LEAF_BITS
    whole: _Node = (1 << LEAF) - 1
    edge: _Node = (1 << (last & _LEAF_MASK) + 1) - 1  # the node in which the range ends
    while True:
        slot = last >> shift & _WAY_MASK
        edge = _inner([whole] * slot + [edge] + [0] * (_WAY_MASK - slot))
        if last >> shift + _WAY_BITS == 0:
            return edge, shift
        whole, shift = _inner([whole] * _WAYS), shift + _WAY_BITS


def filled(node: Tree, shift: int, leaves: Iterable[tuple[int, int]]) -> Tree:
    """A blank tree with these bits taken: pairs of leaf index and bits, in order."""
    kids = list(node[2])
    for slot, group in groupby(leaves, lambda leaf: leaf[0] >> (shift - LEAF_BITS) & _WAY_MASK):
        kid = kids[slot]
        if isinstance(kid, int):
            ((_, bits),) = group
            kids[slot] = kid ^ bits
        else:
            kids[slot] = filled(kid, shift - _WAY_BITS, group)
    return _inner(kids)


def flipped(node: Tree, shift: int, index: int, step: int) -> Tree | None:
    """The tree with one index taken (`step` -1) or given back (1); None when it is so already."""
    mask, free, kids = node
    slot = index >> shift & _WAY_MASK
    kid = kids[slot]
    fresh: _Node | None
    if isinstance(kid, int):
        bit = 1 << (index & _LEAF_MASK)
        if (kid & bit != 0) is (step > 0):
            return None
        fresh = some = kid ^ bit
    else:
        fresh = flipped(kid, shift - _WAY_BITS, index, step)
        if fresh is None:
            return None
        some = fresh[0]
    changed = [*kids]
    changed[slot] = fresh
    return mask | 1 << slot if some else mask ^ 1 << slot, free + step, (*changed,)


def leaf(node: _Node, shift: int, index: int) -> int:
    """The leaf in which an index is."""
    while not isinstance(node, int):
        node, shift = node[2][index >> shift & _WAY_MASK], shift - _WAY_BITS
    return node


def highest(node: _Node) -> int:
    """The last free index; there is one."""
    index = 0
    while not isinstance(node, int):
        slot = node[0].bit_length() - 1
        index, node = index << _WAY_BITS | slot, node[2][slot]
    return index << LEAF_BITS | node.bit_length() - 1


def lowest(node: _Node) -> int:
    """The first free index; there is one."""
    index = 0
    while not isinstance(node, int):
        slot = (node[0] ^ node[0] - 1).bit_length() - 1
        index, node = index << _WAY_BITS | slot, node[2][slot]
    return index << LEAF_BITS | (node ^ node - 1).bit_length() - 1


def select(node: _Node, rank: int) -> int:
    """The free index that has `rank` free ones before it; there is one."""
    index = 0
    while not isinstance(node, int):
        for slot, kid in enumerate(node[2]):
            free = _free(kid)
            if rank < free:
                index, node = index << _WAY_BITS | slot, kid
                break
            rank -= free
    return index << LEAF_BITS | _select_bit(node, rank)


def touched_leaves(node: Tree, shift: int, index: int = 0) -> Iterator[tuple[int, int]]:
    """Pairs of leaf index and leaf, in order; those of nodes with nothing taken may be left out."""
    for slot, kid in enumerate(node[2], index << _WAY_BITS):
        if not isinstance(kid, int):
            if kid[1] < 1 << shift:
                yield from touched_leaves(kid, shift - _WAY_BITS, slot)
        elif shift == LEAF_BITS:
            yield slot, kid


def _free(node: _Node) -> int:
    return node.bit_count() if isinstance(node, int) else node[1]


def _inner(kids: Iterable[_Node]) -> Tree:
    kids = tuple(kids)
    counts = [_free(kid) for kid in kids]
    return sum((count > 0) << slot for slot, count in enumerate(counts)), sum(counts), kids


def _select_bit(mask: int, rank: int) -> int:
    low, width = 0, LEAF
    while width > 1:
        width //= 2
        count = (mask >> low & (1 << width) - 1).bit_count()
        if rank >= count:
            rank -= count
            low += width
    return low
