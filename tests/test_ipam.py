"""The pool against a plain dict, random against what uniform means, and a pool that is put together from its parts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vipnet.ipam import AddressPool, Direction

DIRECTIONS: tuple[Direction, ...] = ("stepdown", "stepup", "random")
LEAF = 4096
NODE = 16 * LEAF
"""The addresses below one node above the leaves."""


def taken_but(first: int, last: int, free: Iterable[int]) -> AddressPool:
    """A pool with everything held but these addresses."""
    size, spare = last - first + 1, {ip - first for ip in free}
    leaves = [(at // LEAF, (1 << min(LEAF, size - at)) - 1) for at in range(0, size, LEAF)]
    pool = AddressPool.of_leaves(first, last, leaves)
    for index in spare:
        pool = pool.release(first + index)
    return pool


def rebuilt(pool: AddressPool) -> AddressPool:
    parts = random.Random(1)
    leaves, deadlines = list(pool.leaves()), list(pool.deadlines())
    parts.shuffle(leaves)
    parts.shuffle(deadlines)
    return AddressPool.of_leaves(pool.first, pool.last, leaves, resting=pool.resting, deadlines=deadlines)


def behaviour(pool: AddressPool) -> object:
    """All that can be told of a pool without changing it; draws go by rank through every level's counts."""
    chance = random.Random(1)
    ends = [pool.choose(direction, random=chance.randrange) for direction in DIRECTIONS[:2]]
    draws = [pool.choose("random", random=chance.randrange) for _ in range(20)]
    counts = (pool.first, pool.last, pool.size, pool.held, pool.resting, pool.free)
    return counts, ends, draws, list(pool.leaves()), list(pool.deadlines())


class PoolMachine(RuleBasedStateMachine):
    """Every change on a pool and on a dict of what is taken: address -> (whether it rests, until)."""

    taken: dict[int, tuple[bool, float | None]]
    pool: AddressPool

    @initialize(
        first=st.sampled_from([0, 1, 10 << 24, 0x20010DB8 << 96]),
        size=st.sampled_from([1, 2, 3, LEAF - 1, LEAF, LEAF + 1, 9000, NODE, NODE + 1, NODE + LEAF + 7]),
        full=st.booleans(),
        seed=st.integers(0, 2**32),
    )
    def begin(self, first: int, size: int, full: bool, seed: int) -> None:
        self.chance = random.Random(seed)
        self.every = range(first, first + size)
        spare = self.chance.sample(self.every, min(size, 3))
        self.pool = taken_but(first, first + size - 1, spare) if full else AddressPool.of(first, first + size - 1)
        self.taken = dict.fromkeys(self.every, (False, None)) if full else {}
        for ip in spare:
            self.taken.pop(ip, None)
        self.touched = [first, first + size - 1, *spare]
        self.kept: list[tuple[AddressPool, object]] = []

    def some(self, number: int) -> int:
        """An address that something happened to before, one beside it, or any."""
        if number % 3 == 0:
            return self.chance.choice(self.every)
        ip = self.touched[number % len(self.touched)] + number % 2
        return ip if ip in self.every else self.every[0]

    def note(self, ip: int) -> None:
        self.touched.append(ip)

    @rule(number=st.integers(0, 1000), until=st.none() | st.integers(0, 9).map(float), rests=st.booleans())
    def take_designated(self, number: int, until: float | None, rests: bool) -> None:
        ip = self.some(number)
        if rests and until is None:
            until = 5.5
        if ip in self.taken:
            with pytest.raises(ValueError, match=f"address {ip} is taken; take a free one of"):
                self.pool.hold(ip, until=until)
            return
        self.pool = self.pool.rest(ip, until=until) if rests and until is not None else self.pool.hold(ip, until=until)
        self.taken[ip] = (rests, until)
        self.note(ip)

    @rule(number=st.integers(0, 1000))
    def give_back(self, number: int) -> None:
        ip = self.some(number)
        if ip not in self.taken:
            with pytest.raises(ValueError, match=f"address {ip} is free; release a taken one of"):
                self.pool.release(ip)
            return
        rests, until = self.taken.pop(ip)
        self.pool = self.pool.release(ip, resting=rests, until=until)
        self.note(ip)

    @rule(now=st.integers(0, 9).map(float))
    def purge(self, now: float) -> None:
        due = list(self.pool.due(now))
        ripe = [(until, ip) for ip, (_, until) in self.taken.items() if until is not None and until <= now]
        assert due == [ip for _, ip in sorted(ripe)]
        for ip in due:
            rests, until = self.taken.pop(ip)
            self.pool = self.pool.release(ip, resting=rests, until=until)

    @rule(direction=st.sampled_from(DIRECTIONS), in_one=st.booleans())
    def take_automatic(self, direction: Direction, in_one: bool) -> None:
        if in_one:
            given = self.pool.take(direction, random=self.chance.randrange)
            ip, self.pool = given if given is not None else (None, self.pool)
        else:
            ip = self.pool.choose(direction, random=self.chance.randrange)
            self.pool = self.pool.hold(ip) if ip is not None else self.pool
        free = (ip for ip in (reversed(self.every) if direction == "stepdown" else self.every) if ip not in self.taken)
        first = next(free, None)
        assert (ip is None) == (first is None)
        if ip is None:
            return
        assert ip not in self.taken
        assert ip in self.every
        assert direction == "random" or ip == first
        self.taken[ip] = (False, None)
        self.note(ip)

    @rule()
    def from_parts(self) -> None:
        whole = rebuilt(self.pool)
        assert behaviour(whole) == behaviour(self.pool)
        self.pool = whole

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def keep(self) -> None:
        self.kept.append((self.pool, behaviour(self.pool)))

    @invariant()
    def counts_and_addresses_agree(self) -> None:
        if not hasattr(self, "every"):
            return
        resting = sum(rests for rests, _ in self.taken.values())
        assert (self.pool.size, self.pool.resting) == (len(self.every), resting)
        assert (self.pool.held, self.pool.free) == (len(self.taken) - resting, len(self.every) - len(self.taken) + resting)
        for ip in self.touched[-4:]:
            assert self.pool.is_taken(ip) == (ip in self.taken)
            index, bit = divmod(ip - self.every[0], LEAF)
            assert bool(dict(self.pool.leaves()).get(index, 0) >> bit & 1) == (ip in self.taken)

    def teardown(self) -> None:
        if not hasattr(self, "every"):
            return
        first = self.every[0]
        bits = {first + LEAF * index + n for index, leaf in self.pool.leaves() for n in range(LEAF) if leaf >> n & 1}
        assert bits == self.taken.keys()
        for old, before in self.kept:
            assert behaviour(old) == before


PoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestPool = PoolMachine.TestCase


def chi_square(pool: AddressPool, free: list[int], draws: int, seed: int) -> float:
    chance = random.Random(seed)
    drawn = Counter(pool.choose("random", random=chance.randrange) for _ in range(draws))
    assert drawn.keys() <= set(free)
    expected = draws / len(free)
    return sum((drawn[ip] - expected) ** 2 / expected for ip in free)


LAST_64 = 0x20010DB8 << 96 | (1 << 64) - 1
UNIFORM = {
    "small and empty, by draws": (AddressPool.of(10, 109), list(range(10, 110))),
    "half full, by draws": (taken_but(0, 199, range(0, 200, 2)), list(range(0, 200, 2))),
    "nearly full, by rank": (taken_but(5, 1004, range(905, 1005)), list(range(905, 1005))),
    "by rank, across a border of leaves": (
        taken_but(0, 3 * LEAF, range(LEAF - 70, LEAF + 30)),
        list(range(LEAF - 70, LEAF + 30)),
    ),
    "by rank, across a border of nodes": (taken_but(0, 2 * NODE, range(NODE - 30, NODE + 70)), list(range(NODE - 30, NODE + 70))),
    "by rank, both ends": (
        taken_but(0, NODE + 9, [*range(50), *range(NODE - 40, NODE + 10)]),
        [*range(50), *range(NODE - 40, NODE + 10)],
    ),
}


@pytest.mark.parametrize("case", UNIFORM)
def test_random_is_uniform_over_what_is_free(case: str) -> None:
    pool, free = UNIFORM[case]
    # 99 degrees of freedom: uniform draws stay below 148.2 999 times in a thousand; these seeds are among them for good.
    assert len(free) == 100
    assert chi_square(pool, free, 20_000, seed=7) < 148.2


def test_random_over_an_ipv6_slash_64_is_uniform_in_both_halves_of_every_bit() -> None:
    chance = random.Random(3)
    pool = AddressPool.of(LAST_64 - 2**64 + 1, LAST_64)
    draws = [pool.choose("random", random=chance.randrange) for _ in range(2000)]
    ones = [sum((ip or 0) >> bit & 1 for ip in draws) for bit in range(64)]
    assert all(850 < count < 1150 for count in ones)


