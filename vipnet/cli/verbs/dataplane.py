"""The commands of the data plane."""

from __future__ import annotations

from vipnet.cli import actions, benchmarks, shapes, watching
from vipnet.cli.declare import Section, action, flag, many, number, read, required, text

__all__ = ["DATA_PLANE"]

DATA_PLANE = Section(
    "Data plane",
    (
        action(
            "plan",
            actions.plan,
            shapes.planned,
            "Show the difference between the stored state and the data plane.",
            "plan --check",
            flag("--check", "exit with 4 when there is any"),
        ),
        action(
            "apply",
            actions.apply,
            shapes.applied,
            "Program the stored state into the data plane.",
            "apply --audit",
            flag("--audit", "read everything back"),
        ),
        read("status", "status", "Show what is stored, programmed, pending and adrift.", "status"),
        action(
            "trace",
            actions.trace,
            shapes.traced,
            "Follow a packet through the model and the data plane, stage by stage; send nothing.",
            "trace --from external --dst 203.0.113.100 --proto tcp --dport 80",
            required("--from", "SERVER", "where the packet starts: a server, or external, beyond the uplinks"),
            text("--src", "IP", "source address (default: the server's own; from external some public one)"),
            text("--dst", "IP", "destination address (of 112 by default VRRP's group)"),
            text("--proto", "tcp|udp|icmp|arp|112", "protocol; arp is neighbour discovery too, 112 is VRRP (default tcp)"),
            number("--sport", "PORT", "source port of tcp or udp"),
            number("--dport", "PORT", "destination port of tcp or udp"),
        ),
        action(
            "watch",
            watching.watch,
            shapes.seen,
            "Repair what others change and report events, one a line, until TERM or INT.",
            "watch",
            notes=watching.NOTES,
        ),
        action(
            "backends", actions.backends, shapes.installed, "List the installed backends and whether they work here.", "backends"
        ),
        action(
            "demo",
            actions.demo,
            shapes.demonstrated,
            "Run the worked example with real packets, in namespaces of its own.",
            "demo --keep",
            text("--backend", "NAME", "the backend to show"),
            flag("--keep", "leave it running, to look around"),
            flag("--down", "take down what --keep left"),
        ),
        action(
            "bench",
            benchmarks.bench,
            shapes.measured,
            "Measure vipnet beside nft, iptables, ovs-ofctl and others on this machine (from a checkout, as root).",
            "bench --only pure.import",
            text("--profile", "quick|full", "how much of it (default quick: under ten minutes)"),
            text("--only", "NAME,...", "scenarios, by commas"),
            many("--backend", "NAME", "pure, nftables, iptables, ovs, packets or failover"),
            many("--scale", "N", "scales of those of the profile, such as 10k (default: all)"),
            many("--peer", "NAME", "whom to measure beside vipnet (default: all)"),
            text("--json", "FILE", "where records are kept, the report beside them; a run that was interrupted goes on"),
            text("--compare", "FILE", "records of an earlier run: say what got slower, and exit with 1"),
            text("--minutes", "N", "how long it may take"),
        ),
    ),
)
