"""Connections: cut those of a mapping that has ended and see that they are gone.

They are told by both addresses: an EIP that was moved to another VIP has new ones at once, and those stay.

Netlink by hand: pyroute2 takes 0.1 ms to read an entry, and its tuples know the ports of TCP, UDP and ICMP only. Here an
entry found is deleted by its own tuple as it was read, whatever the protocol, and in its zone.

The kernel can delete by address itself since 6.12 (listing by address is older, but kernels that cannot delete so have one
that finds nothing by the answer's address, and says no word). Its comparison of IPv6 addresses is the wrong way round, as
seen on 6.18: it deletes all *but* the address. So it is asked for IPv4 only, which is all that EIPs are.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable, Sequence

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.netlink import NESTED, NETFILTER, ask, attribute, attributes, dump, outcomes
from vipnet_kernel.sockets import Sockets

__all__ = ["cut_connections"]

_ROUNDS = 3
_FEW = 2
"""Up to so many addresses are the kernel's work; more are looked for in one walk through all entries, here. Among 100,000
others, filters take 0.09 s an address (two walks to delete and two to look again), a walk here 0.24 s for any number."""

_MANY = 10_000
"""A walk takes 13 ms in a table of 262,144 buckets, however empty, and 2.4 us an entry here: of fewer entries than these one
walk, and another one if it finds something, is less than the four of the kernel's filters."""

_GET, _DELETE, _GET_STATS = (1 << 8) | 1, (1 << 8) | 2, (1 << 8) | 5
_GLOBAL_ENTRIES = 1
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_ADDRESSES, _SOURCE, _DESTINATION = 1, 1, 2
_BY = {_SOURCE: struct.pack("=I", 1 << 0), _DESTINATION: struct.pack("=I", 1 << 1)}
_IPV4 = struct.pack("=BBH", socket.AF_INET, 0, 0)
_TUPLE = struct.Struct("=H10x4s4x4s")
"""Length of a tuple with its header, source and destination in it, each behind headers."""

_Mapping = tuple[bytes, bytes]
"""Public address and private one."""


def cut_connections(sockets: Sockets, namespace: str, ended: Iterable[tuple[int, int]]) -> None:
    """Delete every connection that was opened to a public IPv4 address and answered from a private one, or that left from that
    as the public one; `ended` are such pairs.

    Looks again until it finds none. Raises DataplaneError when some are still there after three rounds.
    """
    mappings = frozenset((public.to_bytes(4, "big"), private.to_bytes(4, "big")) for public, private in ended)
    if not mappings:
        return
    try:
        with sockets.lent(namespace, NETFILTER) as link:
            gone = _cut(link, mappings)
    except OSError as error:
        raise DataplaneError(f"connections of {namespace} cannot be cut: {error.strerror or error}") from error
    if not gone:
        some = ", ".join(sorted(format_ip4(int.from_bytes(public, "big")) for public, _ in mappings)[:3])
        raise DataplaneError(f"connections of {some} in {namespace} come back as fast as they are cut")


def _cut(link: socket.socket, mappings: frozenset[_Mapping]) -> bool:
    entries = _entries(link)
    if not entries:
        return True
    questions = _filters(mappings)
    if entries < _MANY or len(mappings) > _FEW or not _filtered_out(link, questions):
        questions = [_IPV4]
    for _ in range(_ROUNDS):
        found = _look(link, questions, mappings)
        if not found:
            return True
        _delete(link, found)
    return False


def _entries(link: socket.socket) -> int:
    """How many connections the socket's namespace has; the table is the whole machine's."""
    ((_, answer),) = ask(link, _GET_STATS, _IPV4)
    return int.from_bytes(attributes(answer, len(_IPV4))[_GLOBAL_ENTRIES], "big")


def _filters(mappings: Collection[_Mapping]) -> list[bytes]:
    """For each mapping one that picks what was opened to it, and one that picks what left by it."""
    return [_filter(into, out, mapping) for mapping in mappings for into, out in ((_ORIGINAL, _REPLY), (_REPLY, _ORIGINAL))]


def _filter(into: int, out: int, mapping: _Mapping) -> bytes:
    """Picks what is sent to the public address in one direction and from the private one in the other."""
    public, private = mapping
    sides = [(into, _DESTINATION, public), (out, _SOURCE, private)]
    tuples = [attribute(NESTED | way, attribute(NESTED | _ADDRESSES, attribute(side, ip))) for way, side, ip in sides]
    flags = [attribute(way, _BY[side]) for way, side, _ in sides]  # they are numbered as the tuples are
    return _IPV4 + b"".join(tuples) + attribute(NESTED | _FILTER, b"".join(flags))


def _filtered_out(link: socket.socket, filters: Sequence[bytes]) -> bool:
    """Whether the kernel has deleted what the filters pick. An older one misses the tuple's protocol, and deletes nothing."""
    codes = set(outcomes(link, _DELETE, filters))
    if codes & {errno.EINVAL, errno.EOPNOTSUPP}:
        return False
    _expect(codes, {0})
    return True


def _look(link: socket.socket, questions: Iterable[bytes], mappings: frozenset[_Mapping]) -> list[bytes]:
    return [entry for one in questions for _, entry in dump(link, _GET, one) if not mappings.isdisjoint(_mappings(entry))]


def _mappings(entry: bytes) -> tuple[_Mapping, _Mapping]:
    """By which mapping a connection would have been opened, and by which it would have left: the kernel puts the two tuples
    first."""
    length, source, target = _TUPLE.unpack_from(entry, len(_IPV4))
    _, answering, answered = _TUPLE.unpack_from(entry, len(_IPV4) + length)
    return (target, answering), (answered, source)


def _delete(link: socket.socket, entries: Iterable[bytes]) -> None:
    _expect(outcomes(link, _DELETE, [_itself(entry) for entry in entries]), {0, errno.ENOENT})  # some end by themselves


def _itself(entry: bytes) -> bytes:
    """What names this entry and no other: an entry of the same tuple that came since has another id."""
    found = attributes(entry, len(_IPV4))
    names = {NESTED | _ORIGINAL: found[_ORIGINAL], _ID: found[_ID]} | ({_ZONE: found[_ZONE]} if _ZONE in found else {})
    return _IPV4 + b"".join(attribute(kind, data) for kind, data in names.items())


def _expect(codes: Iterable[int], accepted: Collection[int]) -> None:
    for code in codes:
        if code not in accepted:
            raise OSError(code, os.strerror(code))
