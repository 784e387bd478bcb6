"""Create and delete anti-affinity groups; who is a member."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

from vipnet.errors import (
    ConflictError,
    ForbiddenError,
    InputParameterError,
    MissingParameterError,
    NotEmptyError,
    NotSupportedError,
    UnsupportOperationError,
)
from vipnet.model import Eip, Host, InstanceGroup, Membership, Network, Nic, Server, Vip, check_name
from vipnet.operations.addresses import release
from vipnet.operations.draft import Draft
from vipnet.operations.lookup import check_not_frozen, find, find_group, find_or_input_error, free_name, number
from vipnet.operations.vpcs import word
from vipnet.topology import Topology

__all__ = [
    "MOST_PER_HOST",
    "bind_guests",
    "check_label",
    "check_open",
    "check_placement",
    "check_vrid_free",
    "create_group",
    "delete_group",
    "eip_of",
    "eips_of",
    "join",
    "join_groups",
    "leave",
    "leave_groups",
    "members_of",
    "remove_vip",
    "set_enabled",
    "set_frozen",
    "unbind_guests",
    "update_group",
    "vips_of",
]


MOST_PER_HOST = 1_000_000
"""The largest granularity."""


def create_group(
    draft: Draft,
    name: str,
    *,
    zone_id: str | None = None,
    service_type: str | None = None,
    parent_id: str | None = None,
    sched_strategy: str | None = None,
    granularity: int | str | None = None,
    force_dispersion: bool | str | None = None,
    project: str | None = None,
    vrid: int | str | None = None,
) -> InstanceGroup:
    """Create a group: `granularity` members a host at most where `force_dispersion` holds (the default)."""
    project = check_name("project", project or "default")
    group = InstanceGroup(
        id=draft.world.new_id(),
        name=free_name(draft.topology, InstanceGroup, name, project=project),
        project=project,
        zone=check_name("zone", zone_id or "default"),
        enabled=True,
        frozen=False,
        granularity=1 if granularity is None else number(granularity, what="granularity", least=1, most=MOST_PER_HOST),
        force_dispersion=True if force_dispersion is None else yes_or_no(force_dispersion, what="force_dispersion"),
        service_type=check_label("service_type", service_type, 36),
        parent_id=check_label("parent_id", parent_id, 36),
        sched_strategy=check_label("sched_strategy", sched_strategy, 16),
        vrid=None if vrid is None else number(vrid, what="vrid", least=1, most=255),
    )
    draft.put(group)
    return group


def update_group(
    draft: Draft,
    ref: str,
    *,
    name: str | None = None,
    granularity: int | str | None = None,
    force_dispersion: bool | str | None = None,
    vrid: int | str | None = None,
) -> InstanceGroup:
    """Change what is given and nothing else; a VRID also moves the group's VIP to it."""
    group = find_group(draft, ref, "update")
    if name is not None:
        group = replace(group, name=free_name(draft.topology, InstanceGroup, name, project=group.project, but=group.id))
    if granularity is not None:
        group = replace(group, granularity=number(granularity, what="granularity", least=1, most=MOST_PER_HOST))
    if force_dispersion is not None:
        group = replace(group, force_dispersion=yes_or_no(force_dispersion, what="force_dispersion"))
    if vrid is not None:
        group = _with_vrid(draft, group, number(vrid, what="vrid", least=1, most=255))
    draft.put(group)
    return group


def _with_vrid(draft: Draft, group: InstanceGroup, vrid: int) -> InstanceGroup:
    for vip in vips_of(draft.topology, group):
        check_vrid_free(draft.topology, draft.topology.at(Network, vip.network_id), vrid, but=group.id)
        draft.put(replace(vip, vrid=vrid))
    return replace(group, vrid=vrid)


def check_vrid_free(topology: Topology, network: Network, vrid: int, *, but: str | None = None) -> None:
    """Raise ConflictError when another group uses the VRID in a network."""
    for other in topology.by(Vip, "vrid_key", (network.id, vrid)):
        if other.group_id != but:
            holder = topology.at(InstanceGroup, other.group_id)
            raise ConflictError(
                f"vrid {vrid} is used by instancegroup {holder.name} in network {network.name}; choose another"
            )


