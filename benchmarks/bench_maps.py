"""Which persistent map carries the model: memory, time of a change and of a look, and what a full garbage collection takes.

Each contestant has a process of its own and holds the same: `--scale` elastic IPs as the model has them, found by id, by
name and by VIP, so three entries each. Every change makes a new map and the old one stays valid; `dict` is there for
comparison, changed in place.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vipnet.model import Eip, Ip4

SCALES = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}
LOOKS = 100_000
Put = Callable[[Any, object, object], Any]


def _dict_put(map: Any, key: object, value: object) -> Any:
    map[key] = value
    return map


CONTESTANTS: dict[str, tuple[str, str, Put]] = {
    "immutables": ("immutables", "Map", lambda old, key, value: old.set(key, value)),
    "rpds": ("rpds", "HashTrieMap", lambda old, key, value: old.insert(key, value)),
    "pyrsistent": ("pyrsistent", "pmap", lambda old, key, value: old.set(key, value)),
    "dict": ("builtins", "dict", _dict_put),
}


def eips(count: int) -> list[Eip]:
    """EIPs with ids, names and VIPs of their own."""
    common = {"project": "default", "network_id": "pub", "bandwidth": 10, "bgp_type": "", "charge_type": "bandwidth"}
    return [
        Eip(id=f"{n:036x}", name=f"eip-{n}", ip=Ip4(n), vip_id=f"v{n:035x}", auto_dellocate=False, **common)  # type: ignore[arg-type]
        for n in range(count)
    ]


def measure(name: str, count: int) -> dict[str, object]:
    """Fill three maps, look, change, collect. Times in microseconds of CPU; bytes beyond the objects themselves."""
    module, kind, put = CONTESTANTS[name]
    things = eips(count)
    gc.collect()
    empty = getattr(importlib.import_module(module), kind)()
    before, begun = memory(), time.process_time()
    maps = [type(empty)() if name == "dict" else empty for _ in range(3)]
    for thing in things:
        maps = [put(map, key, thing) for map, key in zip(maps, keys(thing), strict=True)]
    filled = time.process_time() - begun
    weight = memory() - before
    step = max(1, count // LOOKS)
    some = things[::step]
    begun = time.process_time()
    for thing in some:
        maps[1].get(thing.name)
    looked = time.process_time() - begun
    changed = [timed(maps, replace(thing, bandwidth=7), put) for thing in some[:LOOKS]]
    begun = time.process_time()
    gc.collect()
    collected = time.process_time() - begun
    return {
        "bytes_each": round(weight / count),
        "fill_us": round(filled / count * 1e6, 2),
        "look_us": round(looked / len(some) * 1e6, 3),
        "change_us": round(statistics.median(changed), 2),
        "change_p99_us": round(sorted(changed)[len(changed) * 99 // 100], 2),
        "collection_s": round(collected, 3),
    }


def keys(thing: Eip) -> tuple[str, str, str | None]:
    """What an EIP is found by."""
    return thing.id, thing.name, thing.vip_id


def timed(maps: list[Any], thing: Eip, put: Put) -> float:
    """Put one changed object into the three maps, whose old state stays."""
    begun = time.perf_counter()
    for map, key in zip(maps, keys(thing), strict=True):
        put(map, key, thing)
    return (time.perf_counter() - begun) * 1e6


def memory() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Print one JSON line a contestant; one that is not installed is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="100k")
    parser.add_argument("--only", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, SCALES[options.scale])))
        return
    for name, (module, _, _) in CONTESTANTS.items():
        row: dict[str, object] = {"scale": options.scale, "map": name}
        if importlib.util.find_spec(module) is None:
            print(json.dumps(row | {"missing": f"pip install {name}"}), flush=True)
            continue
        command = [sys.executable, __file__, "--scale", options.scale, "--only", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(json.dumps(row | json.loads(done.stdout)), flush=True)


if __name__ == "__main__":
    main()
