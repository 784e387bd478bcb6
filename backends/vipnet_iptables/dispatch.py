"""Which chain a frame goes on in, by the name of its device: a list, or a tree of prefixes of names where that would be long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

__all__ = ["dispatch"]

_MOST: Final = 16
"""Rules in a chain, where names can be told apart by another character."""


def dispatch(root: str, targets: Mapping[str, str], words: Callable[[str], str]) -> dict[str, Sequence[str]]:
    """Chains that lead to the targets of devices; a function of these alone.

    `words` are the match of a device, or of all that begin alike if it ends in `+`; targets are what rules say after it.
    """
    return dict(_chains(root, "", sorted(targets), targets, words))


def _chains(
    chain: str, known: str, devices: Sequence[str], targets: Mapping[str, str], words: Callable[[str], str]
) -> Iterator[tuple[str, Sequence[str]]]:
    if len(devices) <= _MOST:
        yield chain, [f"{words(device)} {targets[device]}" for device in devices]
        return
    prefix = _common(devices[0], devices[-1])
    groups: dict[str, list[str]] = defaultdict(list)
    for device in devices:
        groups[device[: len(prefix) + 1]].append(device)
    root = chain.removesuffix(f"-{known}") if known else chain
    rules = list[str]()
    below = list[tuple[str, list[str]]]()
    for start, some in groups.items():
        if len(some) == 1:
            rules.append(f"{words(some[0])} {targets[some[0]]}")
        else:
            rules.append(f"{words(start + '+')} -j {root}-{start}")
            below.append((start, some))
    yield chain, rules
    for start, some in below:
        yield from _chains(f"{root}-{start}", start, some, targets, words)


def _common(one: str, other: str) -> str:
    """How two names begin alike; of a sorted list, all names do if the first and the last do."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return one[:same]
