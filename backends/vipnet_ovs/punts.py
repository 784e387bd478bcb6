"""Why a packet is handed to vipnet: what a flow says in its `userdata`."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["Punt", "Reason"]


class Reason(IntEnum):
    """The first byte of userdata; without any, a packet had no hop left at an EIP."""

    CLAIM = 1
    """A member announces a VIP."""
    EXPIRED = 2
    """A server's packet has no hop left; the router's address follows, 4 or 16 bytes."""
    NEIGHBOUR = 3
    """Nobody knows the MAC of a neighbour on an uplink."""


class Punt(NamedTuple):
    """Userdata."""

    reason: Reason
    more: bytes = b""

    def encode(self) -> bytes:
        """As a flow has it."""
        return bytes([self.reason]) + self.more

    @classmethod
    def decode(cls, userdata: bytes) -> Punt | None:
        """From a packet; None: it is none of ours."""
        try:
            return cls(Reason(userdata[0]), userdata[1:]) if userdata else None
        except ValueError:
            return None
