"""Connections: cut those of an address and see that they are gone.

The kernel's own filter for deletion by address is younger than Debian 12, so the table is walked, once, and each entry
found is deleted by its own tuple, sent back byte for byte: any protocol, whether known here or not.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.netlink import NETFILTER, NetlinkError, ask, attributes

__all__ = ["cut_connections"]

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_IPV4 = b"\x02\0\0\0"
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_NESTED = 0x8000
_TUPLE_IP, _DESTINATION = 1, 2
_ROUNDS = 3


def cut_connections(namespace: str, public: Iterable[int]) -> int:
    """Delete every connection that was opened to a public address, or that left as one; return how many.

    Walks the table until it finds none. Raises DataplaneError when some are still there after three rounds.
    """
    addresses = frozenset(ip.to_bytes(4, "big") for ip in public)
    cut = 0
    for _ in range(_ROUNDS):
        found = list(_connections(namespace, addresses))
        if not found:
            return cut
        cut += sum(_delete(namespace, original, number) for original, number in found)
    some = ", ".join(sorted(format_ip4(int.from_bytes(ip, "big")) for ip in addresses)[:3])
    raise DataplaneError(f"connections of {some} in {namespace} come back as fast as they are cut")


def _connections(namespace: str, addresses: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for _, payload in ask(namespace, NETFILTER, _GET, _IPV4, dump=True):
        if any(ip in payload for ip in addresses):  # most have none: a quick look before taking them apart
            found = attributes(payload, 4)
            if {_destination(found[_ORIGINAL]), _destination(found[_REPLY])} & addresses:
                yield found[_ORIGINAL], found[_ID]


def _destination(tuple_: bytes) -> bytes:
    return attributes(attributes(tuple_)[_TUPLE_IP])[_DESTINATION]


def _delete(namespace: str, original: bytes, number: bytes) -> int:
    payload = _IPV4 + _attribute(_ORIGINAL | _NESTED, original) + _attribute(_ID, number)
    try:
        ask(namespace, NETFILTER, _DELETE, payload, ack=True)
    except NetlinkError as error:
        if error.errno != errno.ENOENT:  # it ended by itself
            raise
        return 0
    return 1


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)
