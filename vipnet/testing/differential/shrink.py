"""A disagreement made small: fewer steps, and the one packet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from vipnet.testing.differential.case import Ask, Case, Step, Together, Verb
from vipnet.testing.differential.disagreement import DisagreementError

__all__ = ["Attempt", "shrunk"]

Attempt: TypeAlias = Callable[[Case], tuple[Case, DisagreementError | None]]
"""Runs a case; returns what of it was done, and the disagreement that ended it."""

_Atom: TypeAlias = tuple[int, Step]
"""A verb or another step, with the number of the step that it is part of."""


def shrunk(case: Case, error: DisagreementError, attempt: Attempt, *, seconds: float = 90.0) -> tuple[Case, DisagreementError]:
    """Return a case that ends in a disagreement about the same thing, with as few steps as can be found in time.

    `case` is what was done until `error`.
    """
    best, until = _Best(case, error), time.monotonic() + seconds
    if error.question is not None:
        alone = [step for step in case.steps if not isinstance(step, Ask)]
        if not best.offer(alone, attempt):  # it takes packets before it
            best.offer(case.steps[:-1], attempt)
    size = max(1, len(best.atoms) // 2)
    while time.monotonic() < until:
        start, is_less = 0, False
        while start < len(best.atoms) and time.monotonic() < until:
            kept = [*best.atoms[:start], *best.atoms[start + size :]]
            if best.offer(_joined(kept), attempt):
                is_less = True
            else:
                start += size
        if size == 1 and not is_less:
            break
        size = max(1, size // 2)
    return best.case, best.error


class _Best:
    """The smallest case so far; its last step is the question, if it is about one."""

    def __init__(self, case: Case, error: DisagreementError) -> None:
        self.case, self.error = case, error

    @property
    def atoms(self) -> list[_Atom]:
        """What may be left out."""
        steps = self.case.steps if self.error.question is None else self.case.steps[:-1]
        return [
            (number, part)
            for number, step in enumerate(steps)
            for part in (step.verbs if isinstance(step, Together) else (step,))
        ]

    def offer(self, steps: Sequence[Step], attempt: Attempt) -> bool:
        """Take these steps, and the question after them, if they still end in a disagreement about the same."""
        question = self.error.question
        last = () if question is None else (Ask((question,)),)
        done, error = attempt(self.case.with_steps((*steps, *last)))
        if error is None or (error.about, error.question) != (self.error.about, question):
            return False
        self.case, self.error = done, error
        return True


def _joined(atoms: Sequence[_Atom]) -> list[Step]:
    """Steps again: verbs of one transaction together."""
    steps: list[Step] = []
    numbers = [number for number, _ in atoms]
    for number in dict.fromkeys(numbers):
        parts = [part for other, part in atoms if other == number]
        verbs = tuple(part for part in parts if isinstance(part, Verb))
        steps += parts if len(parts) == 1 else [Together(verbs)]
    return steps
