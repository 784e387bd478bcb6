"""Give a group its virtual IP and take it away."""

from __future__ import annotations

from collections.abc import Sequence

from vipnet.addresses import parse_ip, parse_ip4, parse_ip6
from vipnet.errors import ConflictError, InputParameterError, InvalidStatusError
from vipnet.model import Eip, InstanceGroup, Ip4, Ip6, Membership, Network, Nic, Vip
from vipnet.operations.addresses import Request, allocate, direction_of
from vipnet.operations.draft import Draft
from vipnet.operations.groups import check_vrid_free, members_of, remove_vip, vips_of
from vipnet.operations.lookup import check_visible, find, find_group, number
from vipnet.topology import Topology

__all__ = ["attach_network", "common_network", "detach_network", "member_network"]


def attach_network(
    draft: Draft,
    ref: str,
    *,
    ip_addr: str | None = None,
    alloc_dir: str | None = None,
    reserved: bool = False,
    require_designated_ip: bool = False,
    network_id: str | None = None,
    ip6_addr: str | None = None,
    require_ipv6: bool = False,
    vrid: int | str | None = None,
) -> InstanceGroup:
    """Give a group a VIP out of its members' network, or of `network_id` while it has no members.

    An IPv6 address comes with it if one is named or required. All or nothing: a refused IPv6 half takes the IPv4 half back.
    """
    group = find_group(draft, ref, "attachnetwork")
    network = _network_for(draft, group, network_id)
    _check_room(draft, group)
    direction = direction_of(network, alloc_dir, draft.config.alloc_dir)
    request = Request(
        owner_type="instancegroups",
        owner_id=group.id,
        wanted=None if ip_addr is None else parse_ip4(ip_addr, what="ip_addr"),
        required=require_designated_ip,
        from_reserved=reserved,
        direction=direction,
    )
    wanted6 = None if ip6_addr is None else parse_ip6(ip6_addr, what="ip6_addr")
    wants6 = require_ipv6 or wanted6 is not None
    if wants6 and network.prefix6 is None:
        raise InputParameterError(f"network {network.name} has no IPv6 prefix; leave IPv6 out or use a dual-stack network")
    ip = allocate(draft, network, 4, request)
    ip6 = None
    if wants6:
        six = Request(
            owner_type="instancegroups",
            owner_id=group.id,
            wanted=wanted6,
            required=require_designated_ip,
            from_reserved=reserved,
            direction=direction,
            what="ip6_addr",
        )
        ip6 = Ip6(allocate(draft, network, 6, six))
    draft.put(
        Vip(
            id=draft.world.new_id(),
            group_id=group.id,
            network_id=network.id,
            ip=Ip4(ip),
            ip6=ip6,
            vrid=_vrid(draft, group, network, vrid),
        )
    )
    return group


def member_network(topology: Topology, group: InstanceGroup) -> Network | None:
    """The one network that all members are in by their only NIC; None without members.

    Raises InvalidStatusError when a member has not exactly one NIC or members are in different networks.
    """
    rows = topology.by(Membership, "group_id", group.id)
    if not rows:
        return None
    network_id = common_network(topology, rows)
    if network_id is None:
        raise InvalidStatusError(_why_none_in_common(topology, group))
    return topology.at(Network, network_id)


def common_network(topology: Topology, rows: Sequence[Membership]) -> str | None:
    """The id of the one network that all these members are in by their only NIC; None when there is no such."""
    found = set[str]()
    for row in rows:
        nics = topology.by(Nic, "server_id", row.server_id)
        if len(nics) != 1:
            return None
        found.add(nics[0].network_id)
    return found.pop() if len(found) == 1 else None


def _why_none_in_common(topology: Topology, group: InstanceGroup) -> str:
    found: dict[str, str] = {}
    for server in members_of(topology, group):
        nics = topology.by(Nic, "server_id", server.id)
        if len(nics) != 1:
            which = f"server {server.name} of instancegroup {group.name}"
            return f"{which} has {len(nics)} NICs; with a VIP each member has exactly one"
        found.setdefault(nics[0].network_id, server.name)
    places = ", ".join(f"{name} in {topology.at(Network, id).name}" for id, name in found.items())
    return f"members of instancegroup {group.name} are in different networks ({places}); use one network"


def _network_for(draft: Draft, group: InstanceGroup, network_id: str | None) -> Network:
    given = None if network_id is None else find(draft.topology, Network, network_id)
    present = member_network(draft.topology, group)
    if present is None and (vips := vips_of(draft.topology, group)):
        present = draft.topology.at(Network, vips[0].network_id)
    if given is not None and present is not None and given.id != present.id:
        raise ConflictError(
            f"network {given.name} is not the one that instancegroup {group.name} is in, {present.name}; leave it out"
        )
    network = present or given
    if network is None:
        raise InputParameterError(f"instancegroup {group.name} has no members; say by network_id where its VIP should be")
    check_visible(network, group.project, f"instancegroup {group.name}")
    if network.server_type != "guest":
        raise InputParameterError(f"network {network.name} is for EIPs; a VIP needs one of server type guest")
    return network


def _check_room(draft: Draft, group: InstanceGroup) -> None:
    vips = vips_of(draft.topology, group)
    if len(vips) >= draft.config.max_vips_per_group:
        raise ConflictError(
            f"instancegroup {group.name} has {len(vips)} VIP already (max_vips_per_group {draft.config.max_vips_per_group}); "
            "detach it first"
        )


def _vrid(draft: Draft, group: InstanceGroup, network: Network, asked: int | str | None) -> int | None:
    topology = draft.topology
    wanted = group.vrid if asked is None else number(asked, what="vrid", least=1, most=255)
    if wanted is None:
        return topology.free_vrid(network.id)
    check_vrid_free(topology, network, wanted)
    return wanted


def detach_network(draft: Draft, ref: str, *, ip_addr: str | None = None) -> InstanceGroup:
    """Take a group's VIPs away, or the one that has `ip_addr` (either half of a pair); one that matches nothing is no error.

    Raises InvalidStatusError, and removes nothing, while an EIP is mapped to one of them.
    """
    group = find_group(draft, ref, "detachnetwork")
    vips = vips_of(draft.topology, group)
    if ip_addr is not None:
        version, ip = parse_ip(ip_addr, what="ip_addr")
        vips = [vip for vip in vips if ip == (vip.ip if version == 4 else vip.ip6)]
    for vip in vips:
        for eip in draft.topology.by(Eip, "vip_id", vip.id):
            raise InvalidStatusError(f"the VIP of instancegroup {group.name} has eip {eip.name}; dissociate it first")
    for vip in vips:
        remove_vip(draft, vip)
    return group
