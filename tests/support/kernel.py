"""What the kernel has in a namespace, by netlink and by nft's own library: a program takes 5 ms to start, and these 1 to 3.

Sources: libnftables(3); enums ctattr_type, ctattr_tuple, ctattr_ip of linux/netfilter/nfnetlink_conntrack.h;
linux/rtnetlink.h.
"""

from __future__ import annotations

import ctypes
import functools
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

from vipnet_kernel.namespaces import entered

__all__ = ["connections", "forget_connections", "loopback_alias", "sets"]

_JSON = 1 << 4
_HEADER, _ATTRIBUTE, _LINK_HEADER = struct.Struct("=IHHII"), struct.Struct("=HH"), struct.Struct("=BxHiII")
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_NETFILTER = 12
_GET_CONNECTION, _DELETE_CONNECTION = (1 << 8) | 1, (1 << 8) | 2
_GETLINK = 18
_LOOPBACK, _ALIAS = 1, 20
_IPV4 = struct.pack("=BBH", socket.AF_INET, 0, 0)


def sets(space: str) -> list[dict[str, Any]]:
    """What `nft -j list sets` and `list maps` list there. Of tables that persist nft 1.0.6 makes broken JSON, or dies."""
    return [row for what in (b"list sets", b"list maps") for row in _listed(space, what)]


def _listed(space: str, what: bytes) -> list[dict[str, Any]]:
    library = _nft()
    with entered(space):
        context = library.nft_ctx_new(0)
        try:
            library.nft_ctx_output_set_flags(context, _JSON)
            library.nft_ctx_buffer_output(context)
            assert library.nft_run_cmd_from_buffer(context, what) == 0, space
            return list(json.loads(library.nft_ctx_get_output_buffer(context))["nftables"])
        finally:
            library.nft_ctx_free(context)


def connections(space: str) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """(source, destination) of both directions of each IPv4 connection, as they are sent and as they are answered."""
    for body in _asked(space, _NETFILTER, _GET_CONNECTION, _DUMP, _IPV4):
        found = _attributes(body[len(_IPV4) :])
        yield _ends(found[1]), _ends(found[2])


def forget_connections(space: str) -> None:
    """Forget all connections, as `conntrack -F` does."""
    assert not list(_asked(space, _NETFILTER, _DELETE_CONNECTION, _ACK, bytes(4)))


def loopback_alias(space: str) -> str:
    """The alias of the loopback interface, "" for none."""
    (body,) = _asked(space, socket.NETLINK_ROUTE, _GETLINK, _ACK, _LINK_HEADER.pack(0, 0, _LOOPBACK, 0, 0))
    return _attributes(body[_LINK_HEADER.size :]).get(_ALIAS, b"").rstrip(b"\0").decode()


def _ends(data: bytes) -> tuple[str, str]:
    addresses = _attributes(_attributes(data)[1])
    return socket.inet_ntoa(addresses[1]), socket.inet_ntoa(addresses[2])


def _asked(space: str, family: int, kind: int, flags: int, payload: bytes) -> Iterator[bytes]:
    """Payloads of the answers to a request that ends with an acknowledgement or the end of a dump. Raises OSError."""
    with entered(space), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as link:
        link.send(_HEADER.pack(_HEADER.size + len(payload), kind, _REQUEST | flags, 1, 0) + payload)
        answers: list[bytes] = []
        while True:
            for answer, body in _messages(link.recv(1 << 18)):
                if answer in (_ERROR, _DONE):
                    code = -int.from_bytes(body[:4], "little", signed=True)
                    if code:
                        raise OSError(code, space)
                    return iter(answers)
                answers.append(body)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


@functools.cache
def _nft() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    for name in ("ctx_output_set_flags", "ctx_buffer_output", "run_cmd_from_buffer", "ctx_get_output_buffer", "ctx_free"):
        getattr(library, f"nft_{name}").argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
