"""Create and delete networks; reserve and release addresses of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from operator import attrgetter
from typing import get_args

from vipnet.addresses import format_ip, format_ip4, parse_ip
from vipnet.errors import ConflictError, InputParameterError, InvalidStatusError, MissingParameterError, NotEmptyError
from vipnet.model import (
    DEFAULT_VPC,
    Address,
    AllocDir,
    Ip6,
    Network,
    OwnerType,
    ServerType,
    Vpc,
    check_name,
    check_notes,
)
from vipnet.operations.addresses import holder, purge
from vipnet.operations.draft import Draft
from vipnet.operations.lookup import find, free_name, number
from vipnet.operations.prefixes import gateway_of, inner_prefix4, inner_prefix6, range4
from vipnet.operations.vpcs import word

__all__ = [
    "LAST_MOMENT",
    "MAX_REST_SECONDS",
    "create_network",
    "delete_network",
    "release_reserved_ip",
    "reserve_ip",
    "update_network",
]

_UNIT_SECONDS = {"I": 60, "H": 3600, "D": 86400, "W": 7 * 86400, "M": 30 * 86400, "Y": 365 * 86400}
MAX_REST_SECONDS = 365 * 86400
"""The longest that released addresses of a network may rest."""

LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""The latest that a reservation may end, in seconds of the epoch."""

_GATEWAY = "gateway"
_OWNED: Mapping[OwnerType, str] = {"servers": "NICs", "instancegroups": "VIPs", "elasticips": "EIPs"}


def create_network(
    draft: Draft,
    name: str,
    prefix: str,
    *,
    vpc: str | None = None,
    start_ip: str | None = None,
    end_ip: str | None = None,
    gateway: str | None = None,
    prefix6: str | None = None,
    alloc_policy: str | None = None,
    server_type: str | None = None,
    bgp_type: str | None = None,
    zone: str | None = None,
    vlan_id: int | str | None = None,
    project: str | None = None,
    shared: bool = False,
    alloc_timeout_seconds: int | str | None = None,
) -> Network:
    """Create a subnet.

    In a VPC the gateway is the prefix's first address and the range what is left without the last two; in the classic VPC
    the range is the whole prefix, for EIPs network+2 to broadcast-1. `start_ip` and `end_ip` narrow it.
    """
    check_name("network", name)
    owner = find(draft.topology, Vpc, vpc or DEFAULT_VPC)
    kind = word(server_type or "guest", what="server_type", known=get_args(ServerType))
    if kind == "eip" and owner.id != DEFAULT_VPC:
        raise InputParameterError(
            f"network {name} of server type eip cannot be in vpc {owner.name}; EIP networks live in vpc default"
        )
    four = _prefix4(draft, owner, name, prefix)
    six = _prefix6(draft, owner, name, prefix6)
    start, end = range4(owner, kind, four, start_ip, end_ip)
    project = check_name("project", project or "default")
    network = Network(
        id=draft.world.new_id(),
        name=free_name(draft.topology, Network, name, project=project),
        project=project,
        shared=shared,
        vpc_id=owner.id,
        zone=check_name("zone", zone or "default"),
        server_type=kind,  # type: ignore[arg-type]
        bgp_type="" if not bgp_type else check_name("bgp_type", bgp_type),
        vlan_id=number(vlan_id or 0, what="vlan_id", least=0, most=4094),
        prefix=str(four),
        start=start,
        end=end,
        gateway=gateway_of(owner, four, gateway),
        prefix6=None if six is None else str(six),
        start6=None if six is None else Ip6(int(six[2])),
        end6=None if six is None else Ip6(int(six[-1]) - 2),
        gateway6=None if six is None else Ip6(int(six[1])),
        alloc_policy=word(alloc_policy or "none", what="alloc_policy", known=get_args(AllocDir)),  # type: ignore[arg-type]
        alloc_timeout_seconds=number(alloc_timeout_seconds or 0, what="alloc_timeout_seconds", least=0, most=MAX_REST_SECONDS),
    )
    draft.put(network)
    _reserve_gateway(draft, network)
    return network


