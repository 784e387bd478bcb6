"""A real pseudo-terminal for the command line, in process."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

import pytest

from vipnet.cli import main

__all__ = ["DUMB", "FORCED", "WELCOME", "environment", "on_a_terminal", "terminal"]

WELCOME = {"TERM": "xterm-256color"}
DUMB = {"TERM": "dumb"}
FORCED = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", **WELCOME}


@contextmanager
def terminal(columns: int) -> Generator[tuple[TextIO, list[bytes]], None, None]:
    """A terminal of this width, and what it has been sent when the block is over."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    sent: list[bytes] = []
    reader = threading.Thread(target=lambda: sent.extend(_chunks(leader)))
    reader.start()
    try:
        with os.fdopen(follower, "w", encoding="utf-8") as stream:
            yield stream, sent
    finally:
        reader.join()
        os.close(leader)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:  # how Linux says that the other end is closed
            return
        if not chunk:
            return
        yield chunk


@contextmanager
def environment(values: Mapping[str, str]) -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "LINES", "NO_COLOR", *FORCED):
            patch.delenv(name, raising=False)
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def on_a_terminal(words: Sequence[str], values: Mapping[str, str], columns: int = 120) -> str:
    """What a terminal is sent, to which both streams lead."""
    with environment(values), terminal(columns) as (stream, sent), redirect_stdout(stream), redirect_stderr(stream):
        main(words)
    return b"".join(sent).decode().replace("\r\n", "\n")
