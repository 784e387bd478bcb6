"""The routes that make a router answer ARP for EIPs: each is local to it, in a trie of the kernel's, O(1) each.

By hand, as there may be a million. They have a protocol number of their own: other routes of ours are entries.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

from vipnet.addresses import format_ip4
from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import exists
from vipnet_kernel.netlink import ask, attribute, attributes, dump, outcomes
from vipnet_kernel.routelist import ANSWERS
from vipnet_kernel.sockets import Sockets

__all__ = ["Answers"]

_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_ROUTE: Final = struct.Struct("=8BI")
_LOCAL_TABLE, _HOST_SCOPE, _LOCAL_TYPE, _ANY_SCOPE = 255, 254, 2, 255
_DESTINATION, _OUT = 1, 4
_LOOPBACK: Final = struct.pack("=I", 1)  # lo is the first interface of every namespace
_CREATE: Final = 0x400
_FIB_MATCH: Final = 0x2000


class Answers:
    """For what routers answer. Raises DataplaneError where the kernel cannot be asked."""

    __slots__ = ("_sockets",)

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    def begin(self, router: str, eips: Collection[int]) -> dict[int, str]:
        """Answer for EIPs; what the kernel refused, with its reason."""
        codes = self._done(router, _NEWROUTE, eips, _HOST_SCOPE, _CREATE)
        return {eip: os.strerror(code) for eip, code in codes.items() if code not in (0, errno.EEXIST)}

    def end(self, router: str, eips: Collection[int]) -> None:
        """Answer for EIPs no more."""
        codes = self._done(router, _DELROUTE, eips, _ANY_SCOPE, 0)
        for eip, code in codes.items():
            if code not in (0, errno.ESRCH, errno.ENOENT):
                raise DataplaneError(f"the route of {format_ip4(eip)} in {router} cannot be deleted: {os.strerror(code)}")

    def listed(self, router: str) -> set[int]:
        """All that a router answers for."""
        try:
            with self._sockets.lent(router, socket.NETLINK_ROUTE) as link:
                return set(_found(dump(link, _GETROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))))
        except OSError as error:
            raise DataplaneError(f"the routes of {router} cannot be read: {error.strerror}") from error

    def among(self, router: str, uplink: int, eips: Collection[int]) -> set[int]:  # noqa: ARG002 -- as it is asked
        """For which of some EIPs a router answers: O(1) each."""
        if not exists(router):
            return set()
        try:
            with self._sockets.lent(router, socket.NETLINK_ROUTE) as link:
                return {eip for eip in eips if eip in set(_found(_asked(link, eip)))}
        except OSError as error:
            raise DataplaneError(f"the routes of {router} cannot be asked for: {error.strerror}") from error

    def _done(self, router: str, kind: int, eips: Collection[int], scope: int, flags: int) -> dict[int, int]:
        if not eips:
            return {}
        some = list(eips)
        route = _ROUTE.pack(socket.AF_INET, 32, 0, 0, _LOCAL_TABLE, ANSWERS, scope, _LOCAL_TYPE, 0)
        head, tail = route + attribute(_DESTINATION, bytes(4))[:-4], attribute(_OUT, _LOOPBACK)
        payloads = [head + eip.to_bytes(4, "big") + tail for eip in some]
        try:
            with self._sockets.lent(router, socket.NETLINK_ROUTE) as link:
                return dict(zip(some, outcomes(link, kind, payloads, flags), strict=True))
        except OSError as error:
            raise DataplaneError(f"the routes of {router} cannot be changed: {error.strerror}") from error


def _asked(link: socket.socket, eip: int) -> list[tuple[int, bytes]]:
    question = _ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    try:
        return ask(link, _GETROUTE, question + attribute(_DESTINATION, eip.to_bytes(4, "big")))
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENOENT, errno.ESRCH):
            return []
        raise


def _found(rows: Iterator[tuple[int, bytes]] | list[tuple[int, bytes]]) -> Iterator[int]:
    for _, payload in rows:
        _, length, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(payload)
        if (length, protocol, kind) == (32, ANSWERS, _LOCAL_TYPE):
            yield int.from_bytes(attributes(payload, _ROUTE.size)[_DESTINATION], "big")
