"""Connections: cut those of an address and see that they are gone.

The kernel's own filter for deletion by address is younger than Debian 12, and of its filter for listing by the answer's
address pyroute2 warns that it fails on some kernels; so the table is walked, 0.1 ms an entry, and each entry found is
deleted by its own tuple as it was read, whatever the protocol: `NFCTAttrTuple` knows those of TCP, UDP and ICMP only.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import entered

__all__ = ["cut_connections"]

_ROUNDS = 3


def cut_connections(handles: Handles, namespace: str, public: Iterable[int]) -> int:
    """Delete every connection that was opened to a public address, or that left as one; return how many.

    Walks the table until it finds none. Raises DataplaneError when some are still there after three rounds.
    """
    addresses = frozenset(map(format_ip4, public))
    return handles.work(lambda: _cut(namespace, addresses)) if addresses else 0


def _cut(namespace: str, addresses: frozenset[str]) -> int:
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    try:
        with entered(namespace), NFCTSocket() as table:
            return _walk(table, namespace, addresses)
    except (NetlinkError, OSError) as error:
        raise DataplaneError(f"connections of {namespace} cannot be cut: {error.args[-1]}") from error


def _walk(table: Any, namespace: str, addresses: frozenset[str]) -> int:
    cut = 0
    for _ in range(_ROUNDS):
        found = _connections(table, addresses)
        if not found:
            return cut
        cut += sum(_delete(table, row) for row in found)
    raise DataplaneError(f"connections of {', '.join(sorted(addresses)[:3])} in {namespace} come back as fast as they are cut")


def _connections(table: Any, addresses: frozenset[str]) -> list[Any]:
    raw = [bytes(map(int, ip.split("."))) for ip in addresses]

    def other(row: Any) -> bool:  # most are: a quick look before taking them apart
        message = row.data[row.offset : row.offset + row.length]
        return not any(ip in message for ip in raw)

    return [row for row in table.dump() if not other(row) and {_destination(row, "ORIG"), _destination(row, "REPLY")} & addresses]


def _destination(row: Any, direction: str) -> str:
    return row.get((f"CTA_TUPLE_{direction}", "CTA_TUPLE_IP", "CTA_IP_V4_DST")) or ""


def _delete(table: Any, row: Any) -> int:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        table.entry("del", tuple_orig=row.get("CTA_TUPLE_ORIG"), id=row.get("CTA_ID"))
    except NetlinkError as error:
        if error.code != errno.ENOENT:  # it ended by itself
            raise
        return 0
    return 1
