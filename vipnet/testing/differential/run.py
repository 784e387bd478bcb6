"""A whole run: cases drawn by Hypothesis, the first disagreement made small and printed as a test. Needs hypothesis."""

from __future__ import annotations

from functools import partial
from typing import get_args

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from vipnet.intents import Intent
from vipnet.packets import Reason
from vipnet.registry import load_backend
from vipnet.testing.differential.arena import Arena, Meddle
from vipnet.testing.differential.case import Case, script
from vipnet.testing.differential.disagreement import DisagreementError
from vipnet.testing.differential.shrink import shrunk
from vipnet.testing.differential.tally import Tally
from vipnet.testing.differential.walk import cases

__all__ = ["check", "explained", "run", "unseen"]

_ALL_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much)


def run(arena: Arena, *, count: int, seed: int) -> Tally:
    """Run `count` cases of a seed, with IPv6 if the backend can.

    Raises AssertionError with a script that shows the first disagreement.
    """
    ipv6 = "ipv6" in load_backend(arena.backend).capabilities

    # Hypothesis would run a failing case hundreds of times to make it small; we know what may be left out.
    @seeded(seed)
    @settings(
        max_examples=count, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=_ALL_CHECKS
    )
    @given(case=cases(ipv6=ipv6))
    def each(case: Case) -> None:
        if found:  # the same case once more, for Hypothesis to be sure
            raise found[0]
        try:
            check(arena, case)
        except AssertionError as error:
            found.append(error)
            raise

    found: list[AssertionError] = []
    each()
    return arena.tally


def check(arena: Arena, case: Case) -> None:
    """Run one case. Raises AssertionError with a script that shows the disagreement that it ends in."""
    done, error = arena.outcome(case)
    if error is not None:
        raise AssertionError(explained(arena, done, error)) from error


def explained(arena: Arena, done: Case, error: DisagreementError, meddle: Meddle | None = None) -> str:
    """Make a disagreement small; say what it is, and print it as a test."""
    small, last = shrunk(done, error, partial(arena.outcome, meddle=meddle, patient=False))
    return f"{arena.backend} and the simulator do not agree.\n{last}\n\n{script(small, arena.backend)}"


def unseen(tally: Tally) -> list[str]:
    """Kinds of intents and reasons of drops that did not occur in a run."""
    kinds = {kind.__name__ for kind in get_args(Intent)}
    return sorted((kinds - tally.intents.keys()) | ({*get_args(Reason)} - tally.dropped.keys()))