def set_enabled(draft: Draft, ref: str, *, enabled: bool) -> InstanceGroup:
    """Enable or disable a group; a disabled one takes and loses no members, its VIP and EIP work on."""
    group = replace(find_group(draft, ref, "enable" if enabled else "disable"), enabled=enabled)
    draft.put(group)
    return group


def set_frozen(draft: Draft, ref: str, *, frozen: bool) -> InstanceGroup:
    """Freeze a group, which then refuses every action but unfreeze; or unfreeze it."""
    found = find_group(draft, ref, "freeze") if frozen else find(draft.topology, InstanceGroup, ref)
    group = replace(found, frozen=frozen)
    draft.put(group)
    return group


def join_groups(draft: Draft, ref: str, groups: Sequence[str]) -> Server:
    """Make a server a member of groups. All or nothing."""
    server, found = _groups_request(draft, ref, groups, "join-groups")
    for group in found:
        join(draft, group, server)
        _warn_of_dispersion(draft, group)
    return server


def leave_groups(draft: Draft, ref: str, groups: Sequence[str]) -> Server:
    """Take a server out of groups; those that it is not in are passed over."""
    server, found = _groups_request(draft, ref, groups, "leave-groups")
    wanted = {group.id for group in found}
    for membership in draft.topology.by(Membership, "server_id", server.id):
        if membership.group_id in wanted:
            leave(draft, membership)
    return server


def _groups_request(draft: Draft, ref: str, groups: Sequence[str], action: str) -> tuple[Server, list[InstanceGroup]]:
    server = find(draft.topology, Server, ref)
    if not groups:
        raise MissingParameterError(f"no group was given for {action} of server {server.name}; give at least one")
    found = [find_or_input_error(draft.topology, InstanceGroup, group) for group in groups]
    for group in found:
        check_not_frozen(group, action)
        _check_enabled(group, action)
        _check_same_project(group, server)
    return server, found


def yes_or_no(value: bool | str, *, what: str) -> bool:
    """Read a bool, or one of the words yes and no."""
    if isinstance(value, bool):
        return value
    return word(value, what=what, known=("yes", "no")) == "yes"


def check_label(what: str, value: str | None, most: int) -> str:
    """Return a free word of at most `most` characters, or the empty one. Raises InputParameterError."""
    if value and len(value) > most:
        raise InputParameterError(f"{what} {value!r} has {len(value)} characters; use at most {most}")
    return check_name(what, value) if value else ""


def members_of(topology: Topology, group: InstanceGroup) -> list[Server]:
    """The members of a group in the order of joining."""
    rows = sorted(topology.by(Membership, "group_id", group.id), key=attrgetter("position"))
    return [topology.at(Server, row.server_id) for row in rows]


def vips_of(topology: Topology, group: InstanceGroup) -> Sequence[Vip]:
    """The VIPs of a group by address."""
    vips = topology.by(Vip, "group_id", group.id)
    return vips if len(vips) < 2 else sorted(vips, key=attrgetter("ip"))


def eip_of(topology: Topology, group: InstanceGroup) -> Eip | None:
    """The EIP that is mapped to a VIP of the group."""
    return next(eips_of(topology, topology.by(Vip, "group_id", group.id)), None)


def eips_of(topology: Topology, vips: Iterable[Vip]) -> Iterator[Eip]:
    """The EIPs that are mapped to VIPs."""
    return (eip for vip in vips for eip in topology.by(Eip, "vip_id", vip.id))


def delete_group(draft: Draft, ref: str) -> InstanceGroup:
    """Delete a group without EIP and members; its VIP is freed with it."""
    group = find_group(draft, ref, "delete")
    eip = eip_of(draft.topology, group)
    if eip is not None:
        raise NotEmptyError(f"instancegroup {group.name} has eip {eip.name}; dissociate it first")
    members = members_of(draft.topology, group)
    if members:
        names = ", ".join(server.name for server in members[:5])
        raise UnsupportOperationError(f"instancegroup {group.name} has {len(members)} members ({names}); unbind them first")
    for vip in vips_of(draft.topology, group):
        remove_vip(draft, vip)
    draft.remove(group)
    return group


def remove_vip(draft: Draft, vip: Vip) -> None:
    """Take a VIP away; its addresses are free at once."""
    release(draft, vip.network_id, 4, vip.ip)
    if vip.ip6 is not None:
        release(draft, vip.network_id, 6, vip.ip6)
    draft.remove(vip)


