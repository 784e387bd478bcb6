"""Create and delete elastic IPs; map them to VIPs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

from vipnet.addresses import format_ip4, parse_ip4
from vipnet.errors import (
    ConflictError,
    ForbiddenError,
    InputParameterError,
    InvalidStatusError,
    MissingParameterError,
    NotFoundError,
    NotSupportedError,
)
from vipnet.model import DEFAULT_VPC, ChargeType, Eip, InstanceGroup, Ip4, Network, Vip, Vpc, check_name
from vipnet.operations.addresses import Request, allocate, direction_of, purge, release
from vipnet.operations.draft import Draft
from vipnet.operations.groups import eip_of, vips_of
from vipnet.operations.lookup import check_visible, find, find_group, free_name, number
from vipnet.operations.vpcs import word

__all__ = [
    "MOST_MBPS",
    "associate_eip",
    "change_bandwidth",
    "create_eip",
    "create_eip_for_group",
    "delete_eip",
    "dissociate_eip",
]

MOST_MBPS = 1_000_000
"""The largest bandwidth of an EIP, in 10^6 bit/s."""


def create_eip(
    draft: Draft,
    name: str,
    *,
    network: str | None = None,
    ip_addr: str | None = None,
    bandwidth: int | str | None = None,
    bgp_type: str | None = None,
    charge_type: str | None = None,
    auto_dellocate: bool = False,
    project: str | None = None,
) -> Eip:
    """Create an EIP out of `network`, or of one that has the BGP type; `ip_addr` designates the address."""
    project = check_name("project", project or "default")
    mode, mbps = charge(charge_type, bandwidth)
    wanted = None if ip_addr is None else parse_ip4(ip_addr, what="ip_addr")
    if network is None:
        source = _choose_network(draft, project, "default", bgp_type or "", wanted)
    else:
        source = _eip_network(draft, network, project, bgp_type)
    free_name(draft.topology, Eip, name, project=project)
    return _create(draft, name, project, source, wanted, "ip_addr", mbps, mode, auto_dellocate)


def charge(charge_type: str | None, bandwidth: int | str | None) -> tuple[ChargeType, int | None]:
    """Check charge type and bandwidth (10^6 bit/s) together; `traffic` needs none, and then it is unlimited."""
    mode: ChargeType = word(charge_type or "bandwidth", what="charge_type", known=get_args(ChargeType))  # type: ignore[assignment]
    mbps = 0 if bandwidth is None else number(bandwidth, what="bandwidth", least=0, most=MOST_MBPS)
    if mode == "bandwidth" and mbps == 0:
        raise MissingParameterError(f"charge type bandwidth needs a bandwidth; give 1 to {MOST_MBPS} Mbit/s")
    return mode, mbps or None


def _eip_network(draft: Draft, ref: str, project: str, bgp_type: str | None) -> Network:
    network = find(draft.topology, Network, ref)
    if network.server_type != "eip":
        raise InputParameterError(f"network {network.name} is of server type {network.server_type}; an EIP needs one of type eip")
    check_visible(network, project, "an EIP")
    if bgp_type is not None and bgp_type != network.bgp_type:
        raise InputParameterError(f"network {network.name} has bgp_type {network.bgp_type!r}, not {bgp_type!r}; leave it out")
    return network


def _choose_network(draft: Draft, project: str, zone: str, bgp_type: str, wanted: int | None) -> Network:
    """The EIP network of the zone and BGP type that contains `wanted`, else the own one with most free addresses."""
    topology = draft.topology
    usable = [
        network
        for network in topology.by(Network, "server_type", "eip")
        if network.zone == zone and network.bgp_type == bgp_type and (network.project == project or network.shared)
    ]
    if wanted is not None and usable:
        inside = [network for network in usable if network.start <= wanted <= network.end]
        if not inside:
            ranges = ", ".join(sorted(f"{format_ip4(network.start)}-{format_ip4(network.end)}" for network in usable))
            raise InputParameterError(f"eip_addr {format_ip4(wanted)} is in no usable EIP network; their ranges: {ranges}")
        return inside[0]
    for network in usable:
        purge(draft, network)
    topology = draft.topology
    free = {network.id: pool.free for network in usable if (pool := topology.pool(network.id, 4)) is not None and pool.free}
    candidates = [network for network in usable if network.id in free]
    if not candidates:
        raise NotFoundError(
            f"no usable EIP network in zone {zone} with bgp_type {bgp_type!r} and a free address for project {project}; "
            "create one with server type eip"
        )
    return min(candidates, key=lambda network: (network.project != project, -free[network.id], network.id))


def _create(
    draft: Draft,
    name: str,
    project: str,
    network: Network,
    wanted: int | None,
    what: str,
    bandwidth: int | None,
    charge_type: ChargeType,
    auto_dellocate: bool,
    vip_id: str | None = None,
) -> Eip:
    id = draft.world.new_id()
    request = Request(
        owner_type="elasticips",
        owner_id=id,
        wanted=wanted,
        required=True,
        direction=direction_of(network, "stepup", draft.config.alloc_dir),
        what=what,
    )
    eip = Eip(
        id=id,
        name=name,
        project=project,
        network_id=network.id,
        ip=Ip4(allocate(draft, network, 4, request)),
        bandwidth=bandwidth,
        bgp_type=network.bgp_type,
        charge_type=charge_type,
        auto_dellocate=auto_dellocate,
        vip_id=vip_id,
    )
    draft.put(eip)
    return eip


def delete_eip(draft: Draft, ref: str) -> Eip:
    """Delete an EIP that is not associated; its address is free at once."""
    eip = find(draft.topology, Eip, ref)
    if eip.vip_id is not None:
        group = draft.topology.at(InstanceGroup, draft.topology.at(Vip, eip.vip_id).group_id)
        raise InvalidStatusError(f"eip {eip.name} is associated with instancegroup {group.name}; dissociate it first")
    _remove(draft, eip)
    return eip


def _remove(draft: Draft, eip: Eip) -> None:
    release(draft, eip.network_id, 4, eip.ip)
    draft.remove(eip)


def change_bandwidth(draft: Draft, ref: str, bandwidth: int | str) -> Eip:
    """Change the limit of an EIP, associated or not, in 10^6 bit/s."""
    eip = find(draft.topology, Eip, ref)
    changed = replace(eip, bandwidth=number(bandwidth, what="bandwidth", least=1, most=MOST_MBPS))
    draft.put(changed)
    return changed


def create_eip_for_group(
    draft: Draft,
    ref: str,
    *,
    bandwidth: int | str | None = None,
    bgp_type: str | None = None,
    auto_dellocate: bool = False,
    ip_addr: str | None = None,
    eip_addr: str | None = None,
    charge_type: str | None = None,
) -> InstanceGroup:
    """Create an EIP and map it to the group's VIP; `ip_addr` is the VIP to map, `eip_addr` the public address wanted."""
    group = find_group(draft, ref, "create-eip")
    vip = _mappable(draft, group, ip_addr)
    mode, mbps = charge(charge_type, bandwidth)
    wanted = None if eip_addr is None else parse_ip4(eip_addr, what="eip_addr")
    zone = draft.topology.at(Network, vip.network_id).zone
    network = _choose_network(draft, group.project, zone, bgp_type or "", wanted)
    name = _name_for(draft, group)
    _create(draft, name, group.project, network, wanted, "eip_addr", mbps, mode, auto_dellocate, vip.id)
    return group


