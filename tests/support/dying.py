"""A process that moves an EIP and may die on the way; run as a program: CONFIG MOVE POINT.

It dies by SIGKILL at that point, counted from 0: before and after each call that the world outside sees, of the store and the
backend. It prints how many points there were, if it lives.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from vipnet.controller import Controller
from vipnet.sqlstore import SqlStore
from vipnet_nftables import NftablesBackend

__all__ = ["MOVES", "PUBLIC"]

PUBLIC = "eip-203.0.113.100"


def to_blue(cloud: Controller) -> None:
    """From one VPC to another."""
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip("red")
        tx.groups.associate_eip("blue", eip_id=PUBLIC)


def nowhere(cloud: Controller) -> None:
    """Nobody's any more."""
    cloud.groups.dissociate_eip("red")


def with_its_vpc(cloud: Controller) -> None:
    """To another VPC, and the one that it was in is deleted."""
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip("brief")
        tx.groups.delete("brief")
        tx.networks.delete("brief")
        tx.vpcs.delete("brief")
        tx.groups.associate_eip("red", eip_id=PUBLIC)


MOVES: dict[str, Callable[[Controller], None]] = {"blue": to_blue, "nowhere": nowhere, "brief": with_its_vpc}


class _Points:
    """Counts points, and dies at one."""

    def __init__(self, fatal: int) -> None:
        self.passed = 0
        self._fatal = fatal

    def here(self) -> None:
        if self.passed == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **options: Any) -> Any:
            self.here()
            found = inner(*args, **options)
            self.here()
            return found

        setattr(owner, name, outer)


def _main(config: str, move: str, point: int) -> None:
    points = _Points(point)
    with Controller.open(config) as cloud:
        cloud.apply()
        for owner, names in ((SqlStore, ("begin", "finish")), (NftablesBackend, ("apply", "flush", "closed"))):
            for name in names:
                points.around(owner, name)
        MOVES[move](cloud)
    sys.stdout.write(f"{points.passed}\n")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
