"""Netlink sockets for rulesets."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from vipnet.errors import DataplaneError
from vipnet_kernel.netlink import NETFILTER

__all__ = ["Lender", "linked"]


class Lender(Protocol):
    """Who lends netlink sockets."""

    def lent(self, namespace: str, family: int) -> AbstractContextManager[socket.socket]:
        """Have a socket of a namespace for the length of a `with` block. Raises OSError and DataplaneError."""
        ...


@contextmanager
def linked(sockets: Lender, namespace: str) -> Generator[socket.socket]:
    """Have a socket of a namespace for the length of a `with` block. Raises DataplaneError when the kernel refuses."""
    try:
        with sockets.lent(namespace, NETFILTER) as link:
            yield link
    except OSError as error:
        where = namespace or "this namespace"
        raise DataplaneError(f"the rules of {where} cannot be reached: {error.strerror or error}") from error
