"""Unix sockets, also where the path is longer than an address takes (107 octets, unix(7))."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

__all__ = ["connected"]

_LONGEST: Final = 107


def connected(path: Path) -> socket.socket:
    """A stream to a socket. Raises OSError."""
    opened = socket.socket(socket.AF_UNIX)
    try:
        if len(os.fsencode(path)) <= _LONGEST:
            opened.connect(str(path))
            return opened
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            opened.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except BaseException:
        opened.close()
        raise
    return opened
