"""The two ways in: `main` for callers in the process, `run` for the console."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vipnet.cli.completion import VARIABLE, answer
from vipnet.cli.output import BUG, report_bug, report_usage
from vipnet.cli.program import program

__all__ = ["main", "run"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit status.

    Raises nothing but KeyboardInterrupt; the statuses are listed in `vipnet --help`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    cli = program()
    try:
        # Not cli.main(): it may call sys.exit.
        with cli.make_context("vipnet", words) as context:
            return int(cli.invoke(context))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _usage(error)
    except SystemExit as stopped:  # a demo that was told to end, after it has cleaned up
        return stopped.code if isinstance(stopped.code, int) else BUG
    except BrokenPipeError:
        return 0  # the reader of --help has seen enough; commands look after their own output
    except Exception as error:  # noqa: BLE001 -- nothing but an exit status leaves the command line
        return report_bug(error, output="table")


def _usage(error: click.ClickException) -> int:
    text = io.StringIO()
    error.show(file=text)
    report_usage(text.getvalue())
    return error.exit_code


def run() -> NoReturn:
    """Run the process's own command line, or complete it for a shell that asks, and exit."""
    gc.set_threshold(100_000)  # one command on a large model makes many objects and next to no cycles
    try:
        status = answer(asked) if (asked := os.environ.get(VARIABLE)) else main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        status = 0
        # What is still buffered would be tried again, and complained about, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
