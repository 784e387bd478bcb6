"""The IPv4 routes of a namespace by hand: a router may have one for each of a hundred thousand EIPs, which are not looked at."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vipnet_kernel.netlink import attributes, dump

__all__ = ["ANSWERS", "RouteSeen", "list_routes"]

ANSWERS: Final = 87
"""The protocol number of routes by which a router answers for an EIP: of a backend's rules, and no entries of links."""

_GETROUTE: Final = 26
_ROUTE: Final = struct.Struct("=8BI")
_DESTINATION, _OUT, _GATEWAY, _TABLE = 1, 4, 5, 15
_NUMBER: Final = struct.Struct("=I")


class RouteSeen(NamedTuple):
    """A route in the kernel's numbers; `out` 0: by no interface, `gateway` "": none."""

    destination: str
    gateway: str
    out: int
    kind: int
    scope: int
    flags: int
    table: int
    protocol: int


def list_routes(link: socket.socket) -> Iterator[RouteSeen]:
    """Every route of a socket's namespace but those that answer for EIPs. Raises OSError."""
    for _, payload in dump(link, _GETROUTE, _ROUTE.pack(socket.AF_INET, *[0] * 8)):
        _, length, _, _, table, protocol, scope, kind, flags = _ROUTE.unpack_from(payload)
        if protocol != ANSWERS:
            found = attributes(payload, _ROUTE.size)
            network = f"{socket.inet_ntoa(found[_DESTINATION])}/{length}" if length else "default"
            gateway = socket.inet_ntoa(found[_GATEWAY]) if _GATEWAY in found else ""
            out, wide = (_NUMBER.unpack(found[kind])[0] if kind in found else 0 for kind in (_OUT, _TABLE))
            yield RouteSeen(network, gateway, out, kind, scope, flags, wide or table, protocol)