def test_full_leaves_of_a_slash_8_are_passed_over() -> None:
    size, full = 1 << 24, (1 << LEAF) - 1
    lonely = 7_654_321
    pool = AddressPool.of_leaves(0, size - 1, [(leaf, full) for leaf in (0, lonely // LEAF, 4094, 4095)])
    assert pool.choose("stepup", random=random.randrange) == LEAF
    assert pool.choose("stepdown", random=random.randrange) == 4094 * LEAF - 1
    pool = pool.release(lonely)
    assert not pool.is_taken(lonely)
    assert pool.is_taken(lonely - 1)


@pytest.mark.parametrize("lonely", [0, 1, LEAF - 1, LEAF, 12_345_678, 2**24 - 2, 2**24 - 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_last_free_address_of_a_slash_8_is_found(direction: Direction, lonely: int) -> None:
    base = 10 << 24
    pool = taken_but(base, base + 2**24 - 1, [base + lonely])
    given = pool.take(direction, random=random.Random(1).randrange)
    assert given is not None
    assert given[0] == base + lonely
    assert given[1].take(direction, random=random.randrange) is None
    assert given[1].choose(direction, random=random.randrange) is None


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_address(direction: Direction) -> None:
    pool = AddressPool.of(9, 9)
    assert pool.choose(direction, random=random.randrange) == 9
    assert pool.hold(9).choose(direction, random=random.randrange) is None


@pytest.mark.parametrize("bits", [64, 80, 128])
def test_an_ipv6_range_has_both_ends(bits: int) -> None:
    first, last = 2, 2**bits - 3
    pool = AddressPool.of(first, last)
    assert pool.size == 2**bits - 4
    assert pool.choose("stepup", random=random.randrange) == first
    assert pool.choose("stepdown", random=random.randrange) == last
    pool = pool.hold(first).hold(last)
    assert pool.choose("stepup", random=random.randrange) == first + 1
    assert pool.choose("stepdown", random=random.randrange) == last - 1
    assert list(pool.leaves()) == [(0, 1), ((last - first) // LEAF, 1 << (last - first) % LEAF)]
    assert behaviour(rebuilt(pool)) == behaviour(pool)


def test_resting_is_passed_over_but_free_and_due_in_time() -> None:
    pool = AddressPool.of(10, 12).rest(12, until=50.0).hold(10, until=40.0)
    assert (pool.held, pool.resting, pool.free) == (1, 1, 2)
    assert pool.choose("stepdown", random=random.randrange) == 11
    assert list(pool.due(39.0)) == []
    assert list(pool.due(50.0)) == [10, 12]
    assert list(pool.deadlines()) == [(40.0, 10), (50.0, 12)]
    assert pool.release(12, resting=True, until=50.0).choose("stepdown", random=random.randrange) == 12


def test_an_old_pool_is_untouched_by_what_follows() -> None:
    old = AddressPool.of(0, 9999)
    new = old.hold(9999)
    assert (old.choose("stepdown", random=random.randrange), new.choose("stepdown", random=random.randrange)) == (9999, 9998)


@pytest.mark.parametrize(("verb", "ip"), [("hold", 1), ("hold", 99), ("hold", -1), ("rest", 1), ("release", 2), ("release", 99)])
def test_misuse_is_an_error(verb: str, ip: int) -> None:
    pool = AddressPool.of(0, 9).hold(1)
    with pytest.raises(ValueError, match=f"address {ip} is .* one of 0..9"):
        pool.rest(ip, until=1.0) if verb == "rest" else getattr(pool, verb)(ip)


def test_what_was_not_taken_so_is_not_given_back_so() -> None:
    pool = AddressPool.of(0, 9).hold(1, until=4.0)
    with pytest.raises(ValueError, match=r"address 1 was not taken until 5\.0"):
        pool.release(1, until=5.0)
    with pytest.raises(ValueError, match="address 1 is not resting"):
        pool.release(1, resting=True, until=4.0)
    with pytest.raises(ValueError, match="address 2 is not held"):
        AddressPool.of(0, 9).rest(2, until=4.0).release(2)
    with pytest.raises(ValueError, match="address 2 until nan"):
        pool.rest(2, until=float("nan"))


def test_an_empty_range_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"empty range 5\.\.4"):
        AddressPool.of(5, 4)


@pytest.mark.parametrize(
    ("leaves", "resting", "deadlines", "said"),
    [
        ([(0, 1), (0, 2)], 0, [], "leaf 0 is there twice"),
        ([(1, 1 << 904)], 0, [], "leaf 1 has bits"),
        ([(2, 1)], 0, [], "leaf 2 has bits"),
        ([(-1, 1)], 0, [], "leaf -1 has bits"),
        ([(0, 1 << LEAF)], 0, [], "leaf 0 has bits"),
        ([(0, -1)], 0, [], "leaf 0 has bits"),
        ([(0, 1)], 0, [(1.0, 1)], "address 1 until 1.0: "),
        ([(0, 1)], 0, [(1.0, 5000)], "address 5000 until 1.0: "),
        ([(0, 1)], 0, [(float("nan"), 0)], "address 0 until nan: "),
        ([(0, 1)], 0, [(1.0, 0), (2.0, 0)], "two deadlines"),
        ([(0, 1)], 1, [], "1 resting addresses, 0 deadlines"),
        ([(0, 1)], -1, [], "-1 resting addresses, 0 deadlines"),
    ],
)
def test_parts_of_no_pool_are_an_error(
    leaves: list[tuple[int, int]], resting: int, deadlines: list[tuple[float, int]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        AddressPool.of_leaves(0, 4999, leaves, resting=resting, deadlines=deadlines)
