"""What it costs to give an address of a /8, by direction and by how many are used, beside netaddr's IPSet and a plain scan."""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Protocol

import netaddr

from vipnet.ipam import AddressPool, Direction

FIRST, SIZE = 10 << 24, 1 << 24
LAST = FIRST + SIZE - 1
DIRECTIONS: tuple[Direction, ...] = ("stepdown", "stepup", "random")
SCALES = (1_000, 100_000, 1_000_000)
RESTING = (1_000, 10_000, 100_000)
CALLS = 1_000
Row = dict[str, object]
Change = Callable[[AddressPool, int], AddressPool]


class TooSlowError(Exception):
    """A contestant did not end within its box of CPU time."""


class Contestant(Protocol):
    """Somebody who gives addresses of the /8 in one direction, when these are used."""

    def __init__(self, direction: Direction, used: Collection[int], chance: random.Random) -> None: ...
    def take(self) -> int: ...
    def give_back(self, ip: int) -> None: ...
    def has(self, ip: int) -> bool: ...


class Vipnet:
    """An immutable pool; every address that is given makes a new one."""

    def __init__(self, direction: Direction, used: Collection[int], chance: random.Random) -> None:
        self.direction: Direction = direction
        self.randrange = chance.randrange
        self.pool = pool_of(used)

    def take(self) -> int:
        taken = self.pool.take(self.direction, random=self.randrange)
        assert taken is not None
        self.pool = taken[1]
        return taken[0]

    def give_back(self, ip: int) -> None:
        self.pool = self.pool.release(ip)

    def has(self, ip: int) -> bool:
        return self.pool.is_taken(ip)


class Netaddr:
    """netaddr.IPSet of what is free, as IPAM programs keep it; changed in place, which is less work than a new value."""

    def __init__(self, direction: Direction, used: Collection[int], chance: random.Random) -> None:
        self.direction: Direction = direction
        self.randrange = chance.randrange
        self.free = netaddr.IPSet(list(_gaps(used)))

    def take(self) -> int:
        blocks: list[netaddr.IPNetwork] = self.free.iter_cidrs()
        match self.direction:
            case "stepdown":
                ip = blocks[-1].last
            case "stepup":
                ip = blocks[0].first
            case "random":
                ip = _ranked(blocks, self.randrange(sum(block.size for block in blocks)))
        self.free.remove(netaddr.IPAddress(ip))
        return ip

    def give_back(self, ip: int) -> None:
        self.free.add(netaddr.IPAddress(ip))

    def has(self, ip: int) -> bool:
        return netaddr.IPAddress(ip) not in self.free


class Scan:
    """From the end of the range on to the first address not in the set of used ones; random: five draws, then such a scan.

    It stands for controllers that read the used addresses from a database and look for a gap. It gets the set for nothing.
    """

    def __init__(self, direction: Direction, used: Collection[int], chance: random.Random) -> None:
        self.direction: Direction = direction
        self.randrange = chance.randrange
        self.used = set(used)

    def take(self) -> int:
        ip = self._gap()
        self.used.add(ip)
        return ip

    def _gap(self) -> int:
        if self.direction == "random":
            for _ in range(5):
                ip = FIRST + self.randrange(SIZE)
                if ip not in self.used:
                    return ip
        every = range(LAST, FIRST - 1, -1) if self.direction == "stepdown" else range(FIRST, LAST + 1)
        return next(ip for ip in every if ip not in self.used)

    def give_back(self, ip: int) -> None:
        self.used.discard(ip)

    def has(self, ip: int) -> bool:
        return ip in self.used


CONTESTANTS: dict[str, type[Contestant]] = {"vipnet": Vipnet, "netaddr.IPSet": Netaddr, "scan": Scan}


def pool_of(used: Collection[int]) -> AddressPool:
    """The pool of the /8 with these addresses held."""
    leaves: dict[int, int] = {}
    for ip in used:
        index = ip - FIRST
        leaves[index >> 12] = leaves.get(index >> 12, 0) | 1 << (index & 4095)
    return AddressPool.of_leaves(FIRST, LAST, leaves.items())


