"""The differential test: a backend is given what the simulator is given, and must do to every packet what it does.

`Arena` runs cases; `vipnet.testing.differential.walk` draws them with Hypothesis, which vipnet itself does not need.
"""

from __future__ import annotations

from vipnet.testing.differential.arena import Arena
from vipnet.testing.differential.case import BEYOND, OUTSIDE, Announce, Ask, Case, Question, Together, Verb, script
from vipnet.testing.differential.disagreement import DisagreementError
from vipnet.testing.differential.pair import Pair
from vipnet.testing.differential.tally import Tally

__all__ = [
    "BEYOND",
    "OUTSIDE",
    "Announce",
    "Arena",
    "Ask",
    "Case",
    "DisagreementError",
    "Pair",
    "Question",
    "Tally",
    "Together",
    "Verb",
    "script",
]
