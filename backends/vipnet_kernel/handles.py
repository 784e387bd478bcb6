"""Open netlink sockets: pyroute2, which has no types, behind one class that has.

All of pyroute2 runs in one thread of its own: its sockets belong to the thread that opened them (from another one they
quietly open a second socket, in that thread's namespace), and they cannot be used at all in a thread that runs asyncio.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Literal, TypeVar, cast

from vipnet_kernel.namespaces import entered, exists, number
from vipnet_kernel.sockets import Sockets

__all__ = ["Handles", "Noun"]

T = TypeVar("T")

Noun = Literal["link", "addr", "route", "rule", "neigh"]

_MOST_SOCKETS = 32
_DUMP_INTERRUPTED = 0x10
_TRIES = 5
_PATIENCE = 60.0
"""Seconds in which the kernel answers anything."""


class Handles:
    """One routing socket a namespace, kept open, and the thread that they live in; not for use by two threads at once.
    `sockets`: plain ones, beside these, which any thread may use.

    An open socket keeps its namespace alive: let go of it before deleting it, and `sweep` for those that others deleted.
    "" is the namespace of the thread whose work came first.
    """

    __slots__ = ("_sockets", "_thread", "sockets")

    def __init__(self) -> None:
        self.sockets = Sockets()
        self._sockets: dict[str, tuple[int, Any]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def work(self, job: Callable[[], T]) -> T:
        """Do a job in the thread of the sockets; its outcome is the caller's.

        Who is interrupted while waiting goes on only when the job has ended: it must not change anything behind our back.
        """
        if self._thread is None:
            self._thread = _started()
        try:
            return self._thread.submit(job).result()
        except BaseException:
            wait([self._thread.submit(_nothing)])  # it comes after the job, of which an interrupt may leave us no future
            raise

    def ask(self, namespace: str, noun: Noun, verb: str, **values: Any) -> list[Any]:
        """Send one request and return the answers. For jobs.

        Raises OSError with the kernel's number and words, and DataplaneError when the namespace cannot be reached.
        """
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return _asked(self._socket(namespace), noun, verb, values)
        except NetlinkError as error:
            code, words = cast(tuple[int, str], error.args)
            raise OSError(code, words) from error
        except OSError:  # this one came from the socket, which may have had enough
            self.release(namespace)
            raise

    def dump(self, namespace: str, noun: Noun, **values: Any) -> list[Any]:
        """Ask for everything of a kind, again if it changed meanwhile. For jobs; raises as `ask` does."""
        found: list[Any] = []
        for _ in range(_TRIES):
            found = self.ask(namespace, noun, "dump", **values)
            if not any(row["header"]["flags"] & _DUMP_INTERRUPTED for row in found):
                break
        return found

    def release(self, namespace: str) -> None:
        """Let go of a namespace. For jobs."""
        _, socket = self._sockets.pop(namespace, (0, None))
        if socket is not None:
            socket.close()

    def forget(self, namespace: str) -> None:
        """Let go of a namespace."""
        self.sockets.forget(namespace)
        if namespace in self._sockets:
            self.work(lambda: self.release(namespace))

    def sweep(self) -> None:
        """Let go of namespaces that are gone, or are others of the same name."""
        self.sockets.sweep()
        for namespace, (known, _) in list(self._sockets.items()):
            if not exists(namespace) or number(namespace) != known:
                self.forget(namespace)

    def close(self) -> None:
        """Let go of all, and end the thread."""
        self.sockets.close()
        try:
            for namespace in list(self._sockets):
                self.forget(namespace)
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _socket(self, namespace: str) -> Any:
        known, socket = self._sockets.get(namespace, (0, None))
        with entered(namespace):
            there = number("")
            if socket is None or known != there:  # never asked, or another one of the same name
                self.release(namespace)
                socket = _opened()
        self._sockets.pop(namespace, None)
        self._sockets[namespace] = there, socket  # the last one is the latest used
        if len(self._sockets) > _MOST_SOCKETS:
            self.release(next(iter(self._sockets)))
        return socket


def _started() -> ThreadPoolExecutor:
    """A thread that runs: an executor that is interrupted while it starts its thread would start another one later."""
    thread = ThreadPoolExecutor(1, "vipnet-netlink")
    thread.submit(_nothing).result()
    return thread


def _nothing() -> None:
    """What comes before and after jobs."""


def _asked(socket: Any, noun: Noun, verb: str, values: Mapping[str, Any]) -> list[Any]:
    """One question and its answers: whatever is asked by pyroute2 is asked here; it would wait for a lost answer for ever."""
    import asyncio

    loop: asyncio.AbstractEventLoop = socket.asyncore.event_loop
    alarm = loop.call_later(_PATIENCE, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    try:
        return list(getattr(socket, noun)(verb, **values))
    except asyncio.CancelledError as error:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
    finally:
        alarm.cancel()


def _opened() -> Any:
    """A socket in the namespace of this thread: pyroute2 would start a process to open one in another."""
    from pyroute2 import IPRoute

    return IPRoute(ext_ack=True)
