"""A process that dies at a chosen point of a change; run as a program: CONFIG.

It reads lines `CHANGE POINT` and, for each, lets a child make that change and die by SIGKILL at that point of its way, counted
from 0; and answers with how many points the child passed, and `died` or `lived`.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import vipnet_kernel.requests
import vipnet_nftables.driver
from vipnet import process, sqlstore
from vipnet.controller import Controller
from vipnet_nftables import nft
from vipnet_nftables.announcements import Announcements

__all__ = ["CHANGES", "DEVICES", "EIP", "prepare"]

DEVICES = ("tap1", "tap2", "tap3")
EIP = "203.0.113.50"


def prepare(cloud: Controller) -> None:
    """Two VPCs of one CIDR, a group in each with a member and a VIP, and the EIP of the first."""
    with cloud.transaction() as tx:
        tx.networks.create("pub", "203.0.113.0/24", server_type="eip")
        for vpc, device in (("red", "tap1"), ("blue", "tap2")):
            tx.vpcs.create(vpc, "192.168.0.0/16")
            tx.networks.create(f"{vpc}-net", "192.168.4.0/24", vpc=vpc)
            tx.groups.create(vpc)
            tx.servers.create(f"{vpc}-server", nets=[f"{vpc}-net"], groups=[vpc], devices=[device])
            tx.groups.attach_network(vpc)
        tx.eips.create("front", network="pub", ip_addr=EIP, bandwidth=5)
        tx.groups.associate_eip("red", eip_id="front")


def forth(cloud: Controller) -> None:
    """The EIP moves to the other VPC, the VIP that it leaves goes, a third VPC comes with a server."""
    with cloud.transaction() as tx:
        tx.groups.dissociate_eip("red")
        tx.groups.detach_network("red")
        tx.groups.associate_eip("blue", eip_id="front")
        tx.vpcs.create("green", "192.168.0.0/16")
        tx.networks.create("green-net", "192.168.4.0/24", vpc="green")
        tx.servers.create("green-server", nets=["green-net"], devices=["tap3"])


def back(cloud: Controller) -> None:
    """All that, taken back."""
    with cloud.transaction() as tx:
        tx.servers.delete("green-server")
        tx.networks.delete("green-net")
        tx.vpcs.delete("green")
        tx.groups.dissociate_eip("blue")
        tx.groups.attach_network("red")
        tx.groups.associate_eip("red", eip_id="front")


CHANGES: dict[str, Callable[[Controller], None]] = {"forth": forth, "back": back}


class _Fate:
    """Counts points, in memory that outlives the process, and dies at one."""

    def __init__(self, point: int, passed: mmap.mmap) -> None:
        self._at = count()
        self._point = point
        self._passed = passed

    def here(self) -> None:
        at = next(self._at)
        self._passed[:4] = at.to_bytes(4, "little")
        if at == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **options: Any) -> Any:
            self.here()
            return inner(*args, **options)

        setattr(owner, name, outer)

    def after(self, owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **options: Any) -> Any:
            found = inner(*args, **options)
            self.here()
            return found

        setattr(owner, name, outer)


def _arm(fate: _Fate) -> None:
    """Each place where the world outside the process changes, before and after."""
    for name in ("begin", "finish"):
        fate.before(sqlstore.SqlStore, name)
        fate.after(sqlstore.SqlStore, name)
    fate.before(vipnet_kernel.requests, "_send")
    fate.before(nft, "transact")
    fate.after(process, "_start")  # nft is at work, and nobody waits for it any more
    fate.after(nft, "transact")
    fate.before(vipnet_nftables.driver, "cut_connections")
    fate.before(vipnet_nftables.driver, "forget_neighbours")
    fate.before(Announcements, "begin")


def _child(config: str, change: str, point: int, passed: mmap.mmap) -> None:
    with Controller.open(config) as cloud:
        cloud.read()
        _arm(_Fate(point, passed))
        CHANGES[change](cloud)


def _main(config: str) -> None:
    passed = mmap.mmap(-1, 4)
    for line in sys.stdin:
        change, point = line.split()
        child = os.fork()
        if child == 0:
            _child(config, change, int(point), passed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status)
        assert died or os.waitstatus_to_exitcode(status) == 0
        sys.stdout.write(f"{int.from_bytes(passed[:4], 'little')} {'died' if died else 'lived'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
