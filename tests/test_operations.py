"""What the verbs refuse, word for word, and that nothing changes; the rules that no conformance case asks about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from plane import DictBackend

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.model import InstanceGroup
from vipnet.operations.draft import Draft
from vipnet.store import MemoryStore


@pytest.fixture
def cloud() -> Controller:
    cloud = Controller(config=Config(), store=MemoryStore(), backend=DictBackend())
    cloud.vpcs.create("prod", "192.168.0.0/16")
    cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip", start_ip="203.0.113.100", end_ip="203.0.113.101")
    cloud.servers.create("a", nets=["web:192.168.7.247"], devices=["tap0"])
    cloud.groups.create("g")
    cloud.groups.bind_guests("g", ["a"])
    cloud.groups.create("empty")
    return cloud


REFUSALS: dict[str, tuple[Callable[[Controller], object], type[vipnet.VipnetError], str]] = {
    "address outside the subnet": (
        lambda cloud: cloud.groups.attach_network("g", ip_addr="10.9.9.9"),
        vipnet.InputParameterError,
        "ip_addr 10.9.9.9 is outside the range 192.168.4.2-192.168.7.253 of network web",
    ),
    "name with a newline": (
        lambda cloud: cloud.groups.create("a\nb"),
        vipnet.InputParameterError,
        "instancegroup name 'a\\nb' is not accepted; use 1-128 letters, digits, '.', '_' and '-', a letter or digit first",
    ),
    "name with a semicolon": (
        lambda cloud: cloud.networks.create("a;b", "10.0.0.0/24"),
        vipnet.InputParameterError,
        "network name 'a;b' is not accepted; use 1-128 letters, digits, '.', '_' and '-', a letter or digit first",
    ),
    "device that is no interface name": (
        lambda cloud: cloud.servers.create("b", nets=["web"], devices=['x" accept;']),
        vipnet.InputParameterError,
        "device 'x\" accept;' is no interface name; use 1-15 letters, digits, '.', '_' and '-'",
    ),
    "device in use": (
        lambda cloud: cloud.servers.create("b", nets=["web"], devices=["tap0"]),
        vipnet.ConflictError,
        "device tap0 is the port of server a on the same host; choose another",
    ),
    "address in use": (
        lambda cloud: cloud.servers.create("b", nets=["web:192.168.7.247"]),
        vipnet.ConflictError,
        "ip_addr 192.168.7.247 of network web is held by server a; free nearby: 192.168.7.246, 192.168.7.248, 192.168.7.245",
    ),
    "prefix that overlaps": (
        lambda cloud: cloud.networks.create("app", "192.168.6.0/24", vpc="prod"),
        vipnet.ConflictError,
        "prefix 192.168.6.0/24 of network app overlaps 192.168.4.0/22 of network web in vpc prod; use one that is free",
    ),
    "prefix with host bits": (
        lambda cloud: cloud.networks.create("app", "192.168.8.1/24", vpc="prod"),
        vipnet.InputParameterError,
        "prefix '192.168.8.1/24' is no IPv4 prefix without host bits; write it like 192.168.4.0/22",
    ),
    "unknown guest": (
        lambda cloud: cloud.groups.bind_guests("g", ["ghost"]),
        vipnet.InputParameterError,
        "no such server 'ghost'; give an id or a name that server-list shows",
    ),
    "VIP for EIPs": (
        lambda cloud: cloud.groups.attach_network("empty", network_id="pub"),
        vipnet.InputParameterError,
        "network pub is for EIPs; a VIP needs one of server type guest",
    ),
    "built-in VPC": (
        lambda cloud: cloud.vpcs.delete("default"),
        vipnet.ForbiddenError,
        "vpc default is built in and cannot be deleted",
    ),
    "VPC with networks": (
        lambda cloud: cloud.vpcs.delete("prod"),
        vipnet.NotEmptyError,
        "vpc prod has 1 networks (web); delete them first",
    ),
    "range that is upside down": (
        lambda cloud: cloud.networks.create(
            "app", "192.168.8.0/24", vpc="prod", start_ip="192.168.8.9", end_ip="192.168.8.5"
        ),
        vipnet.InputParameterError,
        "range 192.168.8.9-192.168.8.5 is empty or outside 192.168.8.2-192.168.8.253 of prefix 192.168.8.0/24",
    ),
    "multicast MAC": (
        lambda cloud: cloud.servers.create("b", nets=["web"], macs=["01:00:5e:00:00:12"]),
        vipnet.InputParameterError,
        "mac '01:00:5e:00:00:12' is no unicast MAC address; write it like 02:00:00:00:00:0a",
    ),
    "notes with a control character": (
        lambda cloud: cloud.networks.reserve_ip("web", "a\x1b[31m", ["192.168.4.9"]),
        vipnet.InputParameterError,
        "notes 'a\\x1b[31m' are not accepted; use up to 256 printable characters",
    ),
    "keepalived without a VIP": (
        lambda cloud: cloud.groups.keepalived_config("g", "a"),
        vipnet.InvalidStatusError,
        "instancegroup g has no VIP; attach one first",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_what_is_wrong_and_change_nothing(cloud: Controller, case: str) -> None:
    verb, kind, text = REFUSALS[case]
    installed, topology = dict(_plane(cloud).installed), cloud.topology
    with pytest.raises(kind) as caught:
        verb(cloud)
    assert caught.value.details == text
    assert _plane(cloud).installed == installed
    assert cloud.topology is topology


def _plane(cloud: Controller) -> DictBackend:
    assert isinstance(cloud.backend, DictBackend)
    return cloud.backend


def test_a_replaced_address_is_a_warning(cloud: Controller) -> None:
    shown = cloud.groups.attach_network("g", ip_addr="192.168.7.247")
    assert shown.vips == ("192.168.7.253",)
    assert shown.warnings == ("ip_addr 192.168.7.247 of network web is held by server a; another one was chosen",)
    assert cloud.groups.show("g").warnings == ()


def test_broken_dispersion_is_a_warning_that_names_the_hosts(cloud: Controller) -> None:
    cloud.hosts.create("h1")
    for name in ("x", "y"):
        cloud.servers.create(name, nets=["web"], host="h1")
    cloud.groups.create("g2")
    shown = cloud.groups.bind_guests("g2", ["x", "y"])
    assert shown.warnings == ("instancegroup g2 now has more than 1 members on host h1",)


def test_vrids_are_the_lowest_free_of_the_network_and_come_back(cloud: Controller) -> None:
    for name in ("g1", "g2", "g3"):
        cloud.groups.create(name)
        cloud.groups.attach_network(name, network_id="web")
    assert [cloud.groups.show(name).vrid for name in ("g1", "g2", "g3")] == [1, 2, 3]
    cloud.groups.detach_network("g2")
    assert cloud.groups.show("g2").vrid is None
    assert cloud.groups.attach_network("g").vrid == 2
    with pytest.raises(vipnet.ConflictError, match="vrid 2 is used by instancegroup g in network web"):
        cloud.groups.attach_network("g2", network_id="web", vrid=2)
    assert cloud.groups.attach_network("g2", network_id="web", vrid=255).vrid == 255


def test_a_frozen_group_takes_no_members_and_loses_a_deleted_one(cloud: Controller) -> None:
    (group,) = cloud.topology.by(InstanceGroup, "name", "g")

    def freeze(draft: Draft) -> None:
        draft.put(dataclasses.replace(group, frozen=True))

    cloud.mutate(freeze, lambda _viewer, _result: None)
    with pytest.raises(vipnet.BadRequestError, match="frozen"):
        cloud.servers.create("b", nets=["web"], groups=["g"])
    with pytest.raises(vipnet.BadRequestError, match="frozen"):
        cloud.groups.attach_network("g")
    cloud.servers.delete("a")
    assert cloud.groups.show("g").guest_count == 0


def test_a_name_of_several_projects_is_ambiguous(cloud: Controller) -> None:
    cloud.groups.create("g", project="p2")
    with pytest.raises(vipnet.ConflictError, match="is used in several projects; give one of the ids"):
        cloud.groups.show("g")


def test_the_eip_network_with_most_free_addresses_is_chosen_then_none_is_left(cloud: Controller) -> None:
    cloud.groups.attach_network("g")
    cloud.eips.create("x", network="pub", bandwidth=1)
    cloud.eips.create("y", network="pub", bandwidth=1)
    with pytest.raises(vipnet.NotFoundError, match="no usable EIP network in zone default with bgp_type ''"):
        cloud.groups.create_eip("g", bandwidth=1)
    with pytest.raises(vipnet.InsufficientResourceError, match=r"network pub has no free IPv4 address left in 203\.0\.113\.100"):
        cloud.eips.create("z", network="pub", bandwidth=1)
