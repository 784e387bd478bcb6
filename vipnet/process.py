"""The one module that starts programs: argument lists, no shell; failure is a DataplaneError with the tool's words."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vipnet.errors import DataplaneError
from vipnet.filelock import held

__all__ = ["kill", "missing", "run", "spawn", "start_time"]

_PIPE = subprocess.PIPE


def run(
    argv: Sequence[str], *, stdin: str | None = None, timeout: float = 30.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its outcome, output as text.

    Raises DataplaneError when it cannot be started, runs longer than `timeout` seconds or, with `check`, exits other than 0.
    The program has a session of its own, and on a timeout or an interrupt all of that session dies. It finds `stdin`
    whole from its start on: through a pipe, it would take for everything what had been written when we were killed.
    And it holds on to the locks that this thread has, so that nobody else begins before it has ended, should we be killed.
    """
    try:
        done = _ended(argv, stdin, timeout)
    except subprocess.TimeoutExpired as error:
        raise DataplaneError(f"{' '.join(argv)} gave no answer within {timeout:g} s") from error
    except OSError as error:  # no memory, no processes, no files left
        raise DataplaneError(f"program {argv[0]!r} cannot be started: {error.strerror}") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[0]
        raise DataplaneError(f"{' '.join(argv)} exited {done.returncode}, saying: {said}")
    return done


def spawn(
    argv: Sequence[str], *, log: int = subprocess.DEVNULL, pipes: bool = False, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and leave it running.

    `log` is the file descriptor for what it prints, `stdin` the one that it reads. With `pipes` its standard input and
    output are pipes of ours.
    """
    if pipes:
        return _start(argv, stdin=_PIPE, out=_PIPE, err=log)
    return _start(argv, stdin=stdin, out=log, err=log)


def missing(programs: Iterable[str]) -> list[str]:
    """Return those of `programs` that are not installed, looking also where Debian keeps system tools."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return [name for name in programs if shutil.which(name, path=path) is None]


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None: there is none. Tells a pid from its reuse (proc(5), stat)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def kill(pid: int, started: int) -> bool:
    """Kill the process `pid` if it is still the one that started then; say whether it was."""
    if start_time(pid) != started:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True


def _ended(argv: Sequence[str], stdin: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
    """A program from start to end: whatever is done by programs is done here. Raises TimeoutExpired."""
    with ExitStack() as stack:
        given = subprocess.DEVNULL if stdin is None else stack.enter_context(_held(stdin.encode()))
        out, err = (stack.enter_context(_file(name)) for name in ("stdout", "stderr"))
        program = stack.enter_context(_start(argv, stdin=given, out=out.fileno(), err=err.fileno(), keep=held()))
        try:
            _await(program, timeout)
        except BaseException:
            _kill_session(program)
            raise
        texts = (_content(file).decode(errors="replace") for file in (out, err))
        return subprocess.CompletedProcess(list(argv), program.returncode, *texts)


def _await(program: subprocess.Popen[bytes], timeout: float) -> None:
    """Wait for a program's end without asking again and again, as Popen.wait does. Raises TimeoutExpired."""
    number = os.pidfd_open(program.pid)
    try:
        ended = select.poll()
        ended.register(number, select.POLLIN)
        if not ended.poll(timeout * 1000):
            raise subprocess.TimeoutExpired(program.args, timeout)
        program.wait()
    finally:
        os.close(number)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _file(name: str) -> BinaryIO:
    """A file without a place but memory: unlike a pipe it is never full, and no grandchild keeps it open."""
    return os.fdopen(os.memfd_create(name), "w+b")


@contextmanager
def _held(content: bytes) -> Generator[int, None, None]:
    """A file descriptor that reads a content; it has no name, and no place but memory."""
    with _file("stdin") as file:
        file.write(content)
        file.seek(0)  # and flush
        yield file.fileno()


def _start(argv: Sequence[str], *, stdin: int, out: int, err: int, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603
            list(argv), stdin=stdin, stdout=out, stderr=err, start_new_session=True, pass_fds=keep
        )
    except FileNotFoundError as error:
        raise DataplaneError(f"program {argv[0]!r} is not installed") from error
    except PermissionError as error:
        raise DataplaneError(f"program {argv[0]!r} may not be run by this user") from error


def _kill_session(program: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
