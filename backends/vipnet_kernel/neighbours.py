"""Neighbours: the MACs that a namespace knows of addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.handles import Handles

__all__ = ["forget_neighbours"]


def forget_neighbours(handles: Handles, namespace: str, ips: Collection[int]) -> None:
    """Drop the neighbour entries of addresses, on whatever interface of a namespace. Raises DataplaneError."""
    if ips:
        gone = frozenset(map(format_ip4, ips))
        try:
            handles.work(lambda: _forget(handles, namespace, gone))
        except OSError as error:
            raise DataplaneError(f"neighbours of {namespace} cannot be dropped: {error.strerror}") from error


def _forget(handles: Handles, namespace: str, gone: Collection[str]) -> None:
    for row in handles.dump(namespace, "neigh", family=socket.AF_INET):
        if row.get("dst") in gone:
            try:
                handles.ask(namespace, "neigh", "del", family=socket.AF_INET, dst=row.get("dst"), ifindex=row["ifindex"])
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # it went by itself
                    raise