def _prefix4(draft: Draft, vpc: Vpc, name: str, prefix: str) -> IPv4Network:
    four = inner_prefix4(vpc, name, prefix)
    for other in draft.topology.by(Network, "vpc_id", vpc.id):
        if four.overlaps(IPv4Network(other.prefix)):
            raise ConflictError(
                f"prefix {prefix} of network {name} overlaps {other.prefix} of network {other.name} in vpc {vpc.name}; "
                "use one that is free"
            )
    return four


def _prefix6(draft: Draft, vpc: Vpc, name: str, prefix6: str | None) -> IPv6Network | None:
    six = inner_prefix6(vpc, name, prefix6)
    for other in draft.topology.by(Network, "vpc_id", vpc.id):
        if six is not None and other.prefix6 is not None and six.overlaps(IPv6Network(other.prefix6)):
            raise ConflictError(
                f"prefix6 {prefix6} of network {name} overlaps {other.prefix6} of network {other.name} in vpc {vpc.name}; "
                "use one that is free"
            )
    return six


def _reserve_gateway(draft: Draft, network: Network) -> None:
    if network.gateway is not None and network.start <= network.gateway <= network.end:
        draft.put(_reservation(network, 4, network.gateway, _GATEWAY, None))


def _reservation(network: Network, version: int, ip: int, notes: str, until: float | None) -> Address:
    return Address(
        network_id=network.id,
        version=version,
        ip=ip,
        state="reserved",
        owner_type="reserved",
        owner_id="",
        notes=notes,
        until=until,
    )


def update_network(
    draft: Draft,
    ref: str,
    *,
    start_ip: str | None = None,
    end_ip: str | None = None,
    alloc_policy: str | None = None,
    gateway: str | None = None,
) -> Network:
    """Change what is given. The range cannot be narrowed below a used address; a gateway's reservation follows it."""
    old = find(draft.topology, Network, ref)
    purge(draft, old)
    new = old
    if start_ip is not None or end_ip is not None:
        vpc = draft.topology.at(Vpc, old.vpc_id)
        texts = (start_ip or format_ip4(old.start), end_ip or format_ip4(old.end))
        start, end = range4(vpc, old.server_type, IPv4Network(old.prefix), *texts)
        _check_narrowed(draft, old, start, end)
        new = replace(new, start=start, end=end)
    if alloc_policy is not None:
        policy = word(alloc_policy, what="alloc_policy", known=get_args(AllocDir))
        new = replace(new, alloc_policy=policy)  # type: ignore[arg-type]
    if gateway is not None:
        new = replace(new, gateway=gateway_of(draft.topology.at(Vpc, old.vpc_id), IPv4Network(old.prefix), gateway))
    entering = old.gateway is not None and not old.start <= old.gateway <= old.end
    _move_gateway(draft, old, new, renewed=gateway is not None or entering)
    return new


def _check_narrowed(draft: Draft, network: Network, start: int, end: int) -> None:
    for row in sorted(draft.topology.by(Address, "network_id", network.id), key=attrgetter("version", "ip")):
        if row.version == 4 and not start <= row.ip <= end and not _is_gateway(network, row):
            if row.state == "resting":
                draft.remove(row)
                continue
            raise InputParameterError(
                f"range {format_ip4(start)}-{format_ip4(end)} of network {network.name} leaves out {format_ip4(row.ip)}, "
                f"which {holder(draft.topology, row)} has; include it"
            )


def _is_gateway(network: Network, row: Address) -> bool:
    return row.state == "reserved" and row.version == 4 and row.ip == network.gateway and row.notes == _GATEWAY


