"""Completion of command lines by the shell: click knows the shells, the declarations of the commands know the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipnet.cli.output import show_text
from vipnet.cli.settings import Settings
from vipnet.cli.shapes import Script
from vipnet.errors import InputParameterError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["SHELLS", "VARIABLE", "answer", "candidates", "completion"]

SHELLS = ("bash", "zsh", "fish")
"""For which there is a script."""

VARIABLE = "_VIPNET_COMPLETE"
"""By which a script tells the console script to complete, not to run."""


def completion(settings: Settings, shell: str) -> int:
    """Print the script with which a shell completes command lines of vipnet."""
    from click.shell_completion import get_completion_class

    from vipnet.cli.program import program

    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise InputParameterError(f"shell {shell!r} is not known; use one of {', '.join(SHELLS)}")
    asking = kind(program(), {}, "vipnet", VARIABLE)
    # Not source(): for bash it starts one to ask for its version, and this may be for another machine.
    script = asking.source_template % asking.source_vars()
    show_text(script, Script(shell=shell, script=script), output=settings.output)
    return 0


def answer(instruction: str) -> int:
    """Tell a shell what may come next, as its script asks through the environment; return the exit status."""
    from click.shell_completion import shell_complete

    from vipnet.cli.program import program

    return shell_complete(program(), {}, "vipnet", VARIABLE, instruction)


def candidates(metavar: str, incomplete: str) -> list[CompletionItem]:
    """What a value may be that is shown as `FILE` or `yes|no`; nothing is known of others."""
    from click.shell_completion import CompletionItem

    if metavar == "FILE":
        return [CompletionItem(incomplete, type="file")]
    words = metavar.split("|") if "|" in metavar else []
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
