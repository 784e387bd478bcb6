"""What an import refuses, word for word; `TAIL` is left out of ids. Nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SPARE, TAIL, Document, document, empty, row

import vipnet
from vipnet.config import Config
from vipnet.invariants import check_topology
from vipnet.model import Nic


def _put(table: str, place: int, **values: Any) -> Callable[[Document], object]:
    return lambda model: model[table][place].update(values)


def _network(name: str, /, **values: Any) -> Callable[[Document], object]:
    return lambda model: row(model, "networks", name=name).update(values)


def _address(ip: str, /, **values: Any) -> Callable[[Document], object]:
    return lambda model: row(model, "addresses", ip=ip).update(values)


def _eip(name: str, /, **values: Any) -> Callable[[Document], object]:
    return lambda model: row(model, "eips", name=name).update(values)


def _without(ip: str) -> Callable[[Document], object]:
    return lambda model: model["addresses"].remove(row(model, "addresses", ip=ip))


def _same(table: str, key: str) -> Callable[[Document], object]:
    return lambda model: model[table][1].update({key: model[table][0][key]})


def _again(table: str, **values: Any) -> Callable[[Document], object]:
    return lambda model: model[table].append({**model[table][0], **values})


def _two_vips(model: Document) -> None:
    group = row(model, "instancegroups", name="g")["id"]
    row(model, "vips", ip="10.1.0.101")["group_id"] = group
    row(model, "addresses", ip="10.1.0.101")["owner_id"] = group


def _elsewhere(model: Document) -> None:
    network = row(model, "networks", name="m")["id"]
    row(model, "nics", ip="10.1.0.9").update(network_id=network, ip="10.2.0.9")
    row(model, "addresses", ip="10.1.0.9").update(network_id=network, ip="10.2.0.9")


def _second_nic(model: Document) -> None:
    network = row(model, "networks", name="m")["id"]
    nic = row(model, "nics", ip="10.1.0.9")
    model["nics"].append({**nic, "id": SPARE, "position": 1, "device": "x", "network_id": network, "ip": "10.2.0.9"})


def _moved_eip(model: Document) -> None:
    model["addresses"].append({**row(model, "addresses", ip="203.0.113.3"), "ip": "203.0.113.9"})
    row(model, "eips", name="e")["ip"] = "203.0.113.9"


def _guest_eip(model: Document) -> None:
    row(model, "eips", name="e").update(network_id=row(model, "networks", name="n")["id"], ip="10.1.0.50")


def _double(model: Document) -> None:
    row(model, "nics", ip="10.1.0.10")["ip"] = "10.1.0.9"


REFUSALS: dict[str, tuple[Callable[[Document], object], str]] = {
    "no version": (
        lambda model: model.pop("vipnet"),
        "the document has version null in its key 'vipnet'; this vipnet reads version 1",
    ),
    "newer version": (
        lambda model: model.update(vipnet=2),
        "the document has version 2 in its key 'vipnet'; this vipnet reads version 1",
    ),
    "version that is true": (
        lambda model: model.update(vipnet=True),
        "the document has version True in its key 'vipnet'; this vipnet reads version 1",
    ),
    "unknown table": (
        lambda model: model.update(routers=[]),
        (
            "key 'routers' of the document is not known; its keys are vipnet, vpcs, networks, hosts, servers, nics, "
            "instancegroups, memberships, vips, eips, addresses"
        ),
    ),
    "missing table": (
        lambda model: model.pop("eips"),
        "key 'eips' of the document is missing; it must be a list of rows, [] for none",
    ),
    "table that is no list": (
        lambda model: model.update(eips={}),
        "key 'eips' of the document is {}; it must be a list of rows, [] for none",
    ),
    "row that is no object": (
        lambda model: model["servers"].insert(0, 5),
        "servers[0] is 5; it must be an object with the keys id, name, project, host_id",
    ),
    "unknown key": (
        _put("servers", 0, nmae="x"),
        "servers[0]: key 'nmae' is not known; did you mean 'name'?",
    ),
    "missing key": (
        lambda model: model["servers"][0].pop("project"),
        "servers[0]: key 'project' is missing; a row has id, name, project, host_id",
    ),
    "number for text": (
        _put("servers", 0, name=5),
        "servers[0]: name is 5; it must be text",
    ),
    "null for text": (
        _put("servers", 0, name=None),
        "servers[0]: name is null; it must be text",
    ),
    "text for a number": (
        _put("networks", 0, vlan_id="5"),
        "networks[0]: vlan_id is '5'; it must be a whole number",
    ),
    "true for a number": (
        _put("networks", 0, vlan_id=True),
        "networks[0]: vlan_id is True; it must be a whole number",
    ),
    "number for yes or no": (
        _put("networks", 0, shared=0),
        "networks[0]: shared is 0; it must be true or false",
    ),
    "unknown word": (
        _put("networks", 0, server_type="host"),
        "networks[0]: server_type is 'host'; it must be one of guest, eip",
    ),
    "address not canonical": (
        _put("nics", 0, ip="10.1.0.009"),
        "nics[0]: ip is '10.1.0.009'; it must be an IPv4 address like 192.168.7.246",
    ),
    "address of the other family": (
        _put("networks", 0, gateway="fe80::1"),
        "networks[0]: gateway is 'fe80::1'; it must be an IPv4 address like 192.168.7.246 or null",
    ),
    "no number of seconds": (
        _put("addresses", 0, until=float("nan")),
        "addresses[0]: until is nan; it must be a number of seconds or null",
    ),
    "id twice": (
        _same("servers", "id"),
        "servers[1]: server b has the id of servers[0]; have each once",
    ),
    "address row twice": (
        _again("addresses"),
        "addresses[7]: address 10.1.0.9 of network 00000002 has the network_id, version, ip of addresses[0]; have each once",
    ),
    "built-in vpc": (
        _put("vpcs", 0, id="default"),
        "vpcs[0]: id 'default' is the built-in VPC's; leave the row out, it is always there",
    ),
    "id that is none": (
        _put("hosts", 0, id="h"),
        "host h: id 'h' is no id; use a UUID of version 4 in lower case",
    ),
    "name": (
        _put("servers", 0, name="a b"),
        "server name 'a b' is not accepted; use 1-128 letters, digits, '.', '_' and '-', a letter or digit first",
    ),
    "notes": (
        _address("10.1.0.20", notes="a\nb"),
        "address 10.1.0.20 of network 00000002: notes 'a\\nb' are not accepted; use up to 256 printable characters",
    ),
    "device": (
        _put("nics", 0, device="x/y"),
        "nic 00000007: device 'x/y' is no interface name; use 1-15 letters, digits, '.', '_' and '-'",
    ),
    "mac": (
        _put("nics", 0, mac="02:00"),
        "nic 00000007: mac '02:00' is no MAC address; write it like 02:00:00:00:00:0a",
    ),
    "mac in capitals": (
        _put("nics", 0, mac="02:00:00:00:00:0A"),
        "nic 00000007: mac '02:00:00:00:00:0A' is not written as vipnet writes it; write 02:00:00:00:00:0a",
    ),
    "vrid out of bounds": (
        _put("vips", 0, vrid=256),
        "vip 00000013: vrid 256 is out of bounds; give a whole number from 1 to 255",
    ),
    "granularity out of bounds": (
        _put("instancegroups", 0, granularity=0),
        "instancegroup g: granularity 0 is out of bounds; give a whole number from 1 to 1000000",
    ),
    "rest out of bounds": (
        _put("networks", 0, alloc_timeout_seconds=-1),
        "network m: alloc_timeout_seconds -1 is out of bounds; give a whole number from 0 to 31536000",
    ),
    "no bandwidth": (
        _eip("e", bandwidth=None),
        "eip e: charge type bandwidth needs a bandwidth; give 1 to 1000000 Mbit/s",
    ),
    "host bits": (
        _put("networks", 0, prefix="10.2.0.1/24"),
        "network m: prefix '10.2.0.1/24' is no IPv4 prefix without host bits; write it like 192.168.4.0/22",
    ),
    "dangling vpc": (
        _put("networks", 0, vpc_id=SPARE),
        "network m: vpc_id '00000099' is no vpc here; use the id of one, or add it",
    ),
    "dangling host": (
        _put("servers", 0, host_id=SPARE),
        "server a: host_id '00000099' is no host here; use the id of one, or add it",
    ),
    "dangling vip": (
        _eip("e", vip_id=SPARE),
        "eip e: vip_id '00000099' is no vip here; use the id of one, or add it",
    ),
    "dangling network of an address": (
        _put("addresses", 0, network_id=SPARE),
        "address 10.1.0.9 of network 00000099: network_id '00000099' is no network here; use the id of one, or add it",
    ),
    "name twice": (
        _put("servers", 0, name="b"),
        "server name 'b' is used twice in project default, by 00000006 and 00000008; give each its own",
    ),
    "vpc named default": (
        _put("vpcs", 0, name="default"),
        "vpc name 'default' is used twice, by 00000001 and default; give each its own",
    ),
    "tag of the built-in vpc": (
        _put("vpcs", 0, tag=0),
        "vpc v: tag 0 is out of bounds; give a whole number from 1 to 2147483647",
    ),
    "mac twice": (
        _same("nics", "mac"),
        "mac 02:00:00:00:07:00 in network n is there twice, with nic 00000007 and nic 00000009; use another",
    ),
    "device twice": (
        _same("nics", "device"),
        "device vn000000070000 on the same host is there twice, with nic 00000007 and nic 00000009; use another",
    ),
    "overlap": (
        _network("m", prefix="10.0.0.0/12", start="10.0.0.2", end="10.0.0.9", gateway="10.0.0.1"),
        "prefix 10.1.0.0/24 of network n overlaps 10.0.0.0/12 of network m in vpc v; use one that is free",
    ),
    "prefix outside the vpc": (
        _put("vpcs", 0, cidr="10.1.0.0/16"),
        "network m: prefix 10.2.0.0/24 of network m is outside 10.1.0.0/16 of vpc v",
    ),
    "empty range": (
        _network("m", start="10.2.0.9", end="10.2.0.8"),
        "network m: range 10.2.0.9-10.2.0.8 is empty; give its first address and its last",
    ),
    "range outside the prefix": (
        _network("m", end="10.3.0.9"),
        "network m: range 10.2.0.2-10.3.0.9 is empty or outside 10.2.0.2-10.2.0.253 of prefix 10.2.0.0/24",
    ),
    "no gateway": (
        _network("m", gateway=None),
        "network m: gateway is missing; a network of vpc v has one, like 10.2.0.1",
    ),
    "half of IPv6": (
        _network("m", start6="2001:db8::2", end6="2001:db8::9"),
        "network m: start6 2001:db8::2 does not go with prefix6 null; use null",
    ),
    "EIP network in a vpc": (
        _network("m", server_type="eip"),
        "network m: server type eip does not go with vpc v; EIP networks live in vpc default",
    ),
    "address outside the range": (
        _address("10.1.0.20", ip="10.1.1.20"),
        "address 10.1.1.20 is outside the range 10.1.0.2-10.1.0.253 of network n",
    ),
    "address of no range": (
        _address("10.1.0.20", ip="2001:db8::1", version=6),
        "address 2001:db8::1 is of network n, which has no IPv6 range; leave it out",
    ),
    "nic without its address": (
        _without("10.1.0.9"),
        "address 10.1.0.9 of network n is had by server a and is not among the addresses; add its row",
    ),
    "vip without its address": (
        _without("10.1.0.101"),
        "address 10.1.0.101 of network n is had by instancegroup k and is not among the addresses; add its row",
    ),
    "eip without its address": (
        _without("203.0.113.3"),
        "address 203.0.113.3 of network pub is had by eip e and is not among the addresses; add its row",
    ),
    "address without its owner": (
        _moved_eip,
        (
            "address 203.0.113.3 of network pub is used by eip e (00000017), which has no NIC, VIP or EIP with it; leave "
            "it out, or add that"
        ),
    ),
    "address of another": (
        lambda model: _address("10.1.0.9", owner_id=row(model, "servers", name="b")["id"])(model),
        (
            "address 10.1.0.9 of network n is had by server a, its row says state used, owner servers '00000008'; use "
            "state used, owner servers '00000006'"
        ),
    ),
    "nic on a reservation": (
        _address("10.1.0.9", state="reserved", owner_type="reserved", owner_id=""),
        (
            "address 10.1.0.9 of network n is had by server a, its row says state reserved, owner reserved ''; use state "
            "used, owner servers '00000006'"
        ),
    ),
    "address held twice": (
        _double,
        "address 10.1.0.9 of network n is held twice, by server a and server b; give one another",
    ),
    "reservation with an owner": (
        _address("10.1.0.20", owner_id=SPARE),
        (
            "address 10.1.0.20 of network 00000002: a reservation has owner reserved '00000099'; use owner_type reserved "
            "and an empty owner_id"
        ),
    ),
    "rest without an end": (
        _address("10.1.0.20", state="resting", owner_type="servers", owner_id=SPARE, notes=""),
        "address 10.1.0.20 of network 00000002: a resting address has no until; say in seconds of the epoch how long it rests",
    ),
    "use with an end": (
        _address("10.1.0.9", until=5.0),
        "address 10.1.0.9 of network 00000002: until 5.0 does not go with state used; use null",
    ),
    "more VIPs than allowed": (
        _two_vips,
        "instancegroup g: 2 VIPs (10.1.0.100, 10.1.0.101) are more than max_vips_per_group 1; leave some out",
    ),
    "member in another network": (
        _elsewhere,
        "server a of instancegroup g has 1 NICs (networks: m); with a VIP each member has exactly one, in network n",
    ),
    "member with two NICs": (
        _second_nic,
        "server a of instancegroup g has 2 NICs (networks: m, n); with a VIP each member has exactly one, in network n",
    ),
    "server of another project": (
        _put("servers", 0, project="p"),
        (
            "nic 00000007: network n belongs to project default and is not shared; server a of project p needs a network "
            "of its own project or a shared one"
        ),
    ),
    "vrid twice": (
        _put("vips", 1, vrid=1),
        "vrid 1 is used twice in network n, by instancegroups g and k; choose another for one",
    ),
    "two EIPs of a group": (
        lambda model: _eip("e", vip_id=model["vips"][0]["id"])(model),
        "instancegroup g has two eips, e and eip-for-grp-g; map one at most",
    ),
    "eip out of a guest network": (
        _guest_eip,
        "eip e: network n is of server type guest; an EIP needs one of type eip",
    ),
    "eip where none may be": (
        _put("vpcs", 0, external_access_mode="none"),
        "eip eip-for-grp-g: vpc v has external access mode none; EIPs need eip or eip-distgw",
    ),
    "member twice": (
        _again("memberships", id=SPARE, position=5),
        (
            "server a in instancegroup g is there twice, with membership 00000011 and membership 00000099; a server is a "
            "member once"
        ),
    ),
    "position twice": (
        _put("memberships", 1, position=0),
        (
            "position 0 in instancegroup g is there twice, with membership 00000011 and membership 00000012; number "
            "members in order"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_document_that_breaks_a_rule_is_refused(case: str) -> None:
    change, details = REFUSALS[case]
    model = document()
    change(model)
    cloud = empty()
    before = cloud.topology
    with pytest.raises(vipnet.InputParameterError) as caught:
        cloud.import_topology(model)
    assert caught.value.details.replace(TAIL, "") == details
    assert cloud.topology is before
    assert cloud.status().revision == 0


_MODEL = document()
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.none(), max_size=1),
    st.sampled_from(["10.1.0.9", "10.1.0.100", "::1", "used", "leaving", "reserved", "resting", "eip", "10.0.0.0/8", SPARE]),
)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_a_document_holds_it_is_refused_or_right(data: st.DataObject) -> None:
    model = copy.deepcopy(_MODEL)
    for _ in range(data.draw(st.integers(1, 2))):
        table = data.draw(st.sampled_from([name for name in model if name != "vipnet"]))
        changed = data.draw(st.sampled_from(model[table]))
        changed[data.draw(st.sampled_from(list(changed)))] = data.draw(_VALUES)
    cloud = empty()
    try:
        cloud.import_topology(model)
    except vipnet.InputParameterError:
        assert not cloud.topology.count(Nic)
        return
    check_topology(cloud.topology)
    again = empty()
    again.import_topology(cloud.export())
    assert again.export() == cloud.export()


def test_more_vips_where_they_are_allowed() -> None:
    model = document()
    _two_vips(model)
    cloud = empty(config=Config(max_vips_per_group=2))
    cloud.import_topology(model)
    assert cloud.groups.show("g").vips == ("10.1.0.100", "10.1.0.101")
