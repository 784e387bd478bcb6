"""The one module that starts programs: argument lists, never a shell; a failure is a DataplaneError with the tool's words."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from vipnet.errors import DataplaneError

__all__ = ["run", "spawn"]


def run(argv: Sequence[str], *, stdin: str | None = None, timeout: float = 30.0, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its outcome, output as text.

    Raises DataplaneError when it is missing, runs longer than `timeout` seconds or, with `check`, exits other than 0.
    """
    try:
        done = subprocess.run(list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise DataplaneError(f"program {argv[0]!r} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise DataplaneError(f"{' '.join(argv)} gave no answer within {timeout:g} s") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[0]
        raise DataplaneError(f"{' '.join(argv)} exited {done.returncode}, saying: {said}")
    return done


def spawn(argv: Sequence[str], *, log: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and leave it running; `log` is the file descriptor for what it prints."""
    return subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
