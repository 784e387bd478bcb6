"""Deadlines against a sorted list, through splits and empty nodes."""

from __future__ import annotations

import random
from bisect import insort

import pytest

from vipnet.deadlines import Deadlines, Due


@pytest.mark.parametrize("order", ["rising", "falling", "mixed", "equal times"])
@pytest.mark.parametrize("bulk", [False, True])
def test_they_agree_with_a_sorted_list(order: str, bulk: bool) -> None:
    chance = random.Random(order)
    entries: list[Due] = [(0.0 if order == "equal times" else ip / 4, ip) for ip in range(6000)]
    if order != "rising":
        entries.reverse() if order == "falling" else chance.shuffle(entries)
    known = sorted(entries[:5000]) if bulk else []
    deadlines = Deadlines.of(entries[:5000] if bulk else [])
    for entry in entries[len(known) :]:
        deadlines = deadlines.added(entry)
        insort(known, entry)
    assert list(deadlines) == known
    full = deadlines
    chance.shuffle(entries)
    for entry in entries[:5990]:
        deadlines = deadlines.removed(entry)
        known.remove(entry)
        if len(known) % 500 == 0:
            assert list(deadlines) == known
    assert list(deadlines) == known
    for entry in entries[:3000]:
        deadlines = deadlines.added(entry)
    assert list(deadlines) == sorted(entries[:3000] + known)
    for entry in list(deadlines):
        deadlines = deadlines.removed(entry)
    assert list(deadlines) == []
    assert list(deadlines.added((1.0, 1))) == [(1.0, 1)]
    assert len(list(full)) == 6000


@pytest.mark.parametrize("entry", [(0.5, 1), (-1.0, 0), (1e9, 0)])
@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_what_is_not_there_cannot_go(entry: Due, count: int) -> None:
    deadlines = Deadlines.of((float(ip), ip) for ip in range(count))
    with pytest.raises(ValueError, match=f"address {entry[1]} was not taken until {entry[0]}"):
        deadlines.removed(entry)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="address 1 until nan: that is no time"):
        Deadlines.of([]).added((float("nan"), 1))
