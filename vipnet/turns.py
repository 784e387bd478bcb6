"""A lock that is given on in turn."""

from __future__ import annotations

import threading
from types import TracebackType

__all__ = ["Turns"]


class Turns:
    """A reentrant lock for a `with` block: who lets go and comes again at once does not overtake who waits.

    Python's own locks let it, so that a thread that does one verb after the other would keep a repair waiting for seconds on a
    busy machine.
    """

    __slots__ = ("_depth", "_lock", "_owner", "_turn")

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lock = threading.RLock()
        self._owner = 0
        self._depth = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        """Wait for it, or say whether it could be had at once; who has it already has it at once."""
        if self._owner == threading.get_ident():
            got = self._lock.acquire(blocking=blocking)
        elif got := self._turn.acquire(blocking=blocking):
            try:  # who is next waits here with the turn in hand
                got = self._lock.acquire(blocking=blocking)
            finally:
                self._turn.release()
        if got:
            self._owner = threading.get_ident()
            self._depth += 1
        return got

    def release(self) -> None:
        """Let go, once for each time that it was taken."""
        self._depth -= 1
        if self._depth == 0:
            self._owner = 0
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
