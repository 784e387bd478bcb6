"""Questions of nf_tables: one at a time, or for everything of a kind; and lists of attributes."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

from vipnet_nftables.wire import header

__all__ = ["InterruptedDumpError", "asked", "dumped", "each", "exchanged"]

GENMSG: Final = 4
"""Bytes of nfgenmsg, with which every payload begins."""

_HEADER: Final = struct.Struct("=IHHII")
_KIND: Final = header.SUBSYS_NFTABLES << 8
_ERROR, _DONE = 2, 3


class InterruptedDumpError(Exception):
    """What was dumped has changed meanwhile (NLM_F_DUMP_INTR): some of it may be missing or there twice."""


def asked(link: socket.socket, kind: int, payload: bytes, *, room: int = 1 << 16) -> Iterator[bytes]:
    """Ask; yield each answer behind nfgenmsg. Raises OSError at the end if the kernel refused."""
    for answer, _, body in exchanged(link, kind, payload, header.ACK, room=room):
        if answer == _ERROR:
            _raise_for(body)
            return
        yield body[GENMSG:]


def dumped(link: socket.socket, kind: int, payload: bytes) -> Iterator[bytes]:
    """Ask for everything of a kind, as `asked`; of what is not there, nothing. Raises InterruptedDumpError at the end."""
    interrupted = False
    for answer, flags, body in exchanged(link, kind, payload, header.DUMP):
        interrupted |= bool(flags & header.DUMP_INTR)
        if answer == _ERROR:
            try:
                _raise_for(body)
            except FileNotFoundError:
                return
        if answer == _DONE:
            break
        yield body[GENMSG:]
    if interrupted:
        raise InterruptedDumpError


def exchanged(
    link: socket.socket, kind: int, payload: bytes, flags: int, *, room: int = 1 << 16
) -> Iterator[tuple[int, int, bytes]]:
    """Send a message; yield kind, flags and payload of what comes, until nobody asks for more. Raises OSError.

    `room`: bytes of the largest answer; the less, the faster they come.
    """
    link.send(_HEADER.pack(_HEADER.size + len(payload), _KIND | kind, header.REQUEST | flags, 1, 0) + payload)
    receive, unpack, size = link.recv, _HEADER.unpack_from, _HEADER.size
    while True:
        data = receive(room)
        at, end = 0, len(data) - size
        while at <= end:
            length, answer, said, _, _ = unpack(data, at)
            yield answer, said, data[at + size : at + length]
            at += max(size, (length + 3) & ~3)


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a list in their order, kind and inside. Raises ValueError for what is none."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if not 4 <= length <= len(data) - at:
            raise ValueError(f"an attribute of {length} bytes where {len(data) - at} are left")
        yield kind & header.ATTRIBUTE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _raise_for(body: bytes) -> None:
    if code := -int.from_bytes(body[:4], sys.byteorder, signed=True):
        raise OSError(code, os.strerror(code))
