"""Allocations a second from a /8, one address a call, a new immutable pool each, by direction and by how much is used."""

from __future__ import annotations

import json
import random
import time

from vipnet.ipam import AddressPool, Direction

CALLS = 50_000


def rate(pool: AddressPool, direction: Direction, seed: int) -> tuple[float, AddressPool]:
    """Take CALLS addresses; return allocations a second and the pool."""
    chance = random.Random(seed)
    begun = time.perf_counter()
    for _ in range(CALLS):
        taken = pool.take(direction, random=chance.randrange)
        assert taken is not None
        pool = taken[1]
    return CALLS / (time.perf_counter() - begun), pool


def main() -> None:
    """Print one JSON line a direction and fill."""
    directions: tuple[Direction, ...] = ("stepdown", "stepup", "random")
    for direction in directions:
        pool = AddressPool.of(0, (1 << 24) - 1)
        for used in range(0, 4 * CALLS, CALLS):
            speed, pool = rate(pool, direction, seed=used)
            print(json.dumps({"direction": direction, "used": used, "allocations_per_second": round(speed)}))


if __name__ == "__main__":
    main()
