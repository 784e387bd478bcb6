"""A whole cloud in one model: what a mapped EIP costs to build in one transaction, what it weighs, what one more verb costs."""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from vipnet.backend import BackendContext
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.plan import TargetPlan
from vipnet.store import MemoryStore
from vipnet.transaction import Transaction
from vipnet_simulator.driver import SimulatorBackend
from vipnet_simulator.entry import SimulatorEntry

SCALES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
MEMBERSHIPS = 20
REST = 50_000


class Forgetful(SimulatorBackend):
    """The simulator, but it keeps no entry: what is left in memory is the model."""

    def apply(self, step: TargetPlan[SimulatorEntry]) -> Mapping[str, str]:  # noqa: ARG002
        return {}


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of each: a server is a member of MEMBERSHIPS groups, a group has two members."""

    groups: int

    @property
    def servers(self) -> int:
        return self.groups * 2 // MEMBERSHIPS

    @property
    def networks(self) -> int:
        return max(1, self.groups // 1_000)

    @property
    def vpcs(self) -> int:
        return max(1, self.groups // 10_000)


def fill(tx: Transaction, shape: Shape, *, rest: Callable[[], object] = int) -> None:
    """Make the cloud by verbs: every group has two members, a VIP and an associated EIP. `rest` is called now and then."""
    tx.networks.create("pub", "20.0.0.0/12", server_type="eip")
    for vpc in range(shape.vpcs):
        tx.vpcs.create(f"v{vpc}", "10.0.0.0/8")
    for network in range(shape.networks):
        prefix = f"10.{network // shape.vpcs}.0.0/16"
        tx.networks.create(f"n{network}", prefix, vpc=f"v{network % shape.vpcs}")
    each = shape.servers // shape.networks
    for server in range(shape.servers):
        tx.servers.create(f"s{server}", nets=[f"n{server // each}"])
    for group in range(shape.groups):
        fill_group(tx, shape, group)
        if group % REST == REST - 1:
            rest()


def fill_group(tx: Transaction, shape: Shape, group: int) -> None:
    """One group with what belongs to it. Servers are spread so that two groups rarely have the same two members."""
    each = shape.servers // shape.networks
    home = group * shape.networks // shape.groups
    first, step = group % each, 1 + group // each % (each - 1)
    name = f"g{group}"
    tx.groups.create(name)
    tx.groups.bind_guests(name, guests=[f"s{home * each + first}", f"s{home * each + (first + step) % each}"])
    tx.groups.attach_network(name)
    tx.groups.create_eip(name, bandwidth=10)


def timed(verb: Callable[[int], object], numbers: Iterator[int], repeats: int) -> dict[str, float]:
    """Call a verb `repeats` times; microseconds of the median, the 99th percentile, the worst."""
    times: list[float] = []
    for _ in range(repeats):
        number = next(numbers)
        begun = time.perf_counter()
        verb(number)
        times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    return {"p50": round(times[repeats // 2], 1), "p99": round(times[repeats * 99 // 100], 1), "worst": round(times[-1], 1)}


def memory() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="10k")
    parser.add_argument("--repeats", type=int, default=2_500, help="calls of each of four verbs")
    parser.add_argument("--gc", choices=["as it is", "never", "settle"], default="as it is", help="while building")
    parser.add_argument("--backend", choices=["simulator", "none"], default="simulator", help="none: the model's weight alone")
    options = parser.parse_args()
    shape = Shape(SCALES[options.scale])

    def say(what: str, **figures: object) -> None:
        print(json.dumps({"scale": options.scale, "what": what, **figures}), flush=True)

    world = World(random=random.Random(1).randrange)
    backend = (Forgetful if options.backend == "none" else SimulatorBackend)(BackendContext())
    with Controller(config=Config(), store=MemoryStore(), backend=backend, world=world) as cloud:
        weight, begun, since = memory(), time.process_time(), time.perf_counter()
        if options.gc == "never":
            gc.disable()
        with cloud.transaction() as tx:
            fill(tx, shape, rest=cloud.settle if options.gc == "settle" else int)
            middle = time.process_time()
            say("verbs", cpu_us_each=round((middle - begun) / shape.groups * 1e6, 1), gc=options.gc)
        gc.enable()
        spent = time.process_time() - begun
        say("build", cpu_us_each=round(spent / shape.groups * 1e6, 1), seconds=round(time.perf_counter() - since, 1))
        begun = time.perf_counter()
        gc.collect()
        say("full garbage collection", seconds=round(time.perf_counter() - begun, 3))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        say("memory", bytes_each=round((memory() - weight) / shape.groups), peak_mb=peak)
        cloud.settle()
        numbers = random.Random(2).sample(range(shape.groups), min(shape.groups, 4 * options.repeats))
        verbs: dict[str, Callable[[int], object]] = {
            "dissociate EIP": lambda number: cloud.groups.dissociate_eip(f"g{number}", auto_delete=True),
            "create EIP": lambda number: cloud.groups.create_eip(f"g{number}", bandwidth=3),
            "change bandwidth": lambda number: cloud.eips.change_bandwidth(f"eip-for-grp-g{number}", 7),
            "create group": lambda number: cloud.groups.create(f"x{number}"),
        }
        for what, verb in verbs.items():
            say(what, microseconds=timed(verb, iter(numbers * 4), options.repeats))


if __name__ == "__main__":
    main()
