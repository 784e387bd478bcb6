"""A small cloud, and changes of it at random: the same for the same seed and state."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vipnet.errors import ForbiddenError, RefusedError
from vipnet.model import AccessMode
from vipnet.testing import Scene, Segment, Server, Vpc
from vipnet.transaction import AllVerbs
from vipnet.views import GroupView

__all__ = ["EIPS", "KEPT", "SCENE", "VERBS", "change", "prepare"]

KEPT = "203.0.113.99"
"""The EIP that no change touches; `z` is the only member of its group."""
EIPS = ("203.0.113.50", "203.0.113.51")
_GROUPS = ("g1", "g2", "h1")
_PREFIX = "192.168.4.0/24"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Server):
    """A server whose MAC is the same in every process."""

    @property
    def mac(self) -> str:
        return f"02:00:00:00:{len(self.segment):02x}:{int(self.ip.rpartition('.')[2]):02x}"


SCENE = Scene(
    vpcs=(Vpc(name="red", tag=1, mode="eip-distgw"), Vpc(name="blue", tag=2, mode="eip-distgw")),
    segments=tuple(Segment(name=name, vpc=name, gateway="192.168.4.1/24") for name in ("red", "blue")),
    servers=(
        *(Machine(name=name, segment="red", ip=f"192.168.4.{last}") for name, last in (("a", 11), ("b", 12), ("c", 13))),
        *(Machine(name=name, segment="blue", ip=f"192.168.4.{last}") for name, last in (("x", 11), ("y", 12), ("z", 14))),
    ),
    groups=(),
    eips=(),
)
"""The machines that are there, whether or not the model has them, with their places."""


def prepare(cloud: AllVerbs) -> None:
    """Two VPCs of one CIDR, three groups with members and VIPs, two of them with EIPs; and the group that is let alone."""
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip", start_ip=EIPS[0])  # above what the uplink itself has
    for vpc in SCENE.vpcs:
        cloud.vpcs.create(vpc.name, "192.168.0.0/16", external_access_mode=vpc.mode)
        cloud.networks.create(vpc.name, _PREFIX, vpc=vpc.name)
    for group, vip, members in (("g1", 100, "ab"), ("g2", 101, "c"), ("h1", 100, "x"), ("kept", 103, "z")):
        cloud.groups.create(group)
        for name in members:
            _server(cloud, name, [group])
        cloud.groups.attach_network(group, ip_addr=f"192.168.4.{vip}")
    for name, ip, group in (("e0", EIPS[0], "g1"), ("e1", EIPS[1], "h1"), ("kept", KEPT, "kept")):
        cloud.eips.create(name, network="pub", ip_addr=ip, bandwidth=50)
        cloud.groups.associate_eip(group, eip_id=name)


def change(cloud: AllVerbs, verb: str, seed: int) -> None:
    """One verb, and often one or two more; raises what the first one does when it is refused."""
    chance = random.Random(seed)
    VERBS[verb](cloud, chance)
    for _ in range(chance.choice((0, 0, 1, 2))):
        try:
            VERBS[chance.choice(list(VERBS))](cloud, chance)
        except RefusedError:
            continue


def _server(cloud: AllVerbs, name: str, groups: list[str]) -> None:
    machine = SCENE.server(name)
    net = f"{machine.segment}:{machine.ip}"
    cloud.servers.create(name, nets=[net], groups=groups, devices=[machine.device], macs=[machine.mac])


def _group(cloud: AllVerbs, chance: random.Random, fits: Callable[[GroupView], bool] = lambda _: True) -> str:
    return chance.choice(_some([group.name for group in cloud.groups.list() if group.name != "kept" and fits(group)]))


def _some(names: list[str]) -> list[str]:
    if not names:
        raise ForbiddenError("there is nothing that this could be done to")
    return names


def _machine(cloud: AllVerbs, chance: random.Random, *, there: bool) -> str:
    known = {server.name for server in cloud.servers.list()}
    return chance.choice(_some([one.name for one in SCENE.servers if one.name != "z" and (one.name in known) == there]))


def _come(cloud: AllVerbs, chance: random.Random) -> None:
    name = _machine(cloud, chance, there=False)
    _server(cloud, name, chance.choice(([], ["g1"] if name in "abc" else ["h1"])))


def _go(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.servers.delete(_machine(cloud, chance, there=True))


def _bind(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.groups.bind_guests(_group(cloud, chance), [_machine(cloud, chance, there=True)])


def _unbind(cloud: AllVerbs, chance: random.Random) -> None:
    group = _group(cloud, chance)
    cloud.groups.unbind_guests(group, [chance.choice(_some([guest.server for guest in cloud.groups.guests(group=group)]))])


def _vip(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.groups.attach_network(_group(cloud, chance), network_id=chance.choice(("red", "blue")))


def _unvip(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.groups.detach_network(_group(cloud, chance, lambda group: bool(group.vips)))


def _eip(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.groups.create_eip(_group(cloud, chance), bandwidth=chance.randrange(1, 99), auto_dellocate=True)


def _associate(cloud: AllVerbs, chance: random.Random) -> None:
    free = [eip.name for eip in cloud.eips.list() if eip.associate_id is None]
    cloud.groups.associate_eip(_group(cloud, chance), eip_id=chance.choice(_some(free)))


def _dissociate(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.groups.dissociate_eip(_group(cloud, chance, lambda group: bool(group.vip_eip)))


def _move(cloud: AllVerbs, chance: random.Random) -> None:
    """From one group to another, often in another VPC: two rulesets and a flush."""
    eip = chance.choice(_some([eip.name for eip in cloud.eips.list() if eip.associate_id and eip.name != "kept"]))
    holder = cloud.eips.show(eip).associate_id
    assert holder is not None
    target = _group(cloud, chance, lambda group: bool(group.vips) and not group.vip_eip)
    cloud.groups.dissociate_eip(holder)
    cloud.groups.associate_eip(target, eip_id=eip)


def _swap(cloud: AllVerbs, chance: random.Random) -> None:
    first, second = chance.sample(_some([eip.name for eip in cloud.eips.list() if eip.associate_id and eip.name != "kept"]), 2)
    holders = [cloud.eips.show(eip).associate_id for eip in (first, second)]
    for holder in holders:
        assert holder is not None
        cloud.groups.dissociate_eip(holder)
    for holder, eip in zip(holders, (second, first), strict=True):
        assert holder is not None
        cloud.groups.associate_eip(holder, eip_id=eip)


def _bandwidth(cloud: AllVerbs, chance: random.Random) -> None:
    mapped = [eip.name for eip in cloud.eips.list() if eip.associate_id and eip.name != "kept"]
    cloud.eips.change_bandwidth(chance.choice(_some(mapped)), chance.randrange(100, 200))


def _vpc(cloud: AllVerbs, chance: random.Random) -> None:
    modes: tuple[AccessMode, ...] = ("none", "eip", "distgw", "eip-distgw")
    cloud.vpcs.create("extra", "10.0.0.0/8", external_access_mode=chance.choice(modes))
    cloud.networks.create("extra", "10.1.0.0/24", vpc="extra")


def _unvpc(cloud: AllVerbs, chance: random.Random) -> None:
    del chance
    for network in cloud.networks.list():
        if network.name.startswith("extra"):
            cloud.networks.delete(network.name)
    cloud.vpcs.delete("extra")


def _network(cloud: AllVerbs, chance: random.Random) -> None:
    third = chance.randrange(2, 250)
    cloud.networks.create(f"extra-{third}", f"10.{third}.0.0/24", vpc="extra")


def _gateway(cloud: AllVerbs, chance: random.Random) -> None:
    cloud.networks.update("extra", gateway=f"10.1.0.{chance.randrange(2, 250)}")


def _group_goes(cloud: AllVerbs, chance: random.Random) -> None:
    group = _group(cloud, chance, lambda group: not group.vip_eip)
    for guest in cloud.groups.guests(group=group):
        cloud.groups.unbind_guests(group, [guest.server])
    cloud.groups.delete(group)


def _group_comes(cloud: AllVerbs, chance: random.Random) -> None:
    group = chance.choice(_some(sorted({*_GROUPS, "g3", "g4"} - {group.name for group in cloud.groups.list()})))
    cloud.groups.create(group)
    cloud.groups.bind_guests(group, [_machine(cloud, chance, there=True)])
    cloud.groups.attach_network(group)


VERBS: dict[str, Callable[[AllVerbs, random.Random], None]] = {
    "server-create": _come,
    "server-delete": _go,
    "bind": _bind,
    "unbind": _unbind,
    "attach-vip": _vip,
    "detach-vip": _unvip,
    "create-eip": _eip,
    "associate": _associate,
    "dissociate": _dissociate,
    "move": _move,
    "swap": _swap,
    "bandwidth": _bandwidth,
    "vpc-create": _vpc,
    "vpc-delete": _unvpc,
    "network-create": _network,
    "gateway": _gateway,
    "group-delete": _group_goes,
    "group-create": _group_comes,
}
