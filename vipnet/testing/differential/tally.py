"""What a run has done and seen, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from vipnet.intents import Intent
from vipnet.packets import Dropped
from vipnet.testing.differential.case import Question, Together, Verb
from vipnet.testing.differential.oracle import Expectation

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts over all cases. `restricted` packets were not asked, `resent` ones sent again."""

    cases: int = 0
    verbs: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    intents: Counter[str] = field(default_factory=Counter[str])
    delivered: Counter[str] = field(default_factory=Counter[str])
    dropped: Counter[str] = field(default_factory=Counter[str])
    restricted: int = 0
    resent: int = 0
    _number: int = 0

    @property
    def operations(self) -> int:
        return self.verbs.total()

    @property
    def packets(self) -> int:
        return self.delivered.total() + self.dropped.total()

    def next_number(self) -> int:
        """A number that no packet has had."""
        self._number += 1
        return self._number

    def note_verb(self, step: Verb | Together, intents: Iterable[Intent], *, refused: bool) -> None:
        """Count the verbs of a step, and the kinds of what is installed after it."""
        self.verbs.update(verb.path for verb in (step.verbs if isinstance(step, Together) else (step,)))
        self.refused += refused
        self.intents.update({type(intent).__name__ for intent in intents})

    def note_packet(self, question: Question, expected: Expectation) -> None:
        """Count a packet by its protocol, or by why it was dropped."""
        if isinstance(expected.verdict, Dropped):
            self.dropped[expected.verdict.reason] += 1
        else:
            self.delivered[question.proto] += 1

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.cases} cases, {self.operations} operations ({self.refused} refused)",
                f"  {self.packets} packets ({self.restricted} not comparable, {self.resent} sent again)",
                f"  operations: {_listed(self.verbs)}",
                f"  delivered {self.delivered.total()}: {_listed(self.delivered)}",
                f"  dropped {self.dropped.total()}: {_listed(self.dropped)}",
                f"  intents in force after an operation: {_listed(self.intents)}",
            )
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
