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


def forget_neighbours(handles: Handles, namespace: str, ips: Collection[tuple[int, int]]) -> None:
    """Drop the neighbour entries of addresses, (IP version, address), on whatever interface. Raises DataplaneError."""
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        gone = frozenset(format_ip(version, ip) for of, ip in ips if of == version)
        if gone:
            try:
                handles.work(partial(_forget, handles, namespace, family, gone))
            except OSError as error:
                raise DataplaneError(f"neighbours of {namespace} cannot be dropped: {error.strerror}") from error


def _forget(handles: Handles, namespace: str, family: int, gone: Collection[str]) -> None:
    for row in handles.dump(namespace, "neigh", family=family):
        if (dst := row.get("dst")) and format_ip(4 if family == socket.AF_INET else 6, ip_of(dst)) in gone:
            try:
                handles.ask(namespace, "neigh", "del", family=family, dst=dst, ifindex=row["ifindex"])
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it went by itself
                    raise
