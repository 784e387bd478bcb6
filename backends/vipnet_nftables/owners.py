"""Whose tables are, as the kernel tells: a table with the flag OWNER takes orders from one netlink socket alone (nf_tables.h)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from vipnet_kernel.namespaces import entered
from vipnet_kernel.netlink import NETFILTER, attributes
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import asked
from vipnet_nftables.wire.objects import of_table

__all__ = ["FAMILIES", "Table", "described", "our_tables"]

FAMILIES: Final = ("bridge", "ip", "ip6", "arp")
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


class Table(NamedTuple):
    """A table of ours: its family, its flags, and the netlink port that owns it (0: none does)."""

    family: str
    flags: int
    owner: int


def our_tables(link: socket.socket) -> list[Table]:
    """Our tables in a socket's namespace. Raises OSError."""
    return list(_tables(link))


def _tables(link: socket.socket) -> Iterator[Table]:
    for family in FAMILIES:
        with suppress(FileNotFoundError):
            (answer,) = asked(link, header.GETTABLE, of_table(family, header.TABLE_NAME))
            found = attributes(answer)
            flags, owner = (int.from_bytes(found.get(kind, b""), "big") for kind in (header.TABLE_FLAGS, header.TABLE_OWNER))
            yield Table(family, flags, owner)


def described(namespace: str, port: int) -> str:
    """The process behind a netlink port of a namespace, by its number and its program, as far as it can be found."""
    inode = _inode(namespace, port)
    pid = None if inode is None else next(_processes(inode), None)
    if pid is None:
        return f"another process (netlink port {port})"
    with suppress(OSError):
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text(encoding='utf-8', errors='replace').strip()})"
    return f"process {pid}"


def _inode(namespace: str, port: int) -> str | None:
    """The number of the file of a netlink socket; proc(5): sk, protocol, port, groups, ..., inode."""
    with entered(namespace):
        rows = Path("/proc/thread-self/net/netlink").read_text(encoding="ascii").splitlines()[1:]
    columns = map(str.split, rows)
    return next((row[-1] for row in columns if row[1:3] == [str(NETFILTER), str(port)]), None)


def _processes(inode: str) -> Iterator[int]:
    """The processes that have a socket open."""
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # it has ended
            for descriptor in folder.iterdir():
                with suppress(FileNotFoundError):  # it is closed
                    found = _SOCKET.fullmatch(os.readlink(descriptor))  # noqa: PTH115 -- it is no path
                    if found is not None and found[1] == inode:
                        yield int(folder.parent.name)
