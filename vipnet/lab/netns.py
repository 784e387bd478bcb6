"""Named network namespaces, and running a function inside one. Source: ip-netns(8), setns(2)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from vipnet.errors import DataplaneError
from vipnet.process import run

__all__ = ["add", "call_in", "delete", "ip", "names"]

T = TypeVar("T")

_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def names() -> list[str]:
    """Names of all named network namespaces of the machine, sorted."""
    return sorted(path.name for path in _FOLDER.iterdir()) if _FOLDER.is_dir() else []


def add(name: str) -> None:
    """Make a network namespace; its loopback is up. Raises DataplaneError when it cannot be made."""
    run(["ip", "netns", "add", name])
    ip(name, ["link set lo up"])


def delete(name: str) -> None:
    """Remove a network namespace if it is there. Interfaces in it vanish a little later (the kernel cleans up by itself)."""
    if (_FOLDER / name).exists():
        run(["ip", "netns", "del", name], check=False)


def ip(netns: str, lines: Sequence[str]) -> None:
    """Run lines of `ip` in a namespace, one process for all. Raises DataplaneError at the first that fails."""
    run(["ip", "-n", netns, "-batch", "-"], stdin="\n".join(lines) + "\n")


def call_in(netns: str, function: Callable[[], T]) -> T:
    """Return what `function` returns in a thread of its own that has entered the namespace; its exceptions come out here.

    Sockets opened in it stay in that namespace and may be used anywhere.
    """
    future: Future[T] = Future()
    thread = threading.Thread(target=_enter_and_call, args=(netns, function, future), name=f"in {netns}", daemon=True)
    thread.start()
    thread.join()
    return future.result()


def _enter_and_call(netns: str, function: Callable[[], T], future: Future[T]) -> None:
    try:
        _enter(netns)
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
        future.set_exception(error)


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(_FOLDER / netns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DataplaneError(f"network namespace {netns} does not exist") from error
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise DataplaneError(f"network namespace {netns} cannot be entered: {os.strerror(ctypes.get_errno())}")
        wanted, got = os.fstat(descriptor).st_ino, Path("/proc/thread-self/ns/net").stat().st_ino
        if wanted != got:
            raise DataplaneError(f"network namespace {netns} was not entered")
    finally:
        os.close(descriptor)
