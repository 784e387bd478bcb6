"""What one command takes, a process each, on a store with so many mapped EIPs: start to end, as an operator waits for it."""

from __future__ import annotations

import argparse
import gc
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_topology import SCALES, Shape, fill

from vipnet.controller import Controller

READS = (
    "vpc-list", "network-list", "network-show n0", "server-show s7", "server-list --ip-addr 10.0.0.9", "instancegroup-show g7",
    "instancegroup-list --server s7", "groupguest-list --group g7", "groupnetwork-list --group g7", "eip-show eip-for-grp-g7",
    "network-why-not n0 10.0.0.9", "keepalived-config g7 {member}", "status", "plan", "apply",
)  # fmt: skip
VERBS = (
    "server-create new --net n0", "instancegroup-create new", "instancegroup-bind-guests new --guest new",
    "instancegroup-attachnetwork new", "instancegroup-create-eip new --bandwidth 3", "eip-change-bandwidth eip-for-grp-g8 4",
    "instancegroup-dissociate-eip g9", "instancegroup-associate-eip g9 --eip-id eip-for-grp-g9",
    "network-reserve-ip n0 notes 10.0.0.77", "network-release-reserved-ip n0 10.0.0.77",
    "network-update n0 --alloc-policy stepup", "instancegroup-dissociate-eip new --auto-delete",
    "instancegroup-unbind-guests new --guest new", "instancegroup-delete new", "server-delete new",
)  # fmt: skip
WHOLE = ("instancegroup-list", "eip-list", "export", "topology-show", "plan --check", "apply --audit")


def make(path: Path, groups: int) -> None:
    """Fill a store by verbs."""
    gc.disable()  # a process that only fills a store
    with Controller.open(store=f"sqlite:///{path}", backend="simulator") as cloud, cloud.transaction() as tx:
        fill(tx, Shape(groups))


def timed(store: Path, command: str, repeats: int) -> dict[str, object]:
    """Run a command as a process; seconds, median of `repeats`, and what it was."""
    words = [sys.executable, "-m", "vipnet", "--store", f"sqlite:///{store}", "-o", "json", *shlex.split(command)]
    times: list[float] = []
    printed = b""
    for _ in range(repeats):
        begun = time.perf_counter()
        done = subprocess.run(words, capture_output=True, check=False)
        times.append(time.perf_counter() - begun)
        printed = done.stdout
        if done.returncode:
            return {"command": command, "failed": done.stderr.decode()[-300:]}
    return {"command": command, "seconds": round(statistics.median(times), 3), "printed_kb": len(printed) // 1024}


def member(store: Path) -> str:
    """Who is in group g7."""
    words = [sys.executable, "-m", "vipnet", "--store", f"sqlite:///{store}", "-o", "json", "groupguest-list", "--group", "g7"]
    return str(json.loads(subprocess.run(words, capture_output=True, check=True).stdout)[0]["server"])


def main() -> None:
    """Print one JSON line a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="10k")
    parser.add_argument("--store", type=Path, help="keep the store in this file, or use the one that is there")
    parser.add_argument("--whole", action="store_true", help="also the commands that print or compare everything")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "vipnet.db"
        if not store.exists():
            begun = time.perf_counter()
            make(store, SCALES[options.scale])
            print(json.dumps({"scale": options.scale, "filled_s": round(time.perf_counter() - begun, 1)}), flush=True)
        reads = [command.replace("{member}", member(store)) for command in READS]
        for commands, repeats in ((reads, 3), (VERBS, 1), (WHOLE if options.whole else (), 1)):
            for command in commands:
                print(json.dumps({"scale": options.scale, **timed(store.absolute(), command, repeats)}), flush=True)


if __name__ == "__main__":
    main()
