"""A bar on stderr for what takes more than a second; nothing at all in a pipe, with -o json, or on a dumb terminal.

The library tells by a callback what it is at; the callback keeps the words and does nothing else. A thread that begins to draw
only after the second reads them ten times a second, so a command that is quick neither loads nor draws anything.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from vipnet.cli.settings import Settings
from vipnet.cli.terminal import has_colours, is_terminal, width

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from vipnet.operations.draft import Progress

__all__ = ["AFTER", "watched"]

AFTER = 1.0
"""Seconds after which somebody who waits wants to know."""


@contextmanager
def watched(settings: Settings) -> Generator[Progress | None, None, None]:
    """Show what the callback is told while the block runs, or hand out none where nobody looks."""
    if settings.output == "json" or not is_terminal(sys.stderr) or os.environ.get("TERM") in ("dumb", "unknown"):
        yield None
        return
    bar = _Bar(sys.stderr)
    timer = threading.Timer(AFTER, bar.show)
    timer.daemon = True
    timer.start()
    try:
        yield bar.tell
    finally:
        timer.cancel()
        bar.close()


class _Bar:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = time.monotonic()
        self._told = ("working", 0, 0)
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._closed = False

    def tell(self, stage: str, done: int = 0, total: int = 0, /) -> None:
        self._told = (stage, done, total)

    def show(self) -> None:
        with self._lock:
            if not self._closed:
                self._live = self._draw()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._live is not None:
                self._live.stop()

    def _draw(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(
            file=self._stream,
            force_terminal=True,
            color_system="auto" if has_colours(self._stream) else None,
            width=width(self._stream),
            height=25,
        )
        # Not redirected: what is printed meanwhile is printed by others, who look their stream up themselves.
        live = Live(
            console=console,
            get_renderable=self._line,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start(refresh=True)
        console.show_cursor(True)  # a command that is killed could not bring it back
        return live

    def _line(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        stage, done, total = self._told
        far = f"{done:,}/{total:,}" if total else f"{time.monotonic() - self._begun:.0f} s"
        line = Table.grid(padding=(0, 1))
        line.add_row(stage, ProgressBar(total=total or None, completed=done, width=24), far)
        return line
