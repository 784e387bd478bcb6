"""One verb at a time on a model of N mapped EIPs: what does a change cost, and does it grow with N?"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from vipnet.controller import Controller

SCALES = {"100": 100, "1k": 1_000, "10k": 10_000, "100k": 100_000}
REPEATS = 300


def fill(cloud: Controller, count: int) -> float:
    """Make a VPC with `count` groups, each with a VIP and an EIP, in one transaction; return the seconds it took."""
    begun = time.perf_counter()
    with cloud.transaction() as tx:
        tx.vpcs.create("v", "10.0.0.0/8")
        tx.networks.create("n", "10.0.0.0/12", vpc="v")
        tx.networks.create("pub", "20.0.0.0/12", server_type="eip")
        for number in range(count):
            tx.groups.create(f"g{number}")
            tx.groups.attach_network(f"g{number}", network_id="n")
            tx.groups.create_eip(f"g{number}", bandwidth=10)
    return time.perf_counter() - begun


def timed(verb: Callable[[int], object]) -> dict[str, float]:
    """Call a verb REPEATS times; median, 99th percentile and worst in microseconds."""
    times: list[float] = []
    for number in range(REPEATS):
        begun = time.perf_counter()
        verb(number)
        times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    return {"p50": round(times[REPEATS // 2], 1), "p99": round(times[REPEATS * 99 // 100], 1), "worst": round(times[-1], 1)}


def main() -> None:
    """Print one JSON line a verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="10k")
    scale = parser.parse_args().scale
    with Controller.open(store="memory:", backend="simulator") as cloud:
        print(json.dumps({"scale": scale, "what": "fill", "seconds": round(fill(cloud, SCALES[scale]), 3)}))
        cloud.settle()
        verbs: dict[str, Callable[[int], object]] = {
            "create group": lambda number: cloud.groups.create(f"x{number}"),
            "attach VIP": lambda number: cloud.groups.attach_network(f"x{number}", network_id="n"),
            "create EIP": lambda number: cloud.groups.create_eip(f"x{number}", bandwidth=3),
            "dissociate EIP": lambda number: cloud.groups.dissociate_eip(f"x{number}", auto_delete=True),
        }
        for what, verb in verbs.items():
            print(json.dumps({"scale": scale, "what": what, "microseconds": timed(verb)}))


if __name__ == "__main__":
    main()
