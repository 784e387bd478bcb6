"""What an EIP may send and receive, as meters of the switch count it."""

from __future__ import annotations

from typing import Final

__all__ = ["burst_of", "kbps_of", "rate_of"]

_BURST: Final = 0.2
"""Seconds of the rate that may pass at once: with much less a connection does not reach its rate, with much more it passes it."""


def kbps_of(rate: int) -> int:
    """A meter's rate, in 1000 bit/s, for Mbit/s of IP."""
    return rate * 1000


def burst_of(rate: int) -> int:
    """A meter's burst, in 1000 bits."""
    return max(1, round(kbps_of(rate) * _BURST))


def rate_of(kbps: int, burst: int) -> int:
    """The Mbit/s for which a meter was made; -1: for none."""
    rate = kbps // 1000
    return rate if (kbps_of(rate), burst_of(rate)) == (kbps, burst) else -1
