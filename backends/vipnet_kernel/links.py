"""What a namespace has, read through pyroute2: links with their addresses, routes and rules, as rows of ours."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vipnet.addresses import format_ip, ip_of
from vipnet.errors import DataplaneError
from vipnet_kernel.handles import Handles
from vipnet_kernel.netlink import talking
from vipnet_kernel.routelist import list_routes

__all__ = ["Inventory", "Link", "RouteRow", "RuleRow", "inventory", "link"]

_UP, _LOWER_UP = 0x1, 0x10000
_SKIP_STATISTICS = 8
_ONLINK = 4
_NO_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface. `peer` is what it sits on or is paired with, as far as it is seen from its own namespace.

    `most_segments`: how many packets it sends merged into one (GSO).
    """

    name: str
    kind: str
    mac: str
    up: bool
    carrier: bool
    master: str
    peer: str
    alias: str
    vlan_id: int
    most_segments: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """An IPv4 route; `kind`, `scope`, `table` and `protocol` are the kernel's numbers, texts are "" where it has none."""

    kind: int
    destination: str
    gateway: str
    device: str
    scope: int
    onlink: bool
    table: int
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """An IPv4 routing rule; `suppress` is the longest prefix length that it does not take, None: takes all."""

    priority: int
    incoming: str
    mark: int
    mask: int
    table: int
    suppress: int | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one namespace has; links by name."""

    links: Mapping[str, Link]
    routes: Sequence[RouteRow]
    rules: Sequence[RuleRow]


def inventory(handles: Handles, namespace: str) -> Inventory:
    """Read what a namespace has. Raises DataplaneError when it cannot be reached."""
    try:
        return handles.work(lambda: _inventory(handles, namespace))
    except OSError as error:
        raise DataplaneError(f"the links of {namespace or 'this namespace'} cannot be read: {error.strerror}") from error


def link(handles: Handles, namespace: str, name: str) -> Link | None:
    """Read one interface; None: there is none of that name. Raises DataplaneError when the namespace cannot be reached."""
    try:
        return handles.work(lambda: _one_link(handles, namespace, name))
    except OSError as error:
        raise DataplaneError(f"{name} of {namespace or 'this namespace'} cannot be read: {error.strerror}") from error


def _one_link(handles: Handles, namespace: str, name: str) -> Link | None:
    row = _found(handles, namespace, ifname=name)
    if row is None:
        return None
    around = {row.get(field) for field in ("master", "link")} - {None}
    others = {index: found.get("ifname") for index in around if (found := _found(handles, namespace, index=index)) is not None}
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = [one for family in families for one in handles.dump(namespace, "addr", family=family, index=row["index"])]
    return _link(row, {row["index"]: row.get("ifname"), **others}, [_address(one) for one in addresses])


def _found(handles: Handles, namespace: str, **which: Any) -> Any:
    try:
        (row,) = handles.ask(namespace, "link", "get", ext_mask=_SKIP_STATISTICS, **which)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return row


def _inventory(handles: Handles, namespace: str) -> Inventory:
    rows = handles.dump(namespace, "link", ext_mask=_SKIP_STATISTICS)
    names: dict[int, str] = {row["index"]: row.get("ifname") for row in rows}
    addresses: dict[int, list[str]] = {index: [] for index in names}
    for family in (socket.AF_INET, socket.AF_INET6):
        for row in handles.dump(namespace, "addr", family=family):
            addresses.setdefault(row["index"], []).append(_address(row))
    return Inventory(
        {names[row["index"]]: _link(row, names, addresses[row["index"]]) for row in rows},
        _routes(namespace, names),
        [_rule(row) for row in handles.dump(namespace, "rule", family=socket.AF_INET)],
    )


def _address(row: Any) -> str:
    ip = row.get("local") or row.get("address")  # of IPv6 the kernel tells a local one only where there is a peer
    return f"{format_ip(6 if ':' in ip else 4, ip_of(ip))}/{row['prefixlen']}"


def _link(row: Any, names: Mapping[int, str], addresses: Sequence[str]) -> Link:
    kind = row.get(("linkinfo", "kind")) or ""
    elsewhere = row.get("link_netnsid") is not None
    return Link(
        name=names[row["index"]],
        kind=kind,
        mac=row.get("address") or "",
        up=bool(row["flags"] & _UP),
        carrier=bool(row["flags"] & _LOWER_UP),
        master=names.get(row.get("master"), ""),
        peer="" if elsewhere else names.get(row.get("link"), ""),
        alias=row.get("ifalias") or "",
        vlan_id=row.get(("linkinfo", "data", "vlan_id")) if kind == "vlan" else 0,
        most_segments=row.get("gso_max_segs") or 0,
        addresses=tuple(addresses),
    )


def _routes(namespace: str, names: Mapping[int, str]) -> list[RouteRow]:
    with talking(namespace, socket.NETLINK_ROUTE) as link:
        return [
            RouteRow(
                kind=seen.kind,
                destination=seen.destination,
                gateway=seen.gateway,
                device=names.get(seen.out, ""),
                scope=seen.scope,
                onlink=bool(seen.flags & _ONLINK),
                table=seen.table,
                protocol=seen.protocol,
            )
            for seen in list_routes(link)
        ]


def _rule(row: Any) -> RuleRow:
    suppress = row.get("suppress_prefixlen")
    return RuleRow(
        priority=row.get("priority") or 0,
        incoming=row.get("iifname") or "",
        mark=row.get("fwmark") or 0,
        mask=row.get("fwmask") or 0,
        table=row.get("table"),
        suppress=None if suppress in (None, _NO_LENGTH) else suppress,
    )