def _gaps(used: Collection[int]) -> Iterator[netaddr.IPNetwork]:
    begin = FIRST
    for ip in [*sorted(used), LAST + 1]:
        if ip > begin:
            yield from netaddr.IPRange(begin, ip - 1).cidrs()
        begin = ip + 1


def _ranked(blocks: Sequence[netaddr.IPNetwork], rank: int) -> int:
    for block in blocks:
        if rank < block.size:
            return block.first + rank
        rank -= block.size
    raise AssertionError("rank beyond what is free")


def filling(direction: Direction, count: int, chance: random.Random) -> Collection[int]:
    """The addresses that are used after `count` calls in that direction."""
    match direction:
        case "stepdown":
            return range(LAST - count + 1, LAST + 1)
        case "stepup":
            return range(FIRST, FIRST + count)
        case "random":
            return set(chance.sample(range(FIRST, LAST + 1), count))


@contextmanager
def box(seconds: float) -> Generator[None]:
    """Raise TooSlowError in what takes more CPU time."""

    def ring(_signal: int, _frame: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def cpu_us(work: Callable[[], object], calls: int) -> float:
    """Microseconds of CPU a call, over so many calls."""
    begun = time.thread_time()  # the process's own clock ticks coarsely while a time box is armed
    for _ in range(calls):
        work()
    return (time.thread_time() - begun) / calls * 1e6


def spread(times: list[float], calls: int) -> Row:
    """What is said of repeated measurements."""
    low, high = min(times), max(times)
    middle = statistics.median(times)
    return {"us": round(middle, 2), "us_min": round(low, 2), "us_max": round(high, 2), "repeats": len(times), "calls": calls}


class Lane:
    """One contestant at one point: built, warmed up and measured inside its time box, or too slow for it."""

    def __init__(self, name: str, direction: Direction, used: Collection[int], seed: int, seconds: float, repeats: int) -> None:
        self.name, self.direction, self.used = name, direction, used
        self.times: list[float] = []
        self.calls, self.seconds, self.stuck = 1, seconds, "while its state was built"
        try:
            with box(seconds):
                self.contestant = CONTESTANTS[name](direction, used, random.Random(f"{seed} draws"))
                self.stuck = "in its first calls"
                once = max(self.once(calls) for calls in (1, 3))
            self.calls = max(1, min(CALLS, SIZE - len(used), int(seconds / repeats / once * 1e6)))
            self.stuck = ""
        except TooSlowError:
            self.times = []

    def once(self, calls: int) -> float:
        """Take addresses, see that they are right, give them back; microseconds of CPU that taking one took."""
        calls = min(calls, SIZE - len(self.used))
        given: list[int] = []
        took = cpu_us(lambda: given.append(self.contestant.take()), calls)
        match self.direction:
            case "stepdown" if isinstance(self.used, range):
                assert given == list(range(self.used[0] - 1, self.used[0] - 1 - calls, -1))
            case "stepup" if isinstance(self.used, range):
                assert given == list(range(self.used[-1] + 1, self.used[-1] + 1 + calls))
            case _:
                assert all(FIRST <= ip <= LAST and ip not in self.used for ip in given)
                assert len(set(given)) == calls
        assert all(self.contestant.has(ip) for ip in given)
        for ip in given:
            self.contestant.give_back(ip)
        return took

    def repeat(self) -> None:
        """Measure once more, unless that leaves the time box."""
        if self.stuck:
            return
        try:
            with box(self.seconds):
                self.times.append(self.once(self.calls))
        except TooSlowError:
            self.stuck = "in a repetition"

    def said(self) -> Row:
        row: Row = {"contestant": self.name}
        if self.stuck:
            return row | {"us": None, "too_slow": f"not within {self.seconds:g} s of CPU {self.stuck}"}
        return row | spread(self.times, self.calls)


def side_by_side(lanes: list[Lane], repeats: int, about: Row) -> Iterator[Row]:
    """Measure contestants in turns; a row each, with how many times vipnet's time it took."""
    for _ in range(repeats):
        for lane in lanes:
            lane.repeat()
    ours = statistics.median(lanes[0].times)
    for lane in lanes:
        row = about | lane.said()
        yield row if lane.stuck else row | {"times_vipnet": round(statistics.median(lane.times) / ours, 2)}


def take(options: argparse.Namespace) -> Iterator[Row]:
    """Give one address a call when 1k, 100k, 1M are used, and whether that costs the same."""
    for direction in DIRECTIONS:
        medians: list[float] = []
        for count in SCALES:
            used = filling(direction, count, random.Random(f"{options.seed} used"))
            lanes = [Lane(name, direction, used, options.seed, options.box, options.repeats) for name in CONTESTANTS]
            yield from side_by_side(lanes, options.repeats, {"scenario": "take", "direction": direction, "used": count})
            medians.append(statistics.median(lanes[0].times))
        growth = round(medians[-1] / medians[0], 2)
        yield {"scenario": "take", "direction": direction, "contestant": "vipnet", "time_at_1M_by_time_at_1k": growth}


def last(options: argparse.Namespace) -> Iterator[Row]:
    """Find the only free address of the /8, wherever it is."""
    chance = random.Random(options.seed)
    for direction in DIRECTIONS:
        times: list[float] = []
        for _ in range(options.repeats):
            lonely = FIRST + chance.randrange(SIZE)
            leaves = ((index, (1 << 4096) - 1) for index in range(SIZE >> 12))
            pool = AddressPool.of_leaves(FIRST, LAST, leaves).release(lonely)
            begun = time.thread_time()
            taken = pool.take(direction, random=chance.randrange)
            times.append((time.thread_time() - begun) * 1e6)
            assert taken is not None
            assert taken[0] == lonely
        yield {"scenario": "last", "direction": direction, "used": SIZE - 1, "contestant": "vipnet"} | spread(times, 1)


def rest(options: argparse.Namespace) -> Iterator[Row]:
    """Let an address rest, and give back the one that has rested longest or any, when 1k, 10k, 100k rest."""
    for count in RESTING:
        pool = AddressPool.of(FIRST, LAST)
        for at in range(count):
            pool = pool.rest(FIRST + 7 * at, until=float(at))
        for what, change in changes(count, random.Random(options.seed).sample(range(count), CALLS)).items():
            times = [cpu_us_of_changes(pool, change) for _ in range(options.repeats + 1)][1:]
            yield {"scenario": "rest", "what": what, "resting": count, "contestant": "vipnet"} | spread(times, CALLS)


def changes(count: int, order: list[int]) -> dict[str, Change]:
    """What is done to a pool of so many resting addresses, by its name: a function of the pool and of which call it is."""
    return {
        "rest": lambda pool, at: pool.rest(FIRST + 7 * at + 1, until=count + float(at)),
        "release longest": lambda pool, at: pool.release(FIRST + 7 * at, resting=True, until=float(at)),
        "release any": lambda pool, at: pool.release(FIRST + 7 * order[at], resting=True, until=float(order[at])),
    }


def cpu_us_of_changes(pool: AddressPool, change: Change) -> float:
    """Microseconds of CPU a change, over CALLS of them one after the other."""
    taken, begun = pool.held + pool.resting, time.thread_time()
    for at in range(CALLS):
        pool = change(pool, at)
    took = (time.thread_time() - begun) / CALLS * 1e6
    assert abs(pool.held + pool.resting - taken) == CALLS
    return took


def machine() -> Row:
    """How fast this machine is: CPU seconds of a loop of ten million additions."""
    total, begun = 0, time.thread_time()
    for number in range(10**7):
        total += number
    return {"scenario": "machine", "python": platform.python_version(), "loop_seconds": round(time.thread_time() - begun, 2)}


SCENARIOS = {"take": take, "last": last, "rest": rest}


def main() -> None:
    """Print JSON lines; without --json a line for people each, too, on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--box", type=float, default=10.0, help="CPU seconds that a contestant has at one point (default: 10)")
    parser.add_argument("--json", action="store_true", help="no lines for people")
    options = parser.parse_args()
    for name in options.scenario or SCENARIOS:
        for row in chain([machine()], SCENARIOS[name](options)):
            print(json.dumps(row), flush=True)
            if not options.json:
                print("  ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
