"""What draws the verbs of a walk: the draws, and what there is to choose from. Needs hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from vipnet.controller import Controller
from vipnet.testing.differential.case import Setting, Verb

__all__ = ["Hand", "a_verb", "if_"]

T = TypeVar("T")


class Hand:
    """Draws, for a cloud that changes."""

    def __init__(self, draw: st.DrawFn, cloud: Controller, setting: Setting, *, ipv6: bool) -> None:
        self._draw, self._cloud, self._setting, self._ipv6 = draw, cloud, setting, ipv6
        self._count = 0

    def _int(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    def _one(self, things: Sequence[T]) -> T | None:
        return self._draw(st.sampled_from(things)) if things else None

    def _all(self, kind: type[T]) -> list[T]:
        found: list[Any] = sorted(self._cloud.topology.all(kind), key=lambda thing: getattr(thing, "name", thing.id))  # type: ignore[type-var]
        return found

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _is_wild(self) -> bool:
        """Whether to choose without regard to what is possible."""
        return self._int(0, 7) == 0


def a_verb(path: str, *args: Any, **options: Any) -> Verb:
    """A verb as it is written."""
    return Verb(path, args, tuple(options.items()))


def if_(condition: bool, /, **options: Any) -> dict[str, Any]:
    """These options, or none."""
    return options if condition else {}
