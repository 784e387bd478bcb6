"""A process that does random verbs on a store that others change too; run as a program: CONFIG SEED VERBS.

It prints a line a verb: `done NAME`, `refused CLASS`, or `broken WORDS` for what must not happen; and `pending` when it
finds, and finishes first, what a process that died has left.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import vipnet
from vipnet.controller import Controller

__all__ = ["DEVICES", "prepare"]

DEVICES = tuple(f"tap{number}" for number in range(1, 9))
_GROUPS = tuple(f"g{number}" for number in range(6))
_EIPS = tuple(f"e{number}" for number in range(4))
_VPCS = ("x0", "x1")


def prepare(cloud: Controller) -> None:
    """What all verbs find: two VPCs of one CIDR, six groups, four EIPs."""
    with cloud.transaction() as tx:
        tx.networks.create("pub", "203.0.113.0/24", server_type="eip")
        for vpc, network in (("red", "web"), ("blue", "app")):
            tx.vpcs.create(vpc, "192.168.0.0/16")
            tx.networks.create(network, "192.168.4.0/26", vpc=vpc)
        for name in _GROUPS:
            tx.groups.create(name)
        for name in _EIPS:
            tx.eips.create(name, network="pub", charge_type="traffic")


class Heir(Controller):
    """A Controller that says when it finishes what another has begun."""

    def _finish_pending(self) -> None:
        if self._pending:
            _say("pending")
        super()._finish_pending()


class Worker:
    """Verbs with plausible arguments."""

    def __init__(self, cloud: Controller, seed: int) -> None:
        self.cloud = cloud
        self.chance = random.Random(seed)
        self.seed = seed
        self.number = 0
        self.verbs: list[Callable[[], object]] = [
            self.server, self.server, self.unserver, self.bind, self.unbind, self.vip, self.vip, self.unvip,
            self.eip, self.eip, self.associate, self.dissociate, self.move, self.move, self.vpc, self.unvpc, self.reserve,
        ]  # fmt: skip

    def step(self) -> str:
        """Do one verb and say how it went."""
        self.number += 1
        verb = self.chance.choice(self.verbs)
        try:
            verb()
        except vipnet.RefusedError as error:
            return f"refused {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 -- the test that started us says so
            return f"broken {verb.__name__}: {error!r}"
        return f"done {verb.__name__}"

    def _new(self, kind: str) -> str:
        return f"{kind}-{self.seed}-{self.number}"

    def _group(self) -> str:
        return self.chance.choice(_GROUPS)

    def _server(self) -> str:
        names = [server.name for server in self.cloud.servers.list()]
        return self.chance.choice(names or ["nobody"])

    def server(self) -> None:
        network, groups = self.chance.choice(("web", "app")), [self._group()] if self.chance.random() < 0.6 else []
        self.cloud.servers.create(self._new("s"), nets=[network], groups=groups, devices=[self.chance.choice(DEVICES)])

    def unserver(self) -> None:
        self.cloud.servers.delete(self._server())

    def bind(self) -> None:
        self.cloud.groups.bind_guests(self._group(), [self._server()])

    def unbind(self) -> None:
        self.cloud.groups.unbind_guests(self._group(), [self._server()])

    def vip(self) -> None:
        self.cloud.groups.attach_network(self._group(), network_id=self.chance.choice(("web", "app")))

    def unvip(self) -> None:
        self.cloud.groups.detach_network(self._group())

    def eip(self) -> None:
        self.cloud.groups.create_eip(self._group(), bandwidth=5, auto_dellocate=True)

    def associate(self) -> None:
        self.cloud.groups.associate_eip(self._group(), eip_id=self.chance.choice(_EIPS))

    def dissociate(self) -> None:
        self.cloud.groups.dissociate_eip(self._group())

    def move(self) -> None:
        """An EIP goes from one group to another, often in another VPC, in one change of two rulesets."""
        eip = self.chance.choice(_EIPS)
        with self.cloud.transaction() as tx:
            holder = tx.eips.show(eip).associate_id
            if holder is not None:
                tx.groups.dissociate_eip(holder)
            tx.groups.associate_eip(self._group(), eip_id=eip)

    def vpc(self) -> None:
        name = self.chance.choice(_VPCS)
        with self.cloud.transaction() as tx:
            tx.vpcs.create(name, "10.0.0.0/8", external_access_mode=self.chance.choice(("none", "eip", "eip-distgw")))
            tx.networks.create(f"{name}-net", "10.1.0.0/28", vpc=name)

    def unvpc(self) -> None:
        name = self.chance.choice(_VPCS)
        with self.cloud.transaction() as tx:
            tx.networks.delete(f"{name}-net")
            tx.vpcs.delete(name)

    def reserve(self) -> None:
        ip = f"192.168.4.{self.chance.randrange(2, 60)}"
        if self.chance.random() < 0.5:
            self.cloud.networks.reserve_ip("web", "kept", [ip])
        else:
            self.cloud.networks.release_reserved_ip("web", ip)


def _main(config: str, seed: int, verbs: int) -> None:
    with Heir.open(config) as cloud:
        worker = Worker(cloud, seed)
        for _ in range(verbs):
            _say(worker.step())


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))