def bind_guests(draft: Draft, ref: str, guests: Sequence[str]) -> InstanceGroup:
    """Make servers members; those that are already stay so. All or nothing."""
    group, servers = _membership_request(draft, ref, guests, "bind-guests")
    for server in servers:
        join(draft, group, server)
    _warn_of_dispersion(draft, group)
    return group


def unbind_guests(draft: Draft, ref: str, guests: Sequence[str]) -> InstanceGroup:
    """Take servers out of a group; those that are no members are passed over. VIP and EIP stay."""
    group, servers = _membership_request(draft, ref, guests, "unbind-guests")
    wanted = {server.id for server in servers}
    for membership in draft.topology.by(Membership, "group_id", group.id):
        if membership.server_id in wanted:
            leave(draft, membership)
    return group


def _membership_request(draft: Draft, ref: str, guests: Sequence[str], action: str) -> tuple[InstanceGroup, list[Server]]:
    group = find_group(draft, ref, action)
    _check_enabled(group, action)
    if not guests:
        raise MissingParameterError(f"no guest was given for {action} of instancegroup {group.name}; give at least one")
    servers = [find_or_input_error(draft.topology, Server, guest) for guest in guests]
    for server in servers:
        _check_same_project(group, server)
    return group, servers


def _check_enabled(group: InstanceGroup, action: str) -> None:
    if not group.enabled:
        raise ForbiddenError(f"instancegroup {group.name} is disabled and refuses {action}; enable it first")


def _check_same_project(group: InstanceGroup, server: Server) -> None:
    if group.project != server.project:
        raise ForbiddenError(
            f"server {server.name} is of project {server.project}, instancegroup {group.name} of {group.project}; "
            "they must share the project"
        )


def check_open(group: InstanceGroup, server: Server) -> None:
    """Raise the error of a group that takes no new members, or not this server."""
    check_not_frozen(group, "new members")
    _check_enabled(group, "new members")
    _check_same_project(group, server)


def join(draft: Draft, group: InstanceGroup, server: Server) -> None:
    """Make a server, which may enter the group as it is, a member; nothing to do if it is one."""
    rows = draft.topology.by(Membership, "group_id", group.id)
    if any(row.server_id == server.id for row in rows):
        return
    for vip in vips_of(draft.topology, group):
        _check_single_nic(draft, group, server, vip)
    position = max((row.position for row in rows), default=-1) + 1
    draft.put(Membership(id=draft.world.new_id(), group_id=group.id, server_id=server.id, position=position))


def _check_single_nic(draft: Draft, group: InstanceGroup, server: Server, vip: Vip) -> None:
    nics = draft.topology.by(Nic, "server_id", server.id)
    network = draft.topology.at(Network, vip.network_id)
    if len(nics) != 1:
        raise NotSupportedError(
            f"server {server.name} has {len(nics)} NICs; a member of instancegroup {group.name}, which has a VIP, "
            f"must have exactly one, in network {network.name}"
        )
    if nics[0].network_id != vip.network_id:
        other = draft.topology.at(Network, nics[0].network_id)
        raise ConflictError(
            f"server {server.name} is in network {other.name}; the VIP of instancegroup {group.name} is in network {network.name}"
        )


def leave(draft: Draft, membership: Membership) -> None:
    """End a membership."""
    draft.remove(membership)


def check_placement(draft: Draft, group: InstanceGroup, server: Server) -> None:
    """Raise ConflictError when a server being created on a host would exceed an enabled, forced group's granularity."""
    if server.host_id is None or not (group.enabled and group.force_dispersion):
        return
    others = [member for member in members_of(draft.topology, group) if member.id != server.id]
    there = [member for member in others if member.host_id == server.host_id]
    if len(there) >= group.granularity:
        host = draft.topology.at(Host, server.host_id)
        raise ConflictError(
            f"host {host.name} has {len(there)} members of instancegroup {group.name} already (granularity "
            f"{group.granularity}); place server {server.name} on another host"
        )


def _warn_of_dispersion(draft: Draft, group: InstanceGroup) -> None:
    hosts = [member.host_id for member in members_of(draft.topology, group) if member.host_id is not None]
    crowded = sorted({draft.topology.at(Host, id).name for id in hosts if hosts.count(id) > group.granularity})
    if group.enabled and crowded:
        draft.warnings.append(
            f"instancegroup {group.name} now has more than {group.granularity} members on host {', '.join(crowded)}"
        )
