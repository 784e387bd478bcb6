"""What a table has of ours, as a value, and the commands that make one such value another.

Rules are written as iptables-save prints them, so that what is read can be compared with what should be, as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final, Literal, NamedTuple

__all__ = ["MARK", "Chains", "Family", "Layout", "Section", "Table", "edits", "is_ours", "is_same"]

Family = Literal["ip", "ip6", "bridge", "arp"]

MARK: Final = "VIPNET-"
"""How the names of our chains begin."""

Chains = Mapping[str, Sequence[str]]
"""The rules of chains, by name."""

_LIMIT: Final = re.compile(r"-m hashlimit --hashlimit-above (\S+) (.*)")
_UNITS: Final = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_NEAR: Final = 0.01
"""A rate is printed rounded, to a unit that leaves four digits at most."""
_COST: Final = (1 << 32) - 1
"""In which hashlimit keeps a rate: so much a second, by 16 bytes at once."""


class Table(NamedTuple):
    """A table of a family."""

    family: Family
    name: str


@dataclass(slots=True)
class Layout:
    """What there is of ours in one table: chains, the policies that we set, and which of ours built-in chains jump to."""

    chains: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    policies: dict[str, str] = field(default_factory=dict[str, str])
    jumps: dict[str, str] = field(default_factory=dict[str, str])
    doubled: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Further jumps from built-in chains to ours, by which a packet would be counted twice."""


class Section(NamedTuple):
    """Commands for one table, which are carried out together or not at all."""

    table: Table
    lines: Sequence[str]


def is_ours(chain: str) -> bool:
    """Whether a chain is one of ours."""
    return chain.startswith(MARK)


def edits(
    family: Family, before: Layout, after: Layout, counted: Mapping[str, tuple[int, int]] | None = None
) -> Iterator[str]:
    """The commands that make one layout of a table another; what stays is not touched, and goes on counting.

    `counted`: from how many packets and bytes on a new rule counts.
    """
    started = counted or {}
    policy = "RETURN" if family == "bridge" else "- [0:0]"
    yield from (f":{chain} {policy}" for chain in sorted(after.chains.keys() - before.chains.keys()))
    counters = "" if family == "bridge" else " [0:0]"
    yield from (f":{chain} {now}{counters}" for chain, now in after.policies.items() if before.policies.get(chain) != now)
    for chain, rules in sorted(after.chains.items()):
        if (there := before.chains.get(chain)) is None:
            add = f"-A {chain} "
            yield from (_with(add + rule, started.get(rule)) for rule in rules) if started else [add + rule for rule in rules]
        elif there != rules:
            yield from _rewritten(family, chain, there, rules, started)
    yield from (f"-D {chain} -j {goes}" for chain, goes in before.doubled)
    yield from (f"-D {chain} -j {goes}" for chain, goes in before.jumps.items() if after.jumps.get(chain) != goes)
    yield from (f"-I {chain} 1 -j {comes}" for chain, comes in after.jumps.items() if before.jumps.get(chain) != comes)
    gone = [chain for chain in before.chains if chain not in after.chains]
    yield from (f"-F {chain}" for chain in gone)
    yield from (f"-X {chain}" for chain in gone)


def _rewritten(
    family: Family, chain: str, there: Sequence[str], rules: Sequence[str], started: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    # limits are printed rounded, and cannot be asked for so; arptables 1.8.9 does not find what it has printed
    if family == "arp" or any("-m hashlimit" in rule for rule in (*there, *rules)):
        yield f"-F {chain}"
        yield from (f"-A {chain} {rule}" for rule in rules)
        return
    changes = SequenceMatcher(None, there, rules, autojunk=False).get_opcodes()
    yield from (f"-D {chain} {rule}" for tag, i, j, _, _ in changes if tag != "equal" for rule in there[i:j])
    for tag, _, _, i, j in changes:
        if tag != "equal":
            verb = f"-A {chain}" if j == len(rules) else ""  # nothing need be looked up for that
            yield from (_with(f"{verb or f'-I {chain} {at + 1}'} {rules[at]}", started.get(rules[at])) for at in range(i, j))


def _with(line: str, counts: tuple[int, int] | None) -> str:
    return line if counts is None else f"{line} -c {counts[0]} {counts[1]}"


def is_same(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether rules that are listed are those that should be; rates are listed rounded."""
    return len(found) == len(wanted) and all(a == b or _is_near(a, b) for a, b in zip(found, wanted, strict=True))


def _is_near(found: str, wanted: str) -> bool:
    one, other = _LIMIT.fullmatch(found), _LIMIT.fullmatch(wanted)
    if one is None or other is None or one[2] != other[2]:
        return False
    cost = max(1, _COST // (int(_rate(other[1])) // 16 + 1))
    rate = (_COST // cost - 1) * 16
    return abs(_rate(one[1]) - rate) <= _NEAR * rate


def _rate(text: str) -> float:
    number = re.match(r"\d+", text)
    unit = text.removesuffix("/s").lstrip("0123456789")
    return int(number[0]) * _UNITS.get(unit, 0) if number else 0
