"""Groups with their members, VIPs and EIPs."""

from __future__ import annotations

from vipnet.addresses import format_ip4
from vipnet.errors import InputParameterError
from vipnet.invariants.references import clashes
from vipnet.invariants.wording import about
from vipnet.model import DEFAULT_VPC, Eip, InstanceGroup, Membership, Network, Nic, Server, Vip, Vpc
from vipnet.operations.groups import vips_of
from vipnet.operations.lookup import check_visible
from vipnet.topology import Topology

__all__ = ["check_eips", "check_groups"]


def check_groups(topology: Topology, max_vips_per_group: int) -> None:
    """Raise InputParameterError for members and VIPs that a group could not have."""
    for row in topology.all(Membership):
        _check_member(topology, topology.at(InstanceGroup, row.group_id), topology.at(Server, row.server_id))
    for vip in topology.all(Vip):
        group, network = topology.at(InstanceGroup, vip.group_id), topology.at(Network, vip.network_id)
        with about(group):
            _check_vip(group, network, vip)
            _check_vips(topology, group, max_vips_per_group)
    _check_vrids(topology)


def _check_member(topology: Topology, group: InstanceGroup, server: Server) -> None:
    if group.project != server.project:
        raise InputParameterError(
            f"server {server.name} is of project {server.project}, instancegroup {group.name} of {group.project}; "
            "they must share the project"
        )
    for vip in topology.by(Vip, "group_id", group.id):
        nics = topology.by(Nic, "server_id", server.id)
        if [nic.network_id for nic in nics] != [vip.network_id]:
            places = ", ".join(sorted(topology.at(Network, nic.network_id).name for nic in nics)) or "none"
            network = topology.at(Network, vip.network_id)
            raise InputParameterError(
                f"server {server.name} of instancegroup {group.name} has {len(nics)} NICs (networks: {places}); "
                f"with a VIP each member has exactly one, in network {network.name}"
            )


def _check_vip(group: InstanceGroup, network: Network, vip: Vip) -> None:
    check_visible(network, group.project, f"instancegroup {group.name}")
    if network.server_type != "guest":
        raise InputParameterError(f"network {network.name} is for EIPs; a VIP needs one of server type guest")
    if vip.ip6 is not None and network.prefix6 is None:
        raise InputParameterError(f"VIP {format_ip4(vip.ip)} has an IPv6 address, network {network.name} no prefix6; use null")


def _check_vips(topology: Topology, group: InstanceGroup, most: int) -> None:
    vips = vips_of(topology, group)
    if len(vips) > most:
        have = ", ".join(format_ip4(vip.ip) for vip in vips)
        raise InputParameterError(f"{len(vips)} VIPs ({have}) are more than max_vips_per_group {most}; leave some out")
    places = sorted({topology.at(Network, vip.network_id).name for vip in vips})
    if len(places) > 1:
        raise InputParameterError(f"its VIPs are in the networks {', '.join(places)}; use one network")


def _check_vrids(topology: Topology) -> None:
    """A VRID belongs to one group in a network; two VIPs of one group may share it."""
    for one, other in clashes(topology.all(Vip), lambda vip: vip.vrid_key):
        if one.group_id != other.group_id:
            names = " and ".join(sorted(topology.at(InstanceGroup, vip.group_id).name for vip in (one, other)))
            network = topology.at(Network, one.network_id)
            raise InputParameterError(
                f"vrid {one.vrid} is used twice in network {network.name}, by instancegroups {names}; choose another for one"
            )


def check_eips(topology: Topology) -> None:
    """Raise InputParameterError for an EIP that is out of a wrong network or mapped where it could not be."""
    for eip in topology.all(Eip):
        with about(eip):
            _check_source(topology.at(Network, eip.network_id), eip)
            if eip.vip_id is not None:
                _check_mapping(topology, eip, topology.at(Vip, eip.vip_id))
    mapped = [eip for eip in topology.all(Eip) if eip.vip_id is not None]
    for one, other in clashes(mapped, lambda eip: topology.at(Vip, str(eip.vip_id)).group_id):
        group = topology.at(InstanceGroup, topology.at(Vip, str(one.vip_id)).group_id)
        names = " and ".join(sorted((one.name, other.name)))
        raise InputParameterError(f"instancegroup {group.name} has two eips, {names}; map one at most")


def _check_source(network: Network, eip: Eip) -> None:
    if network.server_type != "eip":
        raise InputParameterError(f"network {network.name} is of server type {network.server_type}; an EIP needs one of type eip")
    check_visible(network, eip.project, "an EIP")
    if eip.bgp_type != network.bgp_type:
        raise InputParameterError(f"bgp_type {eip.bgp_type!r} is not the one of network {network.name}; use {network.bgp_type!r}")


def _check_mapping(topology: Topology, eip: Eip, vip: Vip) -> None:
    group, inner = topology.at(InstanceGroup, vip.group_id), topology.at(Network, vip.network_id)
    if eip.project != group.project:
        raise InputParameterError(
            f"it is of project {eip.project}, instancegroup {group.name} of {group.project}; they must share it"
        )
    vpc, outer = topology.at(Vpc, inner.vpc_id), topology.at(Network, eip.network_id)
    if outer.zone != inner.zone:
        raise InputParameterError(
            f"it is in zone {outer.zone}, the VIP's network {inner.name} in zone {inner.zone}; use an EIP of that zone"
        )
    if vpc.id == DEFAULT_VPC:
        raise InputParameterError(
            f"the VIP of instancegroup {group.name} is in the classic vpc; EIPs need one in another VPC"
        )
    if not vpc.has_eip:
        raise InputParameterError(
            f"vpc {vpc.name} has external access mode {vpc.external_access_mode}; EIPs need eip or eip-distgw"
        )
