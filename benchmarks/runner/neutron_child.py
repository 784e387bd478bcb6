"""Neutron's IptablesManager at work in a namespace; the standard library and Neutron alone, for its own virtual environment.

    python neutron_child.py NAMESPACE

For each line of standard input, `FIRST LAST`, it adds the rules of these EIPs, `LAST` not included, and applies; then it prints
a line of JSON: the seconds that took, and how many lines the restore program was given.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any, Final

_NAME: Final = "bench-l3-agent"
_LIMIT: Final = "-m hashlimit --hashlimit-above 1250016b/s --hashlimit-mode {mode} --hashlimit-name bench-{name} -j DROP"


def manager(namespace: str) -> Any:
    """An IptablesManager that runs its programs itself, without rootwrap and without a privsep daemon: this is root."""
    import_module("oslo_config.cfg").CONF([], project="neutron")
    import_module("neutron.privileged").default.set_client_mode(False)
    kind = import_module("neutron.agent.linux.iptables_manager").IptablesManager
    made = kind(namespace=namespace, binary_name=_NAME, external_lock=False)
    mangle = made.ipv4["mangle"]
    for name, mode in (("in", "dstip"), ("out", "srcip")):
        mangle.add_chain(f"limit-{name}")
        mangle.add_rule(f"limit-{name}", _LIMIT.format(mode=mode, name=name))
    made.apply()
    return made


def add(made: Any, number: int) -> None:
    """Add the rules of one EIP: a floating IP's as Neutron has them, and a limit and a counter each way as vipnet has them."""
    tail = f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
    eip, vip, owner = f"20.{tail}", f"10.{tail}", f"-m comment --comment {number:012x}"
    nat, mangle = made.ipv4["nat"], made.ipv4["mangle"]
    nat.add_rule("PREROUTING", f"-d {eip}/32 -j DNAT --to-destination {vip}")
    nat.add_rule("OUTPUT", f"-d {eip}/32 -j DNAT --to-destination {vip}")
    nat.add_rule("float-snat", f"-s {vip}/32 -j SNAT --to-source {eip}")
    mangle.add_rule("PREROUTING", f"-d {eip}/32 -j $limit-in")
    mangle.add_rule("PREROUTING", f"-d {eip}/32 {owner} -j RETURN")
    mangle.add_rule("POSTROUTING", f"-s {vip}/32 -j $limit-out")
    mangle.add_rule("POSTROUTING", f"-s {vip}/32 {owner} -j RETURN")


def main() -> None:
    """Do what standard input says."""
    made = manager(sys.argv[1])
    for line in sys.stdin:
        first, last = map(int, line.split())
        begun = time.perf_counter()
        for number in range(first, last):
            add(made, number)
        lines = made.apply()
        print(json.dumps({"took": time.perf_counter() - begun, "lines": len(lines)}), flush=True)


if __name__ == "__main__":
    main()
