"""Network namespaces by name, as `ip netns` keeps them; a thread enters one and comes back.

Sockets stay in the namespace that they were opened in; a program started inside belongs to it; /proc/sys/net follows
the thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from vipnet.errors import DataplaneError

__all__ = ["entered", "exists", "identity", "listed", "number", "scratch"]

_CLONE_NEWNET = 0x40000000
_HOME = "/proc/thread-self/ns/net"
_FOLDER = Path("/run/netns")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare come with Python 3.12


@contextmanager
def entered(namespace: str) -> Generator[None]:
    """Be in the namespace of this name ("": stay) with the calling thread for the length of a `with` block.

    Raises DataplaneError when there is none.
    """
    if not namespace:
        yield
        return
    with _returning():
        _join(namespace)
        yield


@contextmanager
def scratch() -> Generator[None]:
    """Be in an empty namespace that nobody else sees and that vanishes with the `with` block."""
    with _returning():
        _checked(_libc().unshare(_CLONE_NEWNET), "a scratch namespace cannot be made")
        yield


def exists(namespace: str) -> bool:
    """Whether there is a namespace of this name; "" is always there."""
    return not namespace or (_FOLDER / namespace).exists()


def listed(pattern: re.Pattern[str]) -> list[str]:
    """Names of the namespaces that match whole, sorted."""
    try:
        names = os.listdir(_FOLDER)  # noqa: PTH208 (names are what is wanted)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if pattern.fullmatch(name))


def number(namespace: str) -> int:
    """The kernel's number of a namespace that exists: another one of the same name has another."""
    return (_FOLDER / namespace if namespace else Path(_HOME)).stat().st_ino


def identity(namespace: str) -> str:
    """What tells this namespace from the others of the machine: its name, or for "" its number in the kernel."""
    return namespace or f"net:{number(namespace)}"


@contextmanager
def _returning() -> Generator[None]:
    home = os.open(_HOME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        back = _libc().setns(home, _CLONE_NEWNET)
        os.close(home)
        _checked(back, "the thread cannot return to its namespace")


def _join(namespace: str) -> None:
    try:
        there = os.open(_FOLDER / namespace, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataplaneError(f"network namespace {namespace} cannot be reached: {error.strerror}") from error
    try:
        _checked(_libc().setns(there, _CLONE_NEWNET), f"network namespace {namespace} cannot be entered")
    finally:
        os.close(there)


def _checked(status: int, what: str) -> None:
    if status != 0:
        raise DataplaneError(f"{what}: {os.strerror(ctypes.get_errno())}")
