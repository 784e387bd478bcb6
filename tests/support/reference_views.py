"""What the list verbs would show of the reference model, as plain dicts, and the same of a Controller."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from reference import Reference
from reference_rows import Row

from vipnet.controller import Controller

__all__ = ["seen", "told"]

_LISTS = ("vpcs", "networks", "hosts", "servers", "groups", "eips")


def seen(cloud: Controller) -> dict[str, list[Row]]:
    """Every list view of a Controller."""
    lists: dict[str, Iterable[Any]] = {name: getattr(cloud, name).list() for name in _LISTS}
    lists["guests"], lists["vips"] = cloud.groups.guests(), cloud.groups.networks()
    for network in lists["networks"]:
        lists[f"addresses of {network.id}"] = cloud.networks.addresses(network.id)
    return {name: [_plain(view) for view in views] for name, views in lists.items()}


def _plain(view: Any) -> Row:
    row = dataclasses.asdict(view)
    del row["warnings"]
    return row


def told(model: Reference) -> dict[str, list[Row]]:
    """Every list view of the reference model."""
    groups = _sorted(model.groups)
    lists = {
        "vpcs": [_vpc(row) for row in _sorted(model.vpcs)],
        "networks": [_network(model, row) for row in _sorted(model.networks)],
        "hosts": [dict(row) for row in _sorted(model.hosts)],
        "servers": [_server(model, row) for row in _sorted(model.servers)],
        "groups": [_group(model, row) for row in groups],
        "eips": [_eip(model, row) for row in _sorted(model.eips)],
        "guests": [_guest(model, row, id) for row in groups for id in row["members"]],
        "vips": [_vip(model, row, vip) for row in groups for vip in row["vips"]],
    }
    for network in model.networks:
        lists[f"addresses of {network['id']}"] = _addresses(model, network)
    return lists


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["name"], row["id"]))


def _text(version: int, ip: int | None) -> str | None:
    return None if ip is None else str(IPv4Address(ip) if version == 4 else IPv6Address(ip))


def _vpc(row: Row) -> Row:
    mode = row["mode"]
    return {"id": row["id"], "name": row["name"], "cidr_block": row["cidr"], "cidr_block6": row["cidr6"]} | {
        "external_access_mode": mode
    }


def _network(model: Reference, row: Row) -> Row:
    inside = [one for one in model.addresses if one["network"] == row["id"] and one["version"] == 4]
    used = len([one for one in inside if one["state"] != "resting"])
    return {
        "id": row["id"],
        "name": row["name"],
        "vpc": model.at(model.vpcs, row["vpc"])["name"],
        "prefix": row["prefix"],
        "guest_ip_start": _text(4, row["start"]),
        "guest_ip_end": _text(4, row["end"]),
        "guest_gateway": _text(4, row["gateway"]),
        "prefix6": row["prefix6"],
        "alloc_policy": row["policy"],
        "server_type": row["kind"],
        "bgp_type": row["bgp"],
        "zone": row["zone"],
        "project": row["project"],
        "shared": row["shared"],
        "free_count": len(model.span(row, 4)) - used,
        "used_count": used,
    }


def _addresses(model: Reference, network: Row) -> list[Row]:
    rows = [row for row in model.addresses if row["network"] == network["id"] and row["state"] != "resting"]
    return [_address(model, row) for row in sorted(rows, key=lambda row: (row["version"], row["ip"]))]


def _address(model: Reference, row: Row) -> Row:
    owners = [*model.servers, *model.groups, *model.eips]
    return {
        "ip_addr": _text(row["version"], row["ip"]),
        "owner_type": row["kind"],
        "owner": model.at(owners, row["owner"])["name"] if row["owner"] else "",
        "owner_id": row["owner"] or None,
        "notes": row["notes"],
        "expired_at": None if row["until"] is None else datetime.fromtimestamp(row["until"], UTC).isoformat(timespec="seconds"),
    }


def _texts(vip: Row) -> list[str | None]:
    return [_text(4, vip["ip"])] + ([] if vip["ip6"] is None else [_text(6, vip["ip6"])])


def _server(model: Reference, row: Row) -> Row:
    groups = [group for group in _sorted(model.groups) if row["id"] in group["members"]]
    vips = [vip for group in groups for vip in group["vips"]]
    return {
        "id": row["id"],
        "name": row["name"],
        "host": None if row["host"] is None else model.at(model.hosts, row["host"])["name"],
        "project": row["project"],
        "nics": tuple(_nic(model, nic) for nic in row["nics"]),
        "vip": tuple(_text(4, vip["ip"]) for vip in vips),
        "virtual_ips": tuple(text for vip in vips for text in _texts(vip)),
        "groups": tuple(group["name"] for group in groups),
    }


def _nic(model: Reference, nic: Row) -> Row:
    network = model.at(model.networks, nic["network"])["name"]
    texts = {"ip_addr": _text(4, nic["ip"]), "ip6_addr": _text(6, nic["ip6"])}
    return {"network": network, **texts, "mac": nic["mac"], "device": nic["device"]}


def _group(model: Reference, row: Row) -> Row:
    eip, network = model.eip_of(row), _network_of(model, row)
    return {
        **{field: row[field] for field in ("id", "name", "project", "enabled", "granularity", "zone")},
        "status": "init",
        "force_dispersion": row["force"],
        "guest_count": len(row["members"]),
        "vips": tuple(text for vip in row["vips"] for text in _texts(vip)),
        "vip_eip": None if eip is None else _text(4, eip["ip"]),
        "network": None if network is None else network["name"],
        "network_id": None if network is None else network["id"],
        "vrid": row["vips"][0]["vrid"] if row["vips"] else row["vrid"],
    }


def _network_of(model: Reference, group: Row) -> Row | None:
    """The VIP's network, else the one that all members are in with their only NIC."""
    if group["vips"]:
        return model.at(model.networks, group["vips"][0]["network"])
    nics = [model.at(model.servers, id)["nics"] for id in group["members"]]
    places = {nic["network"] for each in nics for nic in each}
    alone = len(places) == 1 and all(len(each) == 1 for each in nics)
    return model.at(model.networks, places.pop()) if alone else None


def _guest(model: Reference, group: Row, id: str) -> Row:
    server = model.at(model.servers, id)
    return {"group": group["name"], "group_id": group["id"], "server": server["name"], "server_id": id}


def _vip(model: Reference, group: Row, vip: Row) -> Row:
    eip = model.eip_of(group)
    return {
        "group": group["name"],
        "network": model.at(model.networks, vip["network"])["name"],
        "ip_addr": _text(4, vip["ip"]),
        "ip6_addr": _text(6, vip["ip6"]),
        "eip_id": None if eip is None else eip["id"],
        "eip_addr": None if eip is None else _text(4, eip["ip"]),
    }


def _eip(model: Reference, row: Row) -> Row:
    return {
        **{field: row[field] for field in ("id", "name", "bandwidth")},
        "ip_addr": _text(4, row["ip"]),
        "network": model.at(model.networks, row["network"])["name"],
        "bgp_type": row["bgp"],
        "charge_type": row["charge"],
        "auto_dellocate": row["auto"],
        "status": "ready",
        "associate_type": None if row["group"] is None else "instancegroup",
        "associate_id": row["group"],
    }
