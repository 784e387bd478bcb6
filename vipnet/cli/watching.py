"""The command that does not end by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from vipnet.cli.actions import opened
from vipnet.cli.output import has_reader, show_line
from vipnet.cli.settings import Settings
from vipnet.errors import NotSupportedError
from vipnet.events import EVENTS, WatchEvent

__all__ = ["NOTES", "watch"]

NOTES = (
    "With the nftables backend nobody else can change the rules meanwhile, and what other processes do on the same store",
    "is programmed by the one that watches.",
    "Events:",
    *(f"  {word:<17} {meaning}" for word, meaning in EVENTS.items()),
)

_STEP = 0.2
"""Seconds after which a signal is seen: a handler that wakes a waiting thread up may meet it with its lock in hand."""


def watch(settings: Settings) -> int:
    """Watch until TERM or INT, or until nobody reads any more; print a line for each event."""
    if settings.dry_run:
        raise NotSupportedError("watch has no --dry-run: it repairs what it finds; `vipnet plan` shows what differs")
    enough: list[str] = []

    def report(event: WatchEvent) -> None:
        text = f"{event.time} {event.event:<17} {event.object}: {event.detail}"
        if not show_line(text, event, output=settings.output):
            enough.append("the reader is gone")

    with _ended_by(enough), opened(settings, by_key=False) as cloud, cloud.watch(report) as watching:
        while not enough and has_reader() and not watching.wait(_STEP):
            pass
    return 0


@contextmanager
def _ended_by(enough: list[str]) -> Generator[None, None, None]:
    """Note TERM and INT, instead of dying of them in the middle of a repair. Signals are the main thread's alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    def end(*_: object) -> None:
        enough.append("told to end")

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
