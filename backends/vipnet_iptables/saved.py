"""What iptables-save and ebtables-save print, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vipnet_iptables.tables import Family, Layout, Table, is_ours

__all__ = ["Listed", "parsed"]

_BY_NUMBER: Final = (
    (" -p vrrp ", " -p 112 "),
    (" --ip-proto vrrp ", " --ip-proto 112 "),
    (" --ip6-proto vrrp ", " --ip6-proto 112 "),
    (" --ip6-proto ipv6-icmp ", " --ip6-proto 58 "),
)
"""Protocols are printed by what /etc/protocols calls them, if there is one."""


@dataclass(slots=True)
class Listed:
    """A table as it is listed.

    `counts` are packets and bytes of rules of ours that have a comment, by comment.
    """

    layout: Layout = field(default_factory=Layout)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


def parsed(family: Family, text: str) -> dict[Table, Listed]:
    """The tables of a family. Of others' chains nothing is kept."""
    found: dict[Table, Listed] = {}
    table = Listed()
    for line in text.splitlines():
        match line[:1]:
            case "*":
                table = found.setdefault(Table(family, line[1:].strip()), Listed())
            case ":":
                _chain(table, line)
            case "-" | "[":
                _rule(table, line)
            case _:
                pass
    return found


def _chain(table: Listed, line: str) -> None:
    name, policy, *_ = line[1:].split()
    if is_ours(name):
        table.layout.chains[name] = []
    elif policy == "DROP":
        table.layout.policies[name] = policy


def _rule(table: Listed, line: str) -> None:
    counts, _, words = line.rpartition("] ") if line.startswith("[") else ("", "", line)
    _, chain, rule = words.split(" ", 2) if words.count(" ") > 1 else (*words.split(" "), "")
    if not is_ours(chain):
        target = rule.removeprefix("-j ")
        if is_ours(target) and chain in table.layout.jumps:
            table.layout.doubled.append((chain, target))
        elif is_ours(target):
            table.layout.jumps[chain] = target
        return
    if "vrrp" in rule or "ipv6-icmp" in rule:
        rule = _numbered(rule)
    rules = table.layout.chains.setdefault(chain, [])
    assert isinstance(rules, list)
    rules.append(rule)
    if counts and (at := rule.find("--comment ")) >= 0:
        packets, _, octets = counts[1:].partition(":")
        comment = rule[at + 10 :].partition(" ")[0].strip('"')
        table.counts[comment] = int(packets), int(octets)


def _numbered(rule: str) -> str:
    padded = f" {rule} "
    for name, number in _BY_NUMBER:
        padded = padded.replace(name, number)
    return padded.strip(" ")
