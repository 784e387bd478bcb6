"""How the tables of iptables-legacy are, as far as the kernel says without listing them: it has no generation of them.

A change that leaves the number and the size of a table's rules as they were is not noticed so; a full look is.
"""

from __future__ import annotations

import ctypes
import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from vipnet.errors import DataplaneError
from vipnet_kernel.namespaces import entered

__all__ = ["fingerprint"]

_INFO: Final = 64  # IPT_SO_GET_INFO, IP6T_SO_GET_INFO
_SIZE: Final = 84  # struct ipt_getinfo: name[32], valid_hooks, hook_entry[5], underflow[5], num_entries, size
_FAMILIES: Final = (("ip_tables_names", socket.AF_INET, 0), ("ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6))


def fingerprint(namespace: str) -> int:
    """A number that is another when rules came or went. Raises DataplaneError."""
    try:
        with entered(namespace):
            return zlib.crc32(b"".join(_infos()))
    except OSError as error:
        raise DataplaneError(f"the tables of {namespace or 'this namespace'} cannot be looked at: {error.strerror}") from error


def _infos() -> Iterator[bytes]:
    for names, family, level in _FAMILIES:
        tables = Path(f"/proc/thread-self/net/{names}")
        known = sorted(tables.read_text().split()) if tables.exists() else []
        if known:
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
                for name in known:
                    with suppress(FileNotFoundError):
                        yield _info(link, level, name)


def _info(link: socket.socket, level: int, name: str) -> bytes:
    """Ask of one table; Python's getsockopt cannot say which."""
    buffer = ctypes.create_string_buffer(name.encode(), _SIZE)
    length = ctypes.c_uint32(_SIZE)
    if _libc().getsockopt(link.fileno(), level, _INFO, buffer, ctypes.byref(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
