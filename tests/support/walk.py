"""Random walks over the verbs, the same for the same seed: for what must hold after any sequence of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

from plane import DictBackend

from vipnet.config import Config, UplinkConfig
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.store import MemoryStore

__all__ = ["CONFIG", "Clock", "build", "controller", "more_verbs", "verbs"]

CONFIG = Config(uplinks={"pub": UplinkConfig(name="pub", device="up", address="203.0.113.2/24", gateway="203.0.113.1")})


class Clock:
    """Time that passes by ten seconds whenever it is asked for."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 10.5
        return self.now


def controller(seed: int = 0) -> tuple[Controller, DictBackend]:
    chance = random.Random(seed)
    world = World(
        clock=Clock(),
        random=chance.randrange,
        new_id=lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    )
    backend = DictBackend()
    return Controller(config=CONFIG, store=MemoryStore(), backend=backend, world=world), backend


def build(cloud: Controller) -> None:
    """What a walk starts from."""
    for vpc in ("v1", "v2"):
        cloud.vpcs.create(vpc, "10.0.0.0/8")
        for number in (1, 2):
            cloud.networks.create(f"{vpc}n{number}", f"10.{number}.0.0/28", vpc=vpc)
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    for name in ("g1", "g2", "g3"):
        cloud.groups.create(name)


def verbs(chance: random.Random, count: Callable[[], int]) -> list[Callable[[Controller], object]]:
    """Verbs with arguments at random; many of them will be refused."""
    group, net = chance.choice(["g1", "g2", "g3"]), chance.choice(["v1n1", "v1n2", "v2n1", "v2n2"])
    server, nets = f"s{chance.randrange(6)}", [net] if chance.random() < 0.9 else ["v1n1", "v1n2"]
    name = f"x{count()}"
    return [
        lambda cloud: cloud.servers.create(server, nets=nets, groups=[group] if chance.random() < 0.5 else []),
        lambda cloud: cloud.servers.delete(server),
        lambda cloud: cloud.groups.bind_guests(group, [server]),
        lambda cloud: cloud.groups.bind_guests(group, ["s0", "s1", "s2"]),
        lambda cloud: cloud.groups.unbind_guests(group, [server]),
        lambda cloud: cloud.groups.attach_network(group, network_id=net),
        lambda cloud: cloud.groups.attach_network(group),
        lambda cloud: cloud.groups.detach_network(group),
        lambda cloud: cloud.groups.create_eip(group, bandwidth=5, auto_dellocate=chance.random() < 0.5),
        lambda cloud: cloud.groups.dissociate_eip(group),
        lambda cloud: cloud.groups.delete(group),
        lambda cloud: cloud.groups.create(group),
        lambda cloud: cloud.vpcs.create(name, "10.0.0.0/8"),
        lambda cloud: cloud.networks.create(name, f"10.{chance.randrange(3, 250)}.0.0/28", vpc="v1"),
        lambda cloud: cloud.vpcs.delete(name),
        lambda cloud: cloud.eips.create(name, network="pub", bandwidth=3),
        lambda cloud: cloud.groups.associate_eip(group, eip_id=cloud.eips.list()[0].id if cloud.eips.list() else "none"),
    ]


def more_verbs(chance: random.Random, count: Callable[[], int]) -> list[Callable[[Controller], object]]:
    """Verbs beyond those that move packets: IPv6, hosts, projects, devices, reservations, VRIDs, freezing."""
    group, server, name = chance.choice(["g1", "g2", "g3"]), f"s{chance.randrange(6)}", f"y{count()}"
    net = chance.choice(["v1n1", "v1n2", "v2n1", "v2n2"])
    ip = f"10.{net[-1]}.0.{chance.randrange(1, 15)}"
    return [
        lambda cloud: cloud.vpcs.create("six", "172.16.0.0/12", cidr6="2001:db8::/32", external_access_mode="eip"),
        lambda cloud: cloud.networks.create("dual", "172.16.1.0/24", vpc="six", prefix6="2001:db8:1::/64", shared=True),
        lambda cloud: cloud.servers.create(server, nets=["dual"], groups=[group]),
        lambda cloud: cloud.groups.attach_network(group, require_ipv6=True),
        lambda cloud: cloud.networks.create("office", "192.168.0.0/24", gateway="192.168.0.1", vlan_id=9, alloc_policy="random"),
        lambda cloud: cloud.networks.update("office", gateway=f"192.168.0.{chance.randrange(1, 9)}"),
        lambda cloud: cloud.networks.update(net, end_ip=f"10.{net[-1]}.0.{chance.randrange(6, 14)}"),
        lambda cloud: cloud.hosts.create(f"h{chance.randrange(2)}"),
        lambda cloud: cloud.servers.create(server, nets=[net], host="h0", devices=["tap0"], macs=["02:00:00:00:00:0a"]),
        lambda cloud: cloud.servers.create("alien", nets=["dual"], project="alien", host="h1", devices=["tap0"]),
        lambda cloud: cloud.groups.create(group, project="alien", service_type="web", granularity=3),
        lambda cloud: cloud.servers.attach_network(server, net),
        lambda cloud: cloud.servers.detach_network(server, net),
        lambda cloud: cloud.networks.reserve_ip(net, f"größe of {name}", [ip], duration=chance.choice([None, "1I", "1D"])),
        lambda cloud: cloud.networks.release_reserved_ip(net, ip),
        lambda cloud: cloud.groups.attach_network(group, ip_addr=ip, reserved=True, network_id=net),
        lambda cloud: cloud.groups.update(group, vrid=chance.randrange(1, 4)),
        lambda cloud: cloud.groups.freeze(group),
        lambda cloud: cloud.groups.unfreeze(group),
        lambda cloud: cloud.groups.disable(group),
        lambda cloud: cloud.groups.enable(group),
        lambda cloud: cloud.eips.create(name, network="pub", charge_type="traffic"),
        lambda cloud: cloud.networks.delete(net),
    ]
