"""Requests to the kernel as values, and how they are sent: links, addresses, routes, rules, namespaces, settings."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

from vipnet_kernel import namespaces
from vipnet_kernel.handles import Handles, Noun
from vipnet_kernel.sysctls import switch_off_ipv6, write_sysctl

__all__ = [
    "Device",
    "MakeNamespace",
    "NamespaceOf",
    "Refusal",
    "RemoveNamespace",
    "Request",
    "RouteRequest",
    "SwitchOffIpv6",
    "WriteSetting",
    "send",
]


class Device(str):
    """The name of an interface where the kernel wants its number; looked up when the request is sent."""

    __slots__ = ()


class NamespaceOf(str):
    """The name of a namespace where the kernel wants a file descriptor; opened while the request is sent."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A call of pyroute2's IPRoute: `noun(verb, **values)`."""

    noun: Noun
    verb: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MakeNamespace:
    """Make a namespace of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveNamespace:
    """Take a namespace's name away; it goes with its last user."""

    name: str


@dataclass(frozen=True, slots=True)
class WriteSetting:
    """Write a setting under /proc/sys/net."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SwitchOffIpv6:
    """Let an interface have no part in IPv6, if the kernel has any."""

    device: str


Request = RouteRequest | MakeNamespace | RemoveNamespace | WriteSetting | SwitchOffIpv6


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kernel's number and words for why not."""

    code: int
    reason: str


def send(handles: Handles, namespace: str, requests: Sequence[Request]) -> dict[int, Refusal]:
    """Send requests in a namespace, one after the other, all of them; return what was refused, by position.

    Raises DataplaneError when the namespace cannot be reached.
    """
    return handles.work(lambda: dict(_refused(handles, namespace, requests)))


def _refused(handles: Handles, namespace: str, requests: Sequence[Request]) -> Iterator[tuple[int, Refusal]]:
    with namespaces.entered(namespace):
        for at, request in enumerate(requests):
            try:
                _send(handles, namespace, request)
            except OSError as error:
                code = error.errno or errno.EIO
                yield at, Refusal(code, error.strerror or os.strerror(code))


def _send(handles: Handles, namespace: str, request: Request) -> None:
    match request:
        case RouteRequest():
            with ExitStack() as files:
                values = _resolved(request.values, files)
                handles.ask(namespace, request.noun, request.verb, **values)
        case MakeNamespace(name):
            namespaces.create(name)
        case RemoveNamespace(name):
            handles.release(name)
            namespaces.remove(name)
        case WriteSetting(name, value):
            write_sysctl(name, value)
        case SwitchOffIpv6(device):
            switch_off_ipv6(device)


def _resolved(values: Mapping[str, Any], files: ExitStack) -> dict[str, Any]:
    return {name: _value(value, files) for name, value in values.items()}


def _value(value: Any, files: ExitStack) -> Any:
    match value:
        case Device():
            return _number(value)
        case NamespaceOf():
            return files.enter_context(namespaces.opened(value))
        case dict():
            return _resolved(cast(dict[str, Any], value), files)
        case _:
            return value


def _number(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError as error:  # it has no number in Python 3.11
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error
