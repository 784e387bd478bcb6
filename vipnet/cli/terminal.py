"""What a stream can show: colours on a terminal only, and none where NO_COLOR or TERM=dumb says so."""

from __future__ import annotations

import os
from typing import TextIO

import click

__all__ = ["has_colours", "is_terminal", "painted", "painted_plan", "width"]

_ORDINARY = 80
_PLAN = {"  +": "green", "  ~": "yellow", "  -": "red"}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at it; FORCE_COLOR and its like make no terminal of a pipe."""
    return stream is not None and not stream.closed and stream.isatty()


def has_colours(stream: TextIO) -> bool:
    """Whether escape sequences are welcome."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def width(stream: TextIO) -> int:
    """The characters in a line of a terminal: COLUMNS, or what the terminal says, 80 if it says nothing."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _ORDINARY
    except (OSError, ValueError):
        return _ORDINARY


def painted(text: str, colour: str, stream: TextIO) -> str:
    """Return a text in a colour, where the stream has any."""
    return click.style(text, fg=colour) if has_colours(stream) else text


def painted_plan(text: str, stream: TextIO) -> str:
    """Return a plan with what comes, changes and goes in its colour, where the stream has any."""
    if not has_colours(stream):
        return text
    return "\n".join(click.style(line, fg=_PLAN[line[:3]]) if line[:3] in _PLAN else line for line in text.split("\n"))
