"""Native names and numbers, all derived from ids; and which are ours when read back."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from vipnet.model import short_id

__all__ = ["COOKIE_MASK", "LOST", "OURS", "cookie", "cookie_of_uplink", "digest", "is_ours", "mac_number", "uplink_id"]

OURS: Final = 0x766E << 48
COOKIE_MASK: Final = 0xFFFF << 48
"""The bits of a cookie by which a flow is ours, whatever vipnet made it."""

LOST: Final = 1 << 47
"""The bit of a cookie by which a counting flow says that it is not the first of its mapping."""

_FEWEST: Final = 1 << 16


def digest(id: str) -> int:
    """64 bits that stand for an id or a device in metadata and registers, never below 65,536.

    Among a million of them, two are equal with a chance of 3 in 100 million.
    """
    number = int.from_bytes(blake2b(id.encode(), digest_size=8).digest())
    return number if number >= _FEWEST else number + _FEWEST


def cookie(id: str) -> int:
    """The cookie of a flow about an object: ours, and 47 bits of its id."""
    return OURS | int(short_id(id), 16) & ~LOST


def is_ours(cookie: int) -> bool:
    """Whether a cookie is one of ours."""
    return cookie & COOKIE_MASK == OURS


def mac_number(mac: str) -> int:
    """A MAC address as a number."""
    return int(mac.replace(":", ""), 16)


def uplink_id(index: int) -> str:
    """An id for an uplink, in the form that others have."""
    return f"766e7570-{index:04x}-4000-8000-000000000000"


def cookie_of_uplink(index: int) -> int:
    """The cookie of a flow about an uplink."""
    return cookie(uplink_id(index))
