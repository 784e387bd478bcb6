"""Work on very many objects at once."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Keep Python's garbage collector from running meanwhile, in the whole process, if it is on.

    Each time the heap has grown by a quarter it walks all of it in search of cycles, of which reading a store or comparing
    everything with a data plane makes none: that would take longer than the work itself.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
