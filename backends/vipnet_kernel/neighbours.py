"""Neighbours: the MACs that a namespace knows of addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from functools import partial

from vipnet.addresses import format_ip, ip_of
from vipnet.errors import DataplaneError
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import entered

__all__ = ["forget_neighbours", "neighbour"]

_UNKNOWN = 0x01 | 0x20
"""NUD_INCOMPLETE and NUD_FAILED of linux/neighbour.h."""


def forget_neighbours(handles: Handles, namespace: str, gone: Collection[tuple[int, int, str | None]]) -> None:
    """Drop the neighbour entries of addresses, on whatever interface: (IP version, address, MAC). Raises DataplaneError.

    An entry that knows of another MAC stays, for its packets would be lost that are on their way; MAC None: of any.
    """
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        known = frozenset((format_ip(version, ip), mac) for of, ip, mac in gone if of == version)
        if known:
            try:
                handles.work(partial(_forget, handles, namespace, family, known))
            except OSError as error:
                raise DataplaneError(f"neighbours of {namespace} cannot be dropped: {error.strerror}") from error


def neighbour(handles: Handles, namespace: str, device: str, ip: str) -> str | None:
    """The MAC that a namespace has for an address on an interface; None: it has none. Raises DataplaneError."""
    try:
        return handles.work(lambda: _known(handles, namespace, device, ip))
    except OSError as error:
        raise DataplaneError(f"neighbours of {namespace} cannot be read: {error.strerror}") from error


def _known(handles: Handles, namespace: str, device: str, ip: str) -> str | None:
    try:
        with entered(namespace):
            index = socket.if_nametoindex(device)
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        (row,) = handles.ask(namespace, "neigh", "get", family=family, dst=ip, ifindex=index)
    except OSError as error:
        if error.errno in (None, errno.ENOENT, errno.ENODEV):  # the first is if_nametoindex's, in Python 3.11
            return None
        raise
    return None if row["state"] & _UNKNOWN else row.get("lladdr")


def _forget(handles: Handles, namespace: str, family: int, gone: Collection[tuple[str, str | None]]) -> None:
    for row in handles.dump(namespace, "neigh", family=family):
        if not (dst := row.get("dst")):
            continue
        ip = format_ip(4 if family == socket.AF_INET else 6, ip_of(dst))
        if (ip, None) in gone or (ip, row.get("lladdr")) in gone:
            try:
                handles.ask(namespace, "neigh", "del", family=family, dst=dst, ifindex=row["ifindex"])
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it went by itself
                    raise