def _move_gateway(draft: Draft, old: Network, new: Network, *, renewed: bool) -> None:
    """Put the changed network; its gateway's reservation goes when it leaves the range, and is made anew if `renewed`."""
    inside = new.gateway is not None and new.start <= new.gateway <= new.end
    row = None if old.gateway is None else draft.topology.address(old.id, 4, old.gateway)
    if row is not None and _is_gateway(old, row) and (renewed or not inside):
        draft.remove(row)
    taken = None if new.gateway is None else draft.topology.address(new.id, 4, new.gateway)
    if renewed and taken is not None and taken.state in ("used", "leaving"):
        raise ConflictError(
            f"gateway {format_ip4(taken.ip)} of network {new.name} is held by {holder(draft.topology, taken)}; choose a free one"
        )
    draft.put(new)
    if renewed:
        _reserve_gateway(draft, new)


def delete_network(draft: Draft, ref: str) -> Network:
    """Delete a network without NICs, VIPs and EIPs; its reservations and resting addresses go with it."""
    network = find(draft.topology, Network, ref)
    rows = draft.topology.by(Address, "network_id", network.id)
    used = Counter(_OWNED.get(row.owner_type) for row in rows if row.state == "used" and row.version == 4)
    if used:
        counts = ", ".join(f"{used[word]} {word}" for word in _OWNED.values() if used[word])
        raise NotEmptyError(f"network {network.name} is not empty: {counts}; remove them first")
    for address in rows:
        draft.remove(address)
    draft.remove(network)
    return network


def reserve_ip(
    draft: Draft, network: str, notes: str, ips: list[str], *, duration: str | None = None
) -> tuple[Network, list[Address]]:
    """Reserve addresses, or renew notes and expiry of those reserved already. All or nothing."""
    target = find(draft.topology, Network, network)
    check_notes(notes)
    until = _until(draft, duration)
    if not ips:
        raise MissingParameterError(f"no address to reserve in network {target.name} was given; give at least one")
    purge(draft, target)
    rows: list[Address] = []
    for text in ips:
        version, ip = _in_range(draft, target, text)
        row = draft.topology.address(target.id, version, ip)
        if row is not None and row.state in ("used", "leaving"):
            raise ConflictError(
                f"address {text} of network {target.name} is held by {holder(draft.topology, row)}; choose a free one"
            )
        rows.append(_reservation(target, version, ip, notes, until))
        draft.put(rows[-1])
    return target, rows


def release_reserved_ip(draft: Draft, network: str, ip: str) -> tuple[Network, Address]:
    """Release a reservation. Raises InvalidStatusError when the address is not reserved."""
    target = find(draft.topology, Network, network)
    purge(draft, target)
    version, value = _in_range(draft, target, ip)
    row = draft.topology.address(target.id, version, value)
    if row is None or row.state != "reserved":
        raise InvalidStatusError(f"address {format_ip(version, value)} of network {target.name} is not reserved")
    draft.remove(row)
    return target, row


def _in_range(draft: Draft, network: Network, text: str) -> tuple[int, int]:
    version, ip = parse_ip(text, what="ip")
    pool = draft.topology.pool(network.id, version)
    if pool is None or ip not in pool:
        span = "no range of that family" if pool is None else f"{format_ip(version, pool.first)}-{format_ip(version, pool.last)}"
        raise InputParameterError(f"ip {text} is outside network {network.name} ({span})")
    return version, ip


def _until(draft: Draft, duration: str | None) -> float | None:
    if duration is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([IHDWMYihdwmy])", duration)
    if match is None:
        raise InputParameterError(
            f"duration {duration!r} is not understood; write a number and I (minutes), H, D, W, M (30 days) or Y, "
            "like 10I or 1D"
        )
    until = draft.world.clock() + int(match[1]) * _UNIT_SECONDS[match[2].upper()]
    if until > LAST_MOMENT:
        raise InputParameterError(f"duration {duration!r} is too long; leave it out to reserve for ever")
    return until
