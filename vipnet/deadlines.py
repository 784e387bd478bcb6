"""When addresses are due, in order of time, as an immutable value.

A B-tree of tuples: a change copies one node a level, so it costs O(log n) and the old value stays valid. Nodes split when
they grow too wide and go when they are empty; they are never merged, for deadlines come and go in about the same order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeAlias

__all__ = ["Deadlines", "Due"]

Due: TypeAlias = "tuple[float, int]"
"""Seconds of the epoch, and the address whose time is up then."""

_WIDTH = 64

# At height 0 a tuple of entries, above it a tuple of branches.
_Node: TypeAlias = "tuple[Any, ...]"
_Branch: TypeAlias = "tuple[Due, _Node]"
"""A node that is one lower, behind the first entry in it."""


class Deadlines:
    """Pairs of time and address, each once, in order. Make one with `Deadlines.of`; no method changes it."""

    __slots__ = ("_height", "_root")

    def __init__(self, root: _Node, height: int) -> None:
        self._root, self._height = root, height

    @classmethod
    def of(cls, entries: Iterable[Due]) -> Deadlines:
        """Put entries, in any order, into a tree: O(n log n), for the sorting."""
        root: _Node = tuple(sorted(entries))
        height = 0
        while len(root) > _WIDTH:
            root = tuple(_branch(root[at : at + _WIDTH], height) for at in range(0, len(root), _WIDTH))
            height += 1
        return cls(root, height)

    def __bool__(self) -> bool:
        return bool(self._root)

    def __iter__(self) -> Iterator[Due]:
        return _entries(self._root, self._height)

    def added(self, entry: Due) -> Deadlines:
        """Put an entry in. ValueError when its time is not a number: that has no place in an order."""
        if entry[0] != entry[0]:
            raise ValueError(f"address {entry[1]} until {entry[0]}: that is no time; give seconds of the epoch")
        branches = _added(self._root, self._height, entry)
        return Deadlines(branches[0][1], self._height) if len(branches) == 1 else Deadlines(branches, self._height + 1)

    def removed(self, entry: Due) -> Deadlines:
        """Take an entry out. ValueError when it is not there."""
        root, height = _removed(self._root, self._height, entry), self._height
        while height and len(root) == 1:
            root, height = root[0][1], height - 1
        return Deadlines(root, height)


def _branch(node: _Node, height: int) -> _Branch:
    return (node[0][0] if height else node[0]), node


def _entries(node: _Node, height: int) -> Iterator[Due]:
    if height == 0:
        yield from node
        return
    for _, kid in node:
        yield from _entries(kid, height - 1)


def _slot(node: _Node, entry: Due) -> int:
    """Which branch an entry belongs to: the last that begins at or before it."""
    return max(bisect_right(node, entry, key=itemgetter(0)) - 1, 0)


def _added(node: _Node, height: int, entry: Due) -> tuple[_Branch, ...]:
    """The node with an entry more, as one branch or, when it grew too wide, as two."""
    if height == 0:
        at = bisect_left(node, entry)
        grown = (*node[:at], entry, *node[at:])
    else:
        at = _slot(node, entry)
        grown = (*node[:at], *_added(node[at][1], height - 1, entry), *node[at + 1 :])
    if len(grown) <= _WIDTH:
        return (_branch(grown, height),)
    half = len(grown) // 2
    return _branch(grown[:half], height), _branch(grown[half:], height)


def _removed(node: _Node, height: int, entry: Due) -> _Node:
    """The node with an entry less; an empty one when that was its last."""
    if height == 0:
        at = bisect_left(node, entry)
        if node[at : at + 1] != (entry,):
            raise ValueError(f"address {entry[1]} was not taken until {entry[0]}; give the time that it was taken with")
        return (*node[:at], *node[at + 1 :])
    at = _slot(node, entry)
    kid = _removed(node[at][1], height - 1, entry)
    return (*node[:at], *([_branch(kid, height - 1)] if kid else []), *node[at + 1 :])
