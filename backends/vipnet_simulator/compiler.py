"""One intent, one entry, in the same order; so the entries of a set are the union of each one's."""

from __future__ import annotations

from collections.abc import Iterable

from vipnet.intents import Intent
from vipnet_simulator.entry import Installed, SimulatorEntry

__all__ = ["compile_intents"]


def compile_intents(intents: Iterable[Intent]) -> dict[str, SimulatorEntry]:
    """Wrap each intent under its own id."""
    return {intent.id: Installed(intent) for intent in intents}
