"""Network namespaces by name, as `ip netns` keeps them; a thread enters one and comes back.

Sockets stay in the namespace that they were opened in; a program started inside belongs to it; /proc/sys/net follows
the thread. Making, removing and listing them is pyroute2's; entering is not: `netns.pushns` and `popns` keep one list
for the whole process, so that threads come back to each other's namespaces, and `setns` makes a namespace that is missing.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vipnet.errors import DataplaneError

__all__ = ["create", "entered", "exists", "identity", "listed", "number", "opened", "remove", "scratch"]

_CLONE_NEWNET = 0x40000000
_HOME = "/proc/thread-self/ns/net"
_FOLDER = Path("/run/netns")
_FOLDER_NAME = str(_FOLDER)


def _netns() -> Any:
    from pyroute2 import netns  # on demand: it takes 0.15 s

    return netns


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
    """Whether there is a namespace of this name; "" is always there.

    A file without a namespace mounted on it is none: so it is for a moment while one is made or deleted.
    """
    if not namespace:
        return True
    try:  # by system calls alone: this is asked several times a verb, and paths as objects take ten times as long
        return os.stat(f"{_FOLDER_NAME}/{namespace}").st_dev != os.stat(_FOLDER_NAME).st_dev  # noqa: PTH116
    except FileNotFoundError:
        return False


def listed(pattern: re.Pattern[str]) -> list[str]:
    """Names of the namespaces that match whole, sorted."""
    names: list[str] = _netns().listnetns()
    return sorted(name for name in names if pattern.fullmatch(name))


def create(namespace: str) -> None:
    """Make a namespace. Raises FileExistsError when the name is taken, OSError when the kernel has no room for it.

    A file of this name without a namespace is what a process left that was killed while it made or deleted one.
    """
    if not exists(namespace):
        (_FOLDER / namespace).unlink(missing_ok=True)
    with scratch():  # given a name, it stays; `netns.create` would fork this process for the same
        try:
            _netns().attach(namespace, threading.get_native_id())
        except FileExistsError:
            raise
        except OSError:
            (_FOLDER / namespace).unlink(missing_ok=True)
            raise


def remove(namespace: str) -> None:
    """Take a namespace's name away; it goes with its last user. Raises FileNotFoundError when there is none."""
    _netns().remove(namespace)


@contextmanager
def opened(namespace: str) -> Generator[int]:
    """Have a file descriptor of a namespace for the length of a `with` block. Raises OSError."""
    there = _open(_FOLDER / namespace)
    try:
        yield there
    finally:
        os.close(there)


def number(namespace: str) -> int:
    """The kernel's number of a namespace that exists: another one of the same name has another."""
    return os.stat(f"{_FOLDER_NAME}/{namespace}" if namespace else _HOME).st_ino  # noqa: PTH116 -- as above


def identity(namespace: str) -> str:
    """What tells this namespace from the others of the machine: its name, or for "" its number in the kernel."""
    return namespace or f"net:{number(namespace)}"


def _open(path: str | Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _returning() -> Generator[None]:
    try:
        home = _open(_HOME)
    except OSError as error:
        raise DataplaneError(f"the thread could not return to its namespace: {error.strerror}") from error
    try:
        yield
    finally:
        back = _libc().setns(home, _CLONE_NEWNET)
        os.close(home)
        _checked(back, "the thread cannot return to its namespace")


def _join(namespace: str) -> None:
    try:
        with opened(namespace) as there:
            _checked(_libc().setns(there, _CLONE_NEWNET), f"network namespace {namespace} cannot be entered")
    except OSError as error:
        raise DataplaneError(f"network namespace {namespace} cannot be reached: {error.strerror}") from error


def _checked(status: int, what: str) -> None:
    if status != 0:
        raise DataplaneError(f"{what}: {os.strerror(ctypes.get_errno())}")
