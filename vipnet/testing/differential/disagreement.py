"""What a differential case can end in."""

from __future__ import annotations

from typing import Literal

from vipnet.testing.differential.case import Question

__all__ = ["DisagreementError"]


class DisagreementError(AssertionError):
    """The two do not agree: about a packet, about a verb, or about what is left of a cloud that was removed."""

    def __init__(self, about: Literal["packet", "verb", "rest"], text: str, question: Question | None = None) -> None:
        super().__init__(text)
        self.about = about
        self.question = question
