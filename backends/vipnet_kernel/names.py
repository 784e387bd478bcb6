"""What may be handed to the kernel's tools as a name."""

from __future__ import annotations

import re

from vipnet.errors import DataplaneError

__all__ = ["check_device"]

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")


def check_device(name: str, *, of: str) -> str:
    """Return `name` if it can name an interface, else raise DataplaneError; `of` is the id of the intent that has it."""
    if _DEVICE.fullmatch(name) is None or name in (".", ".."):
        raise DataplaneError(f"{of} has the device {name!r}; a device name is 1-15 letters, digits, '.', '_' and '-'")
    return name
