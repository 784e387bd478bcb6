"""Changes at random of everything that is not watched: what a cloud's other tenants do all day, one verb after the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from vipnet.controller import Controller
from vipnet.errors import RefusedError
from vipnet.lab import Lab, netns
from vipnet.model import AccessMode
from vipnet.transaction import Transaction

__all__ = ["Changes", "Home"]

_MODES: Final[tuple[AccessMode, ...]] = ("eip", "distgw", "eip-distgw", "none")
_MOST: Final = {"vpc": 5, "network": 10, "server": 8, "group": 12, "eip": 12, "public": 2}
_CROWD: Final = 200
"""Groups that come at once, each with VIP and EIP: the sets of a router grow past several sizes of their tables."""


class Home(Protocol):
    """Where changes are made."""

    cloud: Controller
    lab: Lab

    def restart(self) -> None:
        """Close the Controller and open another one over the same store."""
        ...


@dataclass(slots=True, kw_only=True)
class Changes:
    """Makes one change after the other.

    `segments` are a network each of VPCs with streams, in which others come and go as well. `watched`: EIPs with streams, of
    which only the limit is changed; `standbys`: groups with streams, each with a server that joins and leaves it and
    does not hold its VIP. `wide` names an EIP network with room for a crowd. `drifts` is what others do, by its name.
    """

    home: Home
    seed: int
    segments: dict[str, str]
    watched: Sequence[str]
    standbys: Sequence[tuple[str, str]]
    wide: str
    drifts: Mapping[str, Callable[[], object]]
    done: Counter[str] = field(default_factory=Counter[str])
    _random: random.Random = field(init=False)
    _count: int = 0
    _vpcs: list[str] = field(default_factory=list[str])
    _networks: dict[str, str] = field(default_factory=dict[str, str])
    _servers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _groups: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    _eips: list[str] = field(default_factory=list[str])
    _publics: list[str] = field(default_factory=list[str])
    _bound: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _crowd: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a seed is wanted

    def make(self, count: int) -> Iterator[str]:
        """Make so many changes, each kind about as often, and tell what each was after it was made."""
        kinds = [(name, getattr(self, name)) for name in sorted(vars(type(self))) if name.startswith("do_")]
        left = list[tuple[str, Callable[[], None]]]()
        while count:
            left = left or self._random.sample(kinds, len(kinds))
            name, act = left.pop()
            try:
                act()
            except (RefusedError, IndexError):  # there is nothing of the kind just now
                continue
            count -= 1
            self.done[name.removeprefix("do_")] += 1
            yield name.removeprefix("do_")

    @property
    def cloud(self) -> Controller:
        return self.home.cloud

    # -------------------------------------------------------------------------------------------- places

    def do_vpc_create(self) -> None:
        name = self._new("vpc", self._vpcs)
        cidr6 = self._random.choice([None, "fd00::/16"])
        self.cloud.vpcs.create(name, "192.168.0.0/16", cidr6=cidr6, external_access_mode=self._random.choice(_MODES))
        self._vpcs.append(name)

    def do_vpc_delete(self) -> None:
        name = self._random.choice(self._vpcs)
        self.cloud.vpcs.delete(name)
        self._vpcs.remove(name)

    def do_network_create(self) -> None:
        name = self._new("network", self._networks)
        vpc = self._random.choice([*self._vpcs, *self.segments, "default"])
        third = 16 + self._count % 200
        prefix6 = f"fd00:{third:x}::/64" if self.cloud.vpcs.show(vpc).cidr_block6 else None
        self.cloud.networks.create(name, f"192.168.{third}.0/24", vpc=vpc, prefix6=prefix6)
        self._networks[name] = vpc

    def do_network_update(self) -> None:
        last = self._random.randrange(200, 255)
        name = self._random.choice(list(self._networks))
        prefix = self.cloud.networks.show(name).prefix.rpartition(".")[0]
        self.cloud.networks.update(name, gateway=f"{prefix}.{last}")

    def do_network_delete(self) -> None:
        name = self._random.choice(list(self._networks))
        self.cloud.networks.delete(name)
        del self._networks[name]

    def do_public_network_create(self) -> None:
        name = self._new("public", self._publics)
        self.cloud.networks.create(name, f"198.18.{self._count % 250}.0/24", server_type="eip")
        self._publics.append(name)

    def do_public_network_delete(self) -> None:
        name = self._publics[0]
        self.cloud.networks.delete(name)
        self._publics.remove(name)

    def do_address_reserve(self) -> None:
        name = self._random.choice(list(self._networks))
        self.cloud.networks.reserve_ip(name, "kept", [self.cloud.networks.show(name).guest_ip_end], duration="10I")

    # -------------------------------------------------------------------------------------------- servers

    def do_server_create(self) -> None:
        name, network = self._new("server", self._servers), self._some_network()
        self._plug(f"x{self._count}")
        self.cloud.servers.create(name, nets=[network], devices=[f"x{self._count}"])
        self._servers[name] = [network]

    def do_server_appears_late(self) -> None:
        name, network = self._new("server", self._servers), self._some_network()
        self.cloud.servers.create(name, nets=[network], devices=[f"x{self._count}"])
        self._servers[name] = [network]
        self._plug(f"x{self._count}")
        self.cloud.apply()

    def do_server_delete(self) -> None:
        name = self._random.choice(list(self._servers))
        devices = [nic.device for nic in self.cloud.servers.show(name).nics]
        self.cloud.servers.delete(name)
        netns.ip(self.home.lab.host, [f"link del {device}" for device in devices])
        del self._servers[name]
        for members in self._groups.values():
            members.discard(name)

    def do_nic_attach(self) -> None:
        name, network = self._random.choice(list(self._servers)), self._some_network()
        self._count += 1
        self._plug(f"x{self._count}")
        try:
            self.cloud.servers.attach_network(name, network, device=f"x{self._count}")
        except RefusedError:
            netns.ip(self.home.lab.host, [f"link del x{self._count}"])
            raise
        self._servers[name].append(network)

    def do_nic_detach(self) -> None:
        name = self._random.choice([name for name, nets in self._servers.items() if len(nets) > 1])
        network = self._servers[name][-1]
        device = next(nic.device for nic in self.cloud.servers.show(name).nics if nic.network == network)
        self.cloud.servers.detach_network(name, network)
        netns.ip(self.home.lab.host, [f"link del {device}"])
        self._servers[name].remove(network)

    # -------------------------------------------------------------------------------------------- groups

    def do_group_create(self) -> None:
        name = self._new("group", self._groups)
        self.cloud.groups.create(name)
        self._groups[name] = set()

    def do_group_delete(self) -> None:
        name = self._random.choice(list(self._groups))
        self.cloud.groups.delete(name)
        del self._groups[name]

    def do_bind(self) -> None:
        name, server = self._random.choice(list(self._groups)), self._random.choice(list(self._servers))
        self.cloud.groups.bind_guests(name, [server])
        self._groups[name].add(server)

    def do_unbind(self) -> None:
        name = self._random.choice([name for name, members in self._groups.items() if members])
        server = self._random.choice(sorted(self._groups[name]))
        self.cloud.groups.unbind_guests(name, [server])
        self._groups[name].discard(server)

    def do_standby_joins_or_leaves(self) -> None:
        group, server = pair = self._random.choice(self.standbys)
        if pair in self._bound:
            self.cloud.groups.unbind_guests(group, [server])
        else:
            self.cloud.groups.bind_guests(group, [server])
        self._bound ^= {pair}

    def do_vip_attach(self) -> None:
        name, is_dual = self._random.choice(list(self._groups)), self._random.choice([True, False])
        network = None if self._groups[name] else self._some_network()
        self.cloud.groups.attach_network(name, network_id=network, require_ipv6=is_dual)

    def do_vip_detach(self) -> None:
        self.cloud.groups.detach_network(self._random.choice(list(self._groups)))

    # -------------------------------------------------------------------------------------------- elastic IPs

    def do_eip_create(self) -> None:
        name = self._new("eip", self._eips)
        self.cloud.eips.create(name, network=self.wide, **self._limit())
        self._eips.append(name)

    def do_eip_create_for_group(self) -> None:
        name = self._random.choice(list(self._groups))
        self.cloud.groups.create_eip(name, auto_dellocate=True, **self._limit())

    def do_eip_associate(self) -> None:
        name = self._random.choice(list(self._groups))
        self.cloud.groups.associate_eip(name, eip_id=self._random.choice(self._eips))

    def do_eip_dissociate(self) -> None:
        self.cloud.groups.dissociate_eip(self._random.choice(list(self._groups)))

    def do_eip_move(self) -> None:
        eip = self.cloud.eips.show(self._random.choice(self._eips))
        if eip.associate_id is None:
            raise IndexError
        with self.cloud.transaction() as tx:
            tx.groups.dissociate_eip(eip.associate_id)
            tx.groups.associate_eip(self._random.choice(list(self._groups)), eip_id=eip.name)

    def do_eip_delete(self) -> None:
        name = self._random.choice(self._eips)
        self.cloud.eips.delete(name)
        self._eips.remove(name)

    def do_limit_change(self) -> None:
        eip = self._random.choice([*self._eips, *self.watched])
        self.cloud.eips.change_bandwidth(eip, self._random.randrange(500, 1000))

    def do_crowd_comes_or_goes(self) -> None:
        self._count += 1
        with self.cloud.transaction() as tx:
            self._crowd = self._crowd_goes(tx) if self._crowd else self._crowd_comes(tx)

    # -------------------------------------------------------------------------------------------- vipnet itself

    def do_restart(self) -> None:
        self.home.restart()
        self.cloud.apply()

    def do_audit(self) -> None:
        self.cloud.apply(audit=True)

    def do_look(self) -> None:
        self.cloud.plan()
        self.cloud.status()

    def do_drift(self) -> None:
        self.drifts[self._random.choice(list(self.drifts))]()
        self.cloud.apply()

    # -------------------------------------------------------------------------------------------- odds and ends

    def _new(self, kind: str, there: Sequence[str] | dict[str, str] | dict[str, list[str]] | dict[str, set[str]]) -> str:
        if len(there) >= _MOST[kind]:
            raise IndexError
        self._count += 1
        return f"other-{kind}-{self._count}"

    def _some_network(self) -> str:
        return self._random.choice([*self._networks, *self.segments.values()])

    def _limit(self) -> dict[str, Any]:
        return self._random.choice([{"charge_type": "traffic"}, {"bandwidth": self._random.randrange(1, 1000)}])

    def _plug(self, device: str) -> None:
        netns.ip(self.home.lab.host, [f"link add {device} type veth peer name {device}-in"])

    def _crowd_comes(self, tx: Transaction) -> str:
        network = f"crowd-{self._count}"
        tx.networks.create(network, "192.168.240.0/23", vpc=self._random.choice(list(self.segments)))
        for number in range(_CROWD):
            tx.groups.create(f"{network}-{number}")
            tx.groups.attach_network(f"{network}-{number}", network_id=network)
            tx.eips.create(f"{network}-{number}", network=self.wide, **self._limit())
            tx.groups.associate_eip(f"{network}-{number}", eip_id=f"{network}-{number}")
        return network

    def _crowd_goes(self, tx: Transaction) -> str:
        for number in range(_CROWD):
            tx.groups.dissociate_eip(f"{self._crowd}-{number}")
            tx.eips.delete(f"{self._crowd}-{number}")
            tx.groups.detach_network(f"{self._crowd}-{number}")
            tx.groups.delete(f"{self._crowd}-{number}")
        tx.networks.delete(self._crowd)
        return ""
