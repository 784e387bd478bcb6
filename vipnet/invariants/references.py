"""That what is referred to exists, and that what must be unique is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from vipnet.errors import InputParameterError
from vipnet.invariants.wording import called, kind_word
from vipnet.model import (
    Address,
    Eip,
    Host,
    InstanceGroup,
    Membership,
    Network,
    Nic,
    Server,
    Thing,
    Vip,
    Vpc,
    short_id,
)
from vipnet.topology import Topology

__all__ = ["REFERENCES", "check_references", "check_refers", "check_unique", "clashes"]

REFERENCES: Mapping[type[Thing], Mapping[str, type[Thing]]] = {
    Network: {"vpc_id": Vpc},
    Server: {"host_id": Host},
    Nic: {"server_id": Server, "network_id": Network},
    Membership: {"group_id": InstanceGroup, "server_id": Server},
    Vip: {"group_id": InstanceGroup, "network_id": Network},
    Eip: {"network_id": Network, "vip_id": Vip},
    Address: {"network_id": Network},
}
"""The fields that hold the id of another object. Who has an address is `ownership`'s."""

T = TypeVar("T", bound=Thing)


def check_references(topology: Topology) -> None:
    """Raise InputParameterError for a reference to what does not exist."""
    for kind in REFERENCES:
        for thing in topology.all(kind):
            check_refers(topology, thing)


def check_refers(topology: Topology, thing: Thing) -> None:
    """Raise InputParameterError if an object refers to what does not exist."""
    for field, target in REFERENCES.get(type(thing), {}).items():
        id = getattr(thing, field)
        if id is not None and topology.get(target, id) is None:
            word = kind_word(target)
            raise InputParameterError(f"{called(thing)}: {field} {id!r} is no {word} here; use the id of one, or add it")


def clashes(things: Iterable[T], key: Callable[[T], Hashable]) -> Iterator[tuple[T, T]]:
    """Pairs of objects of the same key; None is no key."""
    seen: dict[Hashable, T] = {}
    for thing in things:
        value = key(thing)
        if value is not None and seen.setdefault(value, thing) is not thing:
            yield seen[value], thing


def check_unique(topology: Topology) -> None:
    """Raise InputParameterError for a name, tag, MAC address, device or place that two objects have."""
    _check_names(topology)
    for one, other in clashes(topology.all(Vpc), lambda vpc: vpc.tag):
        _refuse(one, other, f"tag {one.tag}", "each VPC has its own")
    _check_ids(topology.all(Vpc))
    _check_ids(topology.all(Network))
    _check_ports(topology)
    _check_places(topology)


def _check_ids(things: Iterable[Vpc | Network]) -> None:
    for one, other in clashes(things, lambda thing: short_id(thing.id)):
        _refuse(one, other, f"id {short_id(one.id)}…", "the first twelve digits must differ, interfaces are named by them")


def _check_names(topology: Topology) -> None:
    _check_global_names(topology.all(Vpc))
    _check_global_names(topology.all(Host))
    _check_project_names(topology.all(Network))
    _check_project_names(topology.all(Server))
    _check_project_names(topology.all(InstanceGroup))
    _check_project_names(topology.all(Eip))


_Global = Vpc | Host
_Owned = Network | Server | InstanceGroup | Eip


def _check_global_names(things: Iterable[_Global]) -> None:
    for one, other in clashes(things, lambda thing: thing.name):
        raise InputParameterError(_same_name(one, other, ""))


def _check_project_names(things: Iterable[_Owned]) -> None:
    for one, other in clashes(things, lambda thing: (thing.project, thing.name)):
        raise InputParameterError(_same_name(one, other, f" in project {one.project}"))


def _same_name(one: _Global | _Owned, other: _Global | _Owned, where: str) -> str:
    ids = " and ".join(sorted((one.id, other.id)))
    return f"{kind_word(type(one))} name {one.name!r} is used twice{where}, by {ids}; give each its own"


def _check_ports(topology: Topology) -> None:
    for one, other in clashes(topology.all(Nic), lambda nic: (nic.network_id, nic.mac)):
        network = topology.at(Network, one.network_id)
        _refuse(one, other, f"mac {one.mac} in network {network.name}", "use another")
    for one, other in clashes(topology.all(Nic), lambda nic: (topology.at(Server, nic.server_id).host_id, nic.device)):
        _refuse(one, other, f"device {one.device} on the same host", "use another")


def _check_places(topology: Topology) -> None:
    for one, other in clashes(topology.all(Nic), lambda nic: (nic.server_id, nic.network_id)):
        server, network = topology.at(Server, one.server_id), topology.at(Network, one.network_id)
        _refuse(one, other, f"network {network.name} on server {server.name}", "a server has one NIC in a network")
    for one, other in clashes(topology.all(Nic), lambda nic: (nic.server_id, nic.position)):
        server = topology.at(Server, one.server_id)
        _refuse(one, other, f"position {one.position} on server {server.name}", "number them in order")
    for first, second in clashes(topology.all(Membership), lambda row: (row.group_id, row.server_id)):
        group, server = topology.at(InstanceGroup, first.group_id), topology.at(Server, first.server_id)
        _refuse(first, second, f"server {server.name} in instancegroup {group.name}", "a server is a member once")
    for first, second in clashes(topology.all(Membership), lambda row: (row.group_id, row.position)):
        group = topology.at(InstanceGroup, first.group_id)
        _refuse(first, second, f"position {first.position} in instancegroup {group.name}", "number members in order")


def _refuse(one: Thing, other: Thing, what: str, hint: str) -> None:
    first, second = sorted((called(one), called(other)))
    raise InputParameterError(f"{what} is there twice, with {first} and {second}; {hint}")
