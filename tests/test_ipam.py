"""The pool against a plain set."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipnet.ipam import AddressPool, Direction

DIRECTIONS: tuple[Direction, ...] = ("stepdown", "stepup", "random")


@given(
    first=st.integers(0, 2**32),
    size=st.sampled_from([1, 2, 3, 4095, 4096, 4097, 9000]),
    seed=st.integers(0, 2**32),
    prefill=st.floats(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_pool_agrees_with_a_set(first: int, size: int, seed: int, prefill: float) -> None:
    chance = random.Random(seed)
    every = range(first, first + size)
    used = set(chance.sample(every, int(size * prefill)))
    pool = AddressPool.of(first, first + size - 1)
    for ip in used:
        pool = pool.hold(ip)
    for _ in range(60):
        direction = chance.choice(DIRECTIONS)
        free = [ip for ip in every if ip not in used] if size < 5 else None
        chosen = pool.choose(direction, random=chance.randrange)
        if len(used) == size:
            assert chosen is None
            ip = chance.choice(sorted(used))
            used.discard(ip)
            pool = pool.release(ip)
            continue
        assert chosen is not None
        assert chosen in pool
        assert chosen not in used
        if free:
            assert chosen in free
        if direction == "stepdown":
            assert all(ip in used for ip in range(chosen + 1, first + size))
        if direction == "stepup":
            assert all(ip in used for ip in range(first, chosen))
        if chance.random() < 0.5:
            pool = pool.hold(chosen)
        else:
            taken = pool.take(direction, random=chance.randrange)
            assert taken is not None
            chosen, pool = taken
            assert chosen not in used
        used.add(chosen)
        assert (pool.held, pool.free) == (len(used), size - len(used))


def test_full_leaves_of_a_slash_8_are_passed_over() -> None:
    size = 1 << 24
    pool = AddressPool.of(0, size - 1)
    lonely = 7_654_321
    for leaf in (0, lonely // 4096, 4094, 4095):
        for ip in range(leaf * 4096, leaf * 4096 + 4096):
            pool = pool.hold(ip)
    assert pool.choose("stepup", random=random.randrange) == 4096
    assert pool.choose("stepdown", random=random.randrange) == 4094 * 4096 - 1
    pool = pool.release(lonely)
    assert not pool.is_taken(lonely)
    assert pool.is_taken(lonely - 1)


def test_the_last_free_address_is_found_in_every_direction() -> None:
    pool = AddressPool.of(0, 19_999)
    for ip in range(20_000):
        pool = pool.hold(ip) if ip != 12_345 else pool
    for direction in DIRECTIONS:
        assert pool.choose(direction, random=random.randrange) == 12_345


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_address(direction: Direction) -> None:
    pool = AddressPool.of(9, 9)
    assert pool.choose(direction, random=random.randrange) == 9
    assert pool.hold(9).choose(direction, random=random.randrange) is None


def test_random_is_uniform_over_what_is_free() -> None:
    chance = random.Random(5)
    pool = AddressPool.of(0, 9999)
    for ip in range(10_000):
        if ip % 2500:
            pool = pool.hold(ip)
    drawn = Counter(pool.choose("random", random=chance.randrange) for _ in range(4000))
    assert sorted(drawn) == [0, 2500, 5000, 7500]  # type: ignore[type-var]
    assert all(850 < count < 1150 for count in drawn.values())


def test_an_ipv6_slash_64_has_both_ends() -> None:
    first = 0x20010DB8 << 96
    pool = AddressPool.of(first + 2, first + 2**64 - 3)
    assert pool.choose("stepup", random=random.randrange) == first + 2
    assert pool.choose("stepdown", random=random.randrange) == first + 2**64 - 3
    assert pool.hold(first + 2).choose("stepup", random=random.randrange) == first + 3


def test_resting_is_passed_over_but_free_and_due_in_time() -> None:
    pool = AddressPool.of(10, 12).rest(12, until=50.0).hold(10, until=40.0)
    assert (pool.held, pool.resting, pool.free) == (1, 1, 2)
    assert pool.choose("stepdown", random=random.randrange) == 11
    assert list(pool.due(39.0)) == []
    assert list(pool.due(50.0)) == [10, 12]
    assert pool.release(12, resting=True, until=50.0).choose("stepdown", random=random.randrange) == 12


def test_an_old_pool_is_untouched_by_what_follows() -> None:
    old = AddressPool.of(0, 9999)
    new = old.hold(9999)
    assert (old.choose("stepdown", random=random.randrange), new.choose("stepdown", random=random.randrange)) == (9999, 9998)


@pytest.mark.parametrize(("verb", "ip"), [("hold", 1), ("hold", 99), ("rest", 1), ("release", 2)])
def test_misuse_is_an_error(verb: str, ip: int) -> None:
    pool = AddressPool.of(0, 9).hold(1)
    with pytest.raises(ValueError, match=f"address {ip} is"):
        pool.rest(ip, until=1.0) if verb == "rest" else getattr(pool, verb)(ip)
