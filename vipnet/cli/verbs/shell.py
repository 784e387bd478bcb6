"""The commands for the shell."""

from __future__ import annotations

from vipnet.cli import completion, shapes
from vipnet.cli.declare import Section, action

__all__ = ["SHELL"]

SHELL = Section(
    "The shell",
    (
        action(
            "completion bash|zsh|fish",
            completion.completion,
            shapes.scripted,
            "Print the script that lets a shell complete commands, options and words.",
            "completion bash",
        ),
    ),
)
