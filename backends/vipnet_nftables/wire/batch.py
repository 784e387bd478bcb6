"""Transactions: messages between BATCH_BEGIN and BATCH_END in one send, done all or nothing, and what the kernel says of them.

The kernel works a batch off within the send, so that all of its answer is there afterwards. Only the last message asks for an
acknowledgement: it alone would tell nothing, as each message of a batch that is dropped is acknowledged too, if itself is right;
an acknowledgement without any error beside it says that the batch is committed (nfnetlink_rcv_batch in the kernel).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from vipnet_kernel.netlink import attribute, attributes
from vipnet_nftables.wire import header

__all__ = ["RETRIES", "Fault", "Message", "answered", "encoded", "transacted", "which"]

RETRIES: Final = frozenset({errno.ERESTART, errno.EINTR, errno.ENOBUFS, errno.EAGAIN})
"""Errors that say nothing against what was asked: the ruleset moved on meanwhile, or the kernel had no room just then."""

_HEADER: Final = struct.Struct("=IHHII")
_BATCH: Final = b"\0\0" + header.SUBSYS_NFTABLES.to_bytes(2, "big")
_KIND: Final = header.SUBSYS_NFTABLES << 8
_ERROR: Final = 2
_ERROR_BODY: Final = struct.Struct("=iIHHII")
_ERROR_WORDS, _ERROR_OFFSET = 1, 2


class Message(NamedTuple):
    """One of nf_tables: its kind (NFT_MSG_*), its flags beside REQUEST, and its payload, which begins with nfgenmsg."""

    kind: int
    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """What the kernel has against a message of a batch, `at` its position (-1: the batch as such), `offset` in its payload."""

    at: int
    code: int
    reason: str
    offset: int | None = None


def transacted(link: socket.socket, messages: Sequence[Message], *, generation: int | None = None) -> list[Fault]:
    """Commit messages as one transaction on a prepared socket; nothing returned: committed, else nothing was done.

    With a `generation`, only if that is the ruleset's still; else the one fault is ERESTART, of the batch as such. Raises OSError
    when the outcome is not known.
    """
    return answered(link, encoded(messages, generation=generation)) if messages else []


def answered(link: socket.socket, batch: bytes) -> list[Fault]:
    """Send an encoded batch and return what the kernel has against it. Raises OSError when the outcome is not known."""
    link.send(batch)
    patience = link.gettimeout()
    link.setblocking(False)  # a socket with a timeout would wait even with MSG_DONTWAIT
    try:
        answers = list(_answers(link))
    finally:
        link.settimeout(patience)
    if not answers:
        raise OSError(errno.EIO, "the kernel did not answer a transaction")
    return [fault for fault in answers if fault.code]


def encoded(messages: Sequence[Message], *, generation: int | None = None) -> bytes:
    """The bytes of a batch; message 0 has sequence number 1."""
    known = b"" if generation is None else attribute(header.BATCH_GENID, generation.to_bytes(4, "big"))
    parts = [_HEADER.pack(_HEADER.size + 4 + len(known), header.BATCH_BEGIN, header.REQUEST, 0, 0), _BATCH, known]
    last = len(messages) - 1
    for at, message in enumerate(messages):
        flags = header.REQUEST | message.flags | (header.ACK if at == last else 0)
        length = len(message.payload)
        parts += _HEADER.pack(_HEADER.size + length, _KIND | message.kind, flags, at + 1, 0), message.payload
        if length % 4:
            parts.append(b"\0" * (-length % 4))
    parts += _HEADER.pack(_HEADER.size + 4, header.BATCH_END, header.REQUEST, last + 2, 0), _BATCH
    return b"".join(parts)


def which(message: Message, parts: Sequence[bytes], fault: Fault) -> int | None:
    """Which of the parts with which the payload of a message ends a fault points at; None: at none of them."""
    if fault.offset is None:
        return None
    begin = len(message.payload) - sum(map(len, parts))
    at = bisect_right(list(accumulate(map(len, parts), initial=begin)), fault.offset) - 1
    return at if 0 <= at < len(parts) else None


def _answers(link: socket.socket) -> Iterator[Fault]:
    while True:
        try:
            data = link.recv(1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _ERROR:
                yield _fault(data[at + _HEADER.size : at + length])
            at += max(_HEADER.size, (length + 3) & ~3)


def _fault(body: bytes) -> Fault:
    code, _, _, _, sequence, _ = _ERROR_BODY.unpack_from(body)
    said = attributes(body, _ERROR_BODY.size)
    offset = said.get(_ERROR_OFFSET)
    words = said.get(_ERROR_WORDS, b"").rstrip(b"\0").decode(errors="replace")
    return Fault(
        sequence - 1,
        -code,
        words or os.strerror(-code),
        None if offset is None else int.from_bytes(offset, sys.byteorder) - _HEADER.size,
    )
