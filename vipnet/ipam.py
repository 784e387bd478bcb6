"""Which addresses of a range are free, as an immutable value with integers inside.

A pool is a 64-way tree over leaves of 4,096 addresses. A leaf is one int, bit set: taken; an inner node keeps a mask of
its full children and how many addresses below it are taken; a missing child is wholly free. So the highest or lowest
free address is found by one bit operation a level, whatever is used, and a change copies one node a level: the old pool
stays valid, which is what a topology snapshot needs. A /8 has two levels above its leaves, an IPv6 /64 nine.

An address is free, held (used or reserved) or resting: released so recently that the automatic choice passes it over,
while a designated request may have it.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

__all__ = ["AddressPool", "Direction"]

Direction = Literal["stepdown", "stepup", "random"]

_LEAF_BITS = 12
_LEAF = 1 << _LEAF_BITS
_LEAF_FULL = (1 << _LEAF) - 1
_WAYS = 64
_INNER_FULL = (1 << _WAYS) - 1
_RANDOM_TRIES = 16


# A leaf is an int, an inner node (full, taken, kids): tuples, for one is made a level for every address that is given.
_Inner: TypeAlias = "tuple[int, int, tuple[_Node | None, ...]]"
_Node: TypeAlias = "int | _Inner"
_Deadlines = tuple[tuple[float, int], ...]
_BLANK: _Inner = (0, 0, (None,) * _WAYS)


class AddressPool:
    """The addresses `first`..`last` (inclusive) of one IP version and who of them is taken. Make it with `AddressPool.of`.

    A value: no method changes it. `held` and `resting` count addresses.
    """

    # Written out: making a frozen dataclass would be a third of what an allocation costs.
    __slots__ = ("_deadlines", "_level", "_root", "first", "held", "last", "resting")

    def __init__(self, first: int, last: int, level: int, root: _Node, held: int, resting: int, deadlines: _Deadlines) -> None:
        self.first, self.last, self._level, self._root = first, last, level, root
        self.held, self.resting, self._deadlines = held, resting, deadlines

    @classmethod
    def of(cls, first: int, last: int) -> AddressPool:
        """Make a pool with every address free. Raises ValueError when the range is empty."""
        if last < first:
            raise ValueError(f"empty range {first}..{last}")
        size, level = last - first + 1, 0
        while _LEAF << (6 * level) < size:
            level += 1
        root = _border(level, size)
        return cls(first, last, level, root if root is not None else _blank(level), 0, 0, ())

    @property
    def size(self) -> int:
        """Number of addresses in the range."""
        return self.last - self.first + 1

    @property
    def free(self) -> int:
        """Number of addresses that can be had; resting ones are free."""
        return self.size - self.held

    def __contains__(self, ip: int) -> bool:
        return self.first <= ip <= self.last

    def is_taken(self, ip: int) -> bool:
        """Whether an address of the range is held or resting."""
        node, index, shift = self._root, ip - self.first, _LEAF_BITS + 6 * self._level
        while not isinstance(node, int):
            shift -= 6
            kid = node[2][(index >> shift) & 63]
            if kid is None:
                return False
            node = kid
        return bool(node >> (index & (_LEAF - 1)) & 1)

    def hold(self, ip: int, *, until: float | None = None) -> AddressPool:
        """Take a free address of the range; with `until` (seconds of the epoch) it is due then. ValueError if taken."""
        root = self._marked(ip, taken=True)
        return self._with(root, self.held + 1, self.resting, _due(self._deadlines, until, ip))

    def rest(self, ip: int, *, until: float) -> AddressPool:
        """Let a free address rest until then. ValueError if taken."""
        root = self._marked(ip, taken=True)
        return self._with(root, self.held, self.resting + 1, _due(self._deadlines, until, ip))

    def release(self, ip: int, *, resting: bool = False, until: float | None = None) -> AddressPool:
        """Give back an address that was held, or with `resting` one that rested; `until` as it was taken with."""
        root = self._marked(ip, taken=False)
        deadlines = self._deadlines
        if until is not None:
            deadlines = tuple(entry for entry in deadlines if entry[1] != ip)
        return self._with(root, self.held - (not resting), self.resting - resting, deadlines)

    def take(self, direction: Direction, *, random: Callable[[int], int]) -> tuple[int, AddressPool] | None:
        """Choose and hold an address in one step; None when there is none. For those who need nothing in between."""
        ip = self.choose(direction, random=random)
        if ip is None:
            return None
        root = _flip(self._root, self._level, ip - self.first, 1)
        return ip, self._with(root, self.held + 1, self.resting, self._deadlines)

    def due(self, now: float) -> Iterator[int]:
        """Addresses whose time is up: expired reservations and those that have rested enough."""
        for until, ip in self._deadlines:
            if until > now:
                return
            yield ip

    def choose(self, direction: Direction, *, random: Callable[[int], int]) -> int | None:
        """Choose a free address that does not rest; None when there is none.

        `random(n)` gives a uniform int in 0..n-1; `random` as direction is uniform over what is free.
        """
        taken = self.held + self.resting
        if taken == self.size:
            return None
        match direction:
            case "stepdown":
                return self.first + _highest(self._root, self._level)
            case "stepup":
                return self.first + _lowest(self._root, self._level)
            case "random":
                return self._choose_random(random, self.size - taken)

    def _choose_random(self, random: Callable[[int], int], free: int) -> int:
        # Rejection first: while half the range is free, sixteen draws miss once in 65,536.
        for _ in range(_RANDOM_TRIES):
            ip = self.first + random(self.size)
            if not self.is_taken(ip):
                return ip
        return self.first + _select(self._root, self._level, random(free))

    def _marked(self, ip: int, *, taken: bool) -> _Node:
        if ip not in self or self.is_taken(ip) is taken:
            raise ValueError(f"address {ip} is {'taken already' if taken else 'not taken'} or outside {self.first}..{self.last}")
        return _flip(self._root, self._level, ip - self.first, 1 if taken else -1)

    def _with(self, root: _Node, held: int, resting: int, deadlines: _Deadlines) -> AddressPool:
        return AddressPool(self.first, self.last, self._level, root, held, resting, deadlines)


def _shift(level: int) -> int:
    return _LEAF_BITS + 6 * (level - 1)


def _capacity(level: int) -> int:
    return _LEAF << (6 * level)


def _blank(level: int) -> _Node:
    return 0 if level == 0 else _BLANK


def _border(level: int, size: int) -> _Node | None:
    """A node whose first `size` addresses are free and whose others, beyond the range, count as taken."""
    if size == _capacity(level):
        return None
    if level == 0:
        return _LEAF_FULL >> size << size
    whole, rest = divmod(size, _capacity(level - 1))
    kids: list[_Node | None] = [None] * _WAYS
    beyond = whole + 1 if rest else whole
    if rest:
        kids[whole] = _border(level - 1, rest)
    full = (_INNER_FULL >> beyond) << beyond
    return full, _capacity(level) - size, tuple(kids)


def _flip(node: _Node | None, level: int, index: int, step: int) -> _Node:
    """The node with one address taken (`step` 1) or given back (-1)."""
    if node is None:
        node = _blank(level)
    if isinstance(node, int):
        return node ^ (1 << (index & (_LEAF - 1)))
    full, taken, kids = node
    slot = (index >> (_LEAF_BITS + 6 * (level - 1))) & 63
    kid = _flip(kids[slot], level - 1, index, step)
    is_full = kid == _LEAF_FULL if isinstance(kid, int) else kid[0] == _INNER_FULL
    bit = 1 << slot
    changed = list(kids)
    changed[slot] = kid
    return full | bit if is_full else full & ~bit, taken + step, tuple(changed)


def _highest(node: _Node | None, level: int) -> int:
    if node is None:
        return _capacity(level) - 1
    if isinstance(node, int):
        return (node ^ _LEAF_FULL).bit_length() - 1
    slot = (node[0] ^ _INNER_FULL).bit_length() - 1
    return (slot << _shift(level)) + _highest(node[2][slot], level - 1)


def _lowest(node: _Node | None, level: int) -> int:
    if node is None:
        return 0
    if isinstance(node, int):
        return _lowest_bit(node ^ _LEAF_FULL)
    slot = _lowest_bit(node[0] ^ _INNER_FULL)
    return (slot << _shift(level)) + _lowest(node[2][slot], level - 1)


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _select(node: _Node | None, level: int, rank: int) -> int:
    """The index of the free address that has `rank` free ones before it."""
    if node is None:
        return rank
    if isinstance(node, int):
        return _select_bit(node ^ _LEAF_FULL, rank)
    for slot in range(_WAYS):
        if node[0] >> slot & 1:
            continue
        kid = node[2][slot]
        free = _capacity(level - 1) - _taken(kid)
        if rank < free:
            return (slot << _shift(level)) + _select(kid, level - 1, rank)
        rank -= free
    raise AssertionError("rank beyond the free addresses")


def _taken(node: _Node | None) -> int:
    return 0 if node is None else node.bit_count() if isinstance(node, int) else node[1]


def _select_bit(mask: int, rank: int) -> int:
    low, width = 0, _LEAF
    while width > 1:
        width //= 2
        count = (mask >> low & ((1 << width) - 1)).bit_count()
        if rank >= count:
            rank -= count
            low += width
    return low


def _due(deadlines: _Deadlines, until: float | None, ip: int) -> _Deadlines:
    if until is None:
        return deadlines
    at = bisect.bisect(deadlines, (until, ip))
    return (*deadlines[:at], (until, ip), *deadlines[at:])