def _name_for(draft: Draft, group: InstanceGroup) -> str:
    base = f"eip-for-grp-{group.name}"[:120]
    names = itertools.chain([base], (f"{base}-{count}" for count in itertools.count(1)))
    return next(name for name in names if not draft.topology.has(Eip, "name", name))


def associate_eip(draft: Draft, ref: str, *, eip_id: str | None = None, ip_addr: str | None = None) -> InstanceGroup:
    """Map an EIP that exists to the group's VIP, or to the one named by `ip_addr`."""
    group = find_group(draft, ref, "associate-eip")
    vip = _mappable(draft, group, ip_addr)
    if eip_id is None:
        raise MissingParameterError(f"eip_id is missing; say which EIP to associate with instancegroup {group.name}")
    eip = find(draft.topology, Eip, eip_id)
    if eip.project != group.project:
        raise ForbiddenError(
            f"eip {eip.name} is of project {eip.project}, instancegroup {group.name} of {group.project}; they must share it"
        )
    if eip.vip_id is not None:
        other = draft.topology.at(InstanceGroup, draft.topology.at(Vip, eip.vip_id).group_id)
        raise ConflictError(f"eip {eip.name} is associated with instancegroup {other.name}; dissociate it there first")
    _check_same_zone(draft, eip, vip)
    draft.put(replace(eip, vip_id=vip.id))
    return group


def _check_same_zone(draft: Draft, eip: Eip, vip: Vip) -> None:
    outer, inner = draft.topology.at(Network, eip.network_id), draft.topology.at(Network, vip.network_id)
    if outer.zone != inner.zone:
        raise InputParameterError(
            f"eip {eip.name} is in zone {outer.zone}, the VIP's network {inner.name} in zone {inner.zone}; "
            "use an EIP of that zone"
        )


def _mappable(draft: Draft, group: InstanceGroup, ip_addr: str | None) -> Vip:
    """The VIP of the group that an EIP may be mapped to now."""
    wanted = None if ip_addr is None else parse_ip4(ip_addr, what="ip_addr")
    vips = vips_of(draft.topology, group)
    if not vips:
        raise InvalidStatusError(f"instancegroup {group.name} has no VIP; attach one before its EIP")
    vpc = draft.topology.at(Vpc, draft.topology.at(Network, vips[0].network_id).vpc_id)
    if vpc.id == DEFAULT_VPC:
        raise InvalidStatusError(f"the VIP of instancegroup {group.name} is in the classic vpc; EIPs need one in another VPC")
    if not vpc.has_eip:
        raise NotSupportedError(
            f"vpc {vpc.name} has external access mode {vpc.external_access_mode}; EIPs need eip or eip-distgw"
        )
    present = eip_of(draft.topology, group)
    if present is not None:
        raise ConflictError(f"instancegroup {group.name} has eip {present.name} already; dissociate it first")
    chosen = [vip for vip in vips if wanted in (None, vip.ip)]
    if not chosen:
        have = ", ".join(format_ip4(vip.ip) for vip in vips)
        raise InputParameterError(f"ip_addr {ip_addr} is no VIP of instancegroup {group.name}; it has {have}")
    return chosen[0]


def dissociate_eip(draft: Draft, ref: str, *, auto_delete: bool = False) -> InstanceGroup:
    """End the mapping of the group's EIP, and free the EIP if it was made so or `auto_delete` says so."""
    group = find_group(draft, ref, "dissociate-eip")
    eip = eip_of(draft.topology, group)
    if eip is None:
        raise InvalidStatusError(f"instancegroup {group.name} has no EIP to dissociate")
    free = replace(eip, vip_id=None)
    draft.put(free)
    if auto_delete or eip.auto_dellocate:
        _remove(draft, free)
    return group
