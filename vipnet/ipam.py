"""Which addresses of a range are free, as an immutable value with integers inside.

An address is free, held (used or reserved) or resting: released so recently that the automatic choice passes it over,
while a designated request may have it. What a change costs does not depend on how many addresses are taken, and nothing
ever walks over them: see `vipnet.addresstree`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise, takewhile
from typing import Literal

from vipnet.addresstree import LEAF, LEAF_BITS, Tree, blank, filled, flipped, highest, leaf, lowest, select, touched_leaves
from vipnet.deadlines import Deadlines, Due

__all__ = ["AddressPool", "Direction"]

Direction = Literal["stepdown", "stepup", "random"]

_RANDOM_TRIES = 16


class AddressPool:
    """The addresses `first`..`last` (inclusive) of one IP version and who of them is taken. Make it with `AddressPool.of`.

    A value: no method changes it. `resting` counts addresses, as `held` and `free` do.
    """

    # Written out: making a frozen dataclass would be a third of what an allocation costs.
    __slots__ = ("_deadlines", "_root", "_shift", "first", "last", "resting")

    def __init__(self, first: int, last: int, shift: int, root: Tree, resting: int, deadlines: Deadlines) -> None:
        self.first, self.last, self._shift, self._root = first, last, shift, root
        self.resting, self._deadlines = resting, deadlines

    @classmethod
    def of(cls, first: int, last: int) -> AddressPool:
        """Make a pool with every address free. Raises ValueError when the range is empty."""
        return cls.of_leaves(first, last, ())

    @classmethod
    def of_leaves(
        cls, first: int, last: int, leaves: Iterable[tuple[int, int]], *, resting: int = 0, deadlines: Iterable[Due] = ()
    ) -> AddressPool:
        """Make the pool that has these `leaves()`, `resting` and `deadlines()`, each in any order: O(leaves + deadlines).

        Raises ValueError for what no pool has: an empty range, a leaf or bit outside it, a leaf twice, a deadline of a free
        address or two of one, more resting addresses than deadlines.
        """
        if last < first:
            raise ValueError(f"empty range {first}..{last}; the last address is the first one or comes after it")
        given, due = sorted(leaves), sorted(deadlines)
        _check_leaves(last - first + 1, given)
        root, shift = blank(last - first + 1)
        pool = cls(first, last, shift, filled(root, shift, given), resting, Deadlines.of(due))
        _check_deadlines(pool, due)
        return pool

    @property
    def size(self) -> int:
        """Number of addresses in the range."""
        return self.last - self.first + 1

    @property
    def held(self) -> int:
        """Number of addresses that are used or reserved."""
        return self.size - self._root[1] - self.resting

    @property
    def free(self) -> int:
        """Number of addresses that can be had; resting ones are free."""
        return self._root[1] + self.resting

    def __contains__(self, ip: int) -> bool:
        return self.first <= ip <= self.last

    def is_taken(self, ip: int) -> bool:
        """Whether an address of the range is held or resting."""
        index = ip - self.first
        return not leaf(self._root, self._shift, index) >> (index & (LEAF - 1)) & 1

    def hold(self, ip: int, *, until: float | None = None) -> AddressPool:
        """Take a free address of the range; with `until` (seconds of the epoch) it is due then. ValueError if taken."""
        root, deadlines = self._flipped(ip, -1), self._deadlines
        return self._with(root, self.resting, deadlines if until is None else deadlines.added((until, ip)))

    def rest(self, ip: int, *, until: float) -> AddressPool:
        """Let a free address rest until then (seconds of the epoch). ValueError if taken."""
        return self._with(self._flipped(ip, -1), self.resting + 1, self._deadlines.added((until, ip)))

    def release(self, ip: int, *, resting: bool = False, until: float | None = None) -> AddressPool:
        """Give back an address that was held, or with `resting` one that rested; `until` as it was taken with.

        ValueError if it is not taken, or was not taken so.
        """
        root, deadlines = self._flipped(ip, 1), self._deadlines
        if not (self.resting if resting else self.held):
            raise ValueError(f"address {ip} is not {'resting' if resting else 'held'}: none of {self.first}..{self.last} is")
        return self._with(root, self.resting - resting, deadlines if until is None else deadlines.removed((until, ip)))

    def take(self, direction: Direction, *, random: Callable[[int], int]) -> tuple[int, AddressPool] | None:
        """Choose and hold an address in one step; None when there is none. For those who need nothing in between."""
        for index in self._candidates(direction, random):
            root = flipped(self._root, self._shift, index, -1)
            if root is not None:
                return self.first + index, self._with(root, self.resting, self._deadlines)
        return None

    def choose(self, direction: Direction, *, random: Callable[[int], int]) -> int | None:
        """Choose a free address that does not rest; None when there is none.

        `random(n)` gives a uniform int in 0..n-1; `random` as direction is uniform over what is free.
        """
        for index in self._candidates(direction, random):
            if not self.is_taken(self.first + index):
                return self.first + index
        return None

    @property
    def is_timed(self) -> bool:
        """Whether any address is due at some time."""
        return bool(self._deadlines)

    def due(self, now: float) -> Iterator[int]:
        """Addresses whose time is up, in that order: expired reservations and those that have rested enough."""
        return (ip for _, ip in takewhile(lambda entry: entry[0] <= now, self._deadlines))

    def deadlines(self) -> Iterator[Due]:
        """What was taken with `until`: pairs of that time and the address, in order."""
        return iter(self._deadlines)

    def leaves(self) -> Iterator[tuple[int, int]]:
        """The leaves with a taken address, in order: pairs of index and bits.

        Bit n of leaf i, set: the address `first` + 4,096 * i + n is held or resting.
        """
        for index, free in touched_leaves(self._root, self._shift):
            bits = _within(self.size, index) ^ free
            if bits:
                yield index, bits

    def _candidates(self, direction: Direction, random: Callable[[int], int]) -> Iterable[int]:
        """Indexes of which the first that is free is the choice; none when nothing is free."""
        if not self._root[0]:
            return ()
        match direction:
            case "stepdown":
                return (highest(self._root),)
            case "stepup":
                return (lowest(self._root),)
            case "random":
                return self._draws(random)

    def _draws(self, random: Callable[[int], int]) -> Iterator[int]:
        # A draw that may miss costs a tenth of a choice by rank, so it is tried first unless most would miss.
        free, size = self._root[1], self.size
        if free * 8 >= size:
            for _ in range(_RANDOM_TRIES):
                yield random(size)
        yield select(self._root, random(free))

    def _flipped(self, ip: int, step: int) -> Tree:
        root = flipped(self._root, self._shift, ip - self.first, step) if ip in self else None
        if root is None:
            state = ("taken" if step < 0 else "free") if ip in self else "outside"
            wanted = "take a free" if step < 0 else "release a taken"
            raise ValueError(f"address {ip} is {state}; {wanted} one of {self.first}..{self.last}")
        return root

    def _with(self, root: Tree, resting: int, deadlines: Deadlines) -> AddressPool:
        return AddressPool(self.first, self.last, self._shift, root, resting, deadlines)


def _within(size: int, index: int) -> int:
    """The bits of a leaf that are among the first `size` addresses."""
    return (1 << max(0, min(LEAF, size - (index << LEAF_BITS)))) - 1


def _check_leaves(size: int, leaves: list[tuple[int, int]]) -> None:
    for (index, _), (other, _) in pairwise(leaves):
        if index == other:
            raise ValueError(f"leaf {index} is there twice; give each leaf once")
    for index, bits in leaves:
        if index < 0 or bits & ~_within(size, index):  # a negative int has bits beyond any bound
            raise ValueError(f"leaf {index} has bits {bits:#x}, not all of them among the {size} addresses of the range")


def _check_deadlines(pool: AddressPool, due: list[Due]) -> None:
    for until, ip in due:
        if ip not in pool or not pool.is_taken(ip) or until != until:
            raise ValueError(f"address {ip} until {until}: give seconds of the epoch, and an address that is taken")
    if len({ip for _, ip in due}) < len(due):
        raise ValueError("an address has two deadlines; give one at most")
    if not 0 <= pool.resting <= len(due):
        raise ValueError(f"{pool.resting} resting addresses, {len(due)} deadlines; each resting address has one")
