"""Every place where the nftables backend, and vipnet around it, ask or change the world."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pyroute2.netlink.exceptions import NetlinkError

from vipnet.testing.injector import Kind, Seam, core_seams, raising
from vipnet_kernel import arp, handles, namespaces, netlink, sysctls
from vipnet_nftables.wire import asking, batch

__all__ = ["SEAMS"]

_AT_ONCE: tuple[Kind, ...] = ("fail", "interrupt", "kill", "kill after")
"""The faults of what is one system call, or a few: there is nobody whose answer could be lost."""


def _refused(number: int) -> Callable[..., object]:
    return raising(lambda: OSError(number, os.strerror(number)))


def _unanswered() -> BaseException:
    return TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


SEAMS: tuple[Seam, ...] = (
    *core_seams(),
    Seam(
        name="netlink",
        owner=netlink,
        attribute="_exchange",
        refuse=_refused(errno.ENOBUFS),
        silence=raising(lambda: TimeoutError("timed out")),
    ),
    Seam(
        name="ruleset",
        owner=batch,
        attribute="answered",
        refuse=_refused(errno.ENOBUFS),
        silence=raising(lambda: TimeoutError("timed out")),
    ),
    Seam(
        name="question",
        owner=asking,
        attribute="exchanged",
        refuse=_refused(errno.ENOBUFS),
        silence=raising(lambda: TimeoutError("timed out")),
        kinds=("fail", "timeout"),
    ),
    Seam(
        name="route",
        owner=handles,
        attribute="_asked",
        refuse=raising(lambda: NetlinkError(errno.EPERM, os.strerror(errno.EPERM))),
        silence=raising(_unanswered),
    ),
    Seam(
        name="socket",
        owner=handles,
        attribute="_opened",
        refuse=_refused(errno.EMFILE),
        silence=_refused(errno.ENOMEM),
        kinds=("fail",),
    ),
    Seam(
        name="namespace made",
        owner=namespaces,
        attribute="create",
        refuse=_refused(errno.ENOSPC),
        silence=_refused(errno.ENOMEM),
        kinds=_AT_ONCE,
    ),
    Seam(
        name="namespace removed",
        owner=namespaces,
        attribute="remove",
        refuse=_refused(errno.EBUSY),
        silence=_refused(errno.EPERM),
        kinds=_AT_ONCE,
    ),
    Seam(
        name="namespace file",
        owner=namespaces,
        attribute="_open",
        refuse=_refused(errno.EMFILE),
        silence=_refused(errno.ENFILE),
        kinds=("fail",),
    ),
    Seam(
        name="sysctl",
        owner=sysctls,
        attribute="_write",
        refuse=_refused(errno.EACCES),
        silence=_refused(errno.EIO),
        kinds=_AT_ONCE,
    ),
    Seam(
        name="arp",
        owner=arp,
        attribute="_emit",
        refuse=_refused(errno.ENOBUFS),
        silence=_refused(errno.ENETDOWN),
        kinds=_AT_ONCE,
    ),
)
"""All are functions that vipnet looks up at each call."""
