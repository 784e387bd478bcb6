"""A tree of chains over IPv4 addresses: a chain has a way for each hexadecimal digit that comes next.

Which chains there are, and what is in them, follows from the set of addresses alone. One more address touches the chain
that it is in and those above it that it is the first in; what a packet costs does not follow from how many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from vipnet.addresses import format_ip4

__all__ = ["Branches", "Node", "Tree"]

_FIRST: Final = 3
"""Digits of the prefix that a chain below the root stands for at least: /12. At most there are 7: /28."""
_LAST: Final = 7
_SHIFT: Final = 28


class Node(NamedTuple):
    """A chain of a tree: `digits` hexadecimal digits of an address are known there, `prefix`; the root knows none."""

    digits: int
    prefix: int

    @property
    def is_leaf(self) -> bool:
        """Whether its ways are addresses."""
        return self.digits == _LAST


_ROOT: Final = Node(0, 0)


@dataclass(frozen=True, slots=True)
class Tree:
    """The words of a tree: the root chain, what is looked at of a packet, and what becomes of one that fits nowhere."""

    root: str
    option: Literal["-s", "-d"]
    closing: tuple[str, ...] = ()

    def chain(self, node: Node) -> str:
        """The name of a chain."""
        return f"{self.root}-{node.prefix:0{node.digits}x}" if node.digits else self.root

    def node(self, chain: str) -> Node | None:
        """The node of a chain of this name; None: it is none of this tree's."""
        if chain == self.root:
            return _ROOT
        root, dash, digits = chain.rpartition("-")
        if root != self.root or not dash or not _FIRST <= len(digits) <= _LAST:
            return None
        return Node(len(digits), int(digits, 16))

    def content(self, node: Node, branches: Branches, lines: Callable[[Iterable[int]], list[str]]) -> list[str]:
        """The rules of a chain; `lines` are those of addresses."""
        ways = branches.ways(node)
        if node.is_leaf:
            rules = lines(ways)
        else:
            digits = node.digits + 1 if node.digits else _FIRST
            rules = [self._way(Node(digits, prefix)) for prefix in ways]
        return [*rules, *self.closing]

    def _way(self, node: Node) -> str:
        network = format_ip4(node.prefix << (32 - 4 * node.digits))
        return f"{self.option} {network}/{4 * node.digits} -g {self.chain(node)}"


class Branches:
    """The chains of one tree: for each, which of its ways there are, as bits.

    A chain is kept as one number, digits before prefix: there may be a hundred thousand.
    """

    __slots__ = ("_ways",)

    def __init__(self) -> None:
        self._ways: dict[int, int] = {}

    def __contains__(self, node: Node) -> bool:
        return node.digits << _SHIFT | node.prefix in self._ways

    def __iter__(self) -> Iterator[Node]:
        return map(_node, self._ways)

    def __len__(self) -> int:
        return len(self._ways)

    def has(self, ip: int) -> bool:
        """Whether an address is in the tree."""
        return bool(self._ways.get(_LAST << _SHIFT | ip >> 4, 0) >> (ip & 15) & 1)

    def add(self, ips: Iterable[int]) -> None:
        """Put addresses in."""
        ways, here = self._ways, _grouped(ips)
        for digits in range(_LAST, _FIRST - 1, -1):
            for prefix, bits in here.items():
                key = digits << _SHIFT | prefix
                ways[key] = ways.get(key, 0) | bits
            here = _grouped(here) if digits > _FIRST else {0: sum(1 << prefix for prefix in here)}
        if here[0]:
            ways[0] = ways.get(0, 0) | here[0]

    def near(self, ips: Iterable[int]) -> list[Node]:
        """The chains that may be others when addresses come or go: the root, leaves, and those above one that may come or go."""
        found, here = [_ROOT], Counter(ip >> 4 for ip in ips)
        for digits in range(_LAST, _FIRST - 1, -1):
            found += (Node(digits, prefix) for prefix in here)
            few = (prefix for prefix, count in here.items() if self._width(digits, prefix) <= count)
            here = Counter(prefix >> 4 for prefix in few)
        return found

    def _width(self, digits: int, prefix: int) -> int:
        return self._ways.get(digits << _SHIFT | prefix, 0).bit_count()

    def remove(self, ip: int) -> None:
        """Take an address out. Chains that lead nowhere any more are pruned."""
        ways = self._ways
        for key, way in _path(ip):
            if left := ways.get(key, 0) & ~(1 << way):
                ways[key] = left
                return
            ways.pop(key, None)

    def ways(self, node: Node) -> Iterator[int]:
        """Where a chain leads, in order: prefixes that are one digit longer, or the addresses of a leaf."""
        bits, width = self._ways.get(node.digits << _SHIFT | node.prefix, 0), 4 * _FIRST if node.digits == 0 else 4
        while bits:
            lowest = bits & -bits
            yield node.prefix << width | lowest.bit_length() - 1
            bits ^= lowest


def _node(key: int) -> Node:
    return Node(key >> _SHIFT, key & (1 << _SHIFT) - 1)


def _grouped(ips: Iterable[int]) -> dict[int, int]:
    """By all digits but the last, which last ones there are."""
    found: dict[int, int] = {}
    for ip in ips:
        prefix = ip >> 4
        found[prefix] = found.get(prefix, 0) | 1 << (ip & 15)
    return found


def _path(ip: int) -> Iterator[tuple[int, int]]:
    """The chains that an address is in, from below, and the way to it from each."""
    for digits in range(_LAST, _FIRST - 1, -1):
        yield digits << _SHIFT | ip >> (32 - 4 * digits), ip >> (28 - 4 * digits) & 15
    yield 0, ip >> (32 - 4 * _FIRST)
