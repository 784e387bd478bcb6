"""Neighbours: the MACs that a namespace knows of addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from functools import partial

from vipnet.addresses import format_ip, ip_of
from vipnet.errors import DataplaneError
from vipnet_kernel.handles import Handles

__all__ = ["forget_neighbours"]


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
