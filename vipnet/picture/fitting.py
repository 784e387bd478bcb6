"""How much fits: columns of a text, what a drawing shows of a long list and how many it leaves out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["columns", "folded", "more"]

T = TypeVar("T")


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: a wide character two, a combining one none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def folded(items: Sequence[T], most: int) -> tuple[Sequence[T], int]:
    """The first items and how many are left out; never one alone, whose place the remark would take."""
    if len(items) <= most:
        return items, 0
    return items[: most - 1], len(items) - most + 1


def more(count: int, word: str) -> str:
    """The remark on what is left out."""
    return f"… {count} more {word}"
