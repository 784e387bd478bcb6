"""Verbs of anti-affinity groups and elastic IPs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vipnet.errors import DataplaneError, InputParameterError, InvalidStatusError
from vipnet.keepalived import CHECK, keepalived_config
from vipnet.model import Eip, InstanceGroup, Network, Server, short_id
from vipnet.operations import eips, groups, vips
from vipnet.operations.lookup import find
from vipnet.verbs.session import Noun
from vipnet.viewer import Viewer
from vipnet.views import CountedEipView, EipView, GroupGuestView, GroupNetworkView, GroupView

__all__ = ["Eips", "Groups"]


class Groups(Noun):
    """Anti-affinity groups: members, VIP, EIP."""

    def create(
        self,
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
    ) -> GroupView:
        """Create a group of at most `granularity` members a host."""
        return self._session.mutate(
            lambda draft: groups.create_group(
                draft,
                name,
                zone_id=zone_id,
                service_type=service_type,
                parent_id=parent_id,
                sched_strategy=sched_strategy,
                granularity=granularity,
                force_dispersion=force_dispersion,
                project=project,
                vrid=vrid,
            ),
            Viewer.group,
        )

    def list(self, *, server: str | None = None) -> Sequence[GroupView]:
        """All groups by name, or those of a server."""
        viewer = self._session.read()
        narrowed = None if server is None else viewer.groups_of(find(viewer.topology, Server, server))
        return [viewer.group(group) for group in _by_name(viewer, narrowed)]

    def show(self, id: str) -> GroupView:
        """One group by id or name."""
        viewer = self._session.read()
        return viewer.group(find(viewer.topology, InstanceGroup, id))

    def delete(self, id: str) -> GroupView:
        """Delete a group without EIP and members; its VIP goes with it."""
        shown = self.show(id)
        return self._session.mutate(lambda draft: groups.delete_group(draft, id), lambda _viewer, _group: shown)

    def update(
        self,
        id: str,
        *,
        name: str | None = None,
        granularity: int | str | None = None,
        force_dispersion: bool | str | None = None,
        vrid: int | str | None = None,
    ) -> GroupView:
        """Change what is given and nothing else."""
        return self._session.mutate(
            lambda draft: groups.update_group(
                draft, id, name=name, granularity=granularity, force_dispersion=force_dispersion, vrid=vrid
            ),
            Viewer.group,
        )

    def enable(self, id: str) -> GroupView:
        """Let a group take and lose members again."""
        return self._session.mutate(lambda draft: groups.set_enabled(draft, id, enabled=True), Viewer.group)

    def disable(self, id: str) -> GroupView:
        """Let a group take and lose no members; its VIP and EIP work on."""
        return self._session.mutate(lambda draft: groups.set_enabled(draft, id, enabled=False), Viewer.group)

    def freeze(self, id: str) -> GroupView:
        """Let a group refuse every action but unfreeze."""
        return self._session.mutate(lambda draft: groups.set_frozen(draft, id, frozen=True), Viewer.group)

    def unfreeze(self, id: str) -> GroupView:
        """End a freeze."""
        return self._session.mutate(lambda draft: groups.set_frozen(draft, id, frozen=False), Viewer.group)

    def bind_guests(self, group: str, guests: Sequence[str]) -> GroupView:
        """Make servers members."""
        return self._session.mutate(lambda draft: groups.bind_guests(draft, group, guests), Viewer.group)

    def unbind_guests(self, group: str, guests: Sequence[str]) -> GroupView:
        """Take servers out."""
        return self._session.mutate(lambda draft: groups.unbind_guests(draft, group, guests), Viewer.group)

    def attach_network(
        self,
        group: str,
        *,
        ip_addr: str | None = None,
        alloc_dir: str | None = None,
        reserved: bool = False,
        require_designated_ip: bool = False,
        network_id: str | None = None,
        ip6_addr: str | None = None,
        require_ipv6: bool = False,
        vrid: int | str | None = None,
    ) -> GroupView:
        """Give a group its VIP; a taken `ip_addr` is replaced with a warning unless `require_designated_ip`."""
        return self._session.mutate(
            lambda draft: vips.attach_network(
                draft,
                group,
                ip_addr=ip_addr,
                alloc_dir=alloc_dir,
                reserved=reserved,
                require_designated_ip=require_designated_ip,
                network_id=network_id,
                ip6_addr=ip6_addr,
                require_ipv6=require_ipv6,
                vrid=vrid,
            ),
            Viewer.group,
        )

    def detach_network(self, group: str, *, ip_addr: str | None = None) -> GroupView:
        """Take a group's VIP away; not while it has an EIP."""
        return self._session.mutate(lambda draft: vips.detach_network(draft, group, ip_addr=ip_addr), Viewer.group)

    def create_eip(
        self,
        group: str,
        *,
        bandwidth: int | str | None = None,
        bgp_type: str | None = None,
        auto_dellocate: bool = False,
        ip_addr: str | None = None,
        eip_addr: str | None = None,
        charge_type: str | None = None,
    ) -> GroupView:
        """Create an EIP in front of the group's VIP (`ip_addr` chooses it); `eip_addr` is the public address wanted."""
        return self._session.mutate(
            lambda draft: eips.create_eip_for_group(
                draft,
                group,
                bandwidth=bandwidth,
                bgp_type=bgp_type,
                auto_dellocate=auto_dellocate,
                ip_addr=ip_addr,
                eip_addr=eip_addr,
                charge_type=charge_type,
            ),
            Viewer.group,
        )

    def associate_eip(self, group: str, *, eip_id: str | None = None, ip_addr: str | None = None) -> GroupView:
        """Map an EIP that exists to the group's VIP."""
        return self._session.mutate(
            lambda draft: eips.associate_eip(draft, group, eip_id=eip_id, ip_addr=ip_addr), Viewer.group
        )

    def dissociate_eip(self, group: str, *, auto_delete: bool = False) -> GroupView:
        """End the mapping; `auto_delete`, or how the EIP was made, frees the EIP too."""
        return self._session.mutate(lambda draft: eips.dissociate_eip(draft, group, auto_delete=auto_delete), Viewer.group)

    def guests(self, *, group: str | None = None, server: str | None = None) -> Sequence[GroupGuestView]:
        """Who is in which group, of one group or of one server."""
        viewer = self._session.read()
        wanted = None if server is None else find(viewer.topology, Server, server)
        if group is not None:
            found = [find(viewer.topology, InstanceGroup, group)]
        else:
            found = _by_name(viewer, None if wanted is None else viewer.groups_of(wanted))
        rows = [row for one in found for row in viewer.group_guests(one)]
        return [row for row in rows if wanted is None or wanted.id == row.server_id]

    def networks(self, *, group: str | None = None, network: str | None = None) -> Sequence[GroupNetworkView]:
        """The VIPs with their EIPs, of one group or in one network."""
        viewer = self._session.read()
        wanted = None if network is None else find(viewer.topology, Network, network)
        if group is not None:
            found = [find(viewer.topology, InstanceGroup, group)]
        else:
            found = _by_name(viewer, None if wanted is None else viewer.groups_in(wanted))
        return [
            viewer.group_network(vip)
            for one in found
            for vip in groups.vips_of(viewer.topology, one)
            if wanted is None or wanted.id == vip.network_id
        ]

    def keepalived_config(
        self, group: str, server: str, *, advert_int: float | str | None = None, check: str | None = None
    ) -> str:
        """The keepalived.conf of a member: VRRPv3, the group's VRID and VIP, priorities in the order of joining.

        `advert_int` is in seconds. Raises InvalidStatusError without a VIP or when the server is no member.
        """
        viewer = self._session.read()
        topology = viewer.topology
        one, member = find(topology, InstanceGroup, group), find(topology, Server, server)
        found = groups.vips_of(topology, one)
        if not found:
            raise InvalidStatusError(f"instancegroup {one.name} has no VIP; attach one first")
        members = groups.members_of(topology, one)
        if member not in members:
            raise InvalidStatusError(f"server {member.name} is no member of instancegroup {one.name}; bind it first")
        network = topology.at(Network, found[0].network_id)
        return keepalived_config(
            router_id=f"vipnet-{short_id(member.id)}",
            position=members.index(member),
            addresses=[viewer.nics_of(each)[0].ip for each in members],
            vip=found[0].ip,
            length=network.length,
            vrid=found[0].vrid,
            vip6=found[0].ip6,
            length6=network.length6,
            advert_int=1.0 if advert_int is None else seconds(advert_int),
            check=CHECK if check is None else check,
        )


def _by_name(viewer: Viewer, narrowed: Iterable[InstanceGroup] | None) -> list[InstanceGroup]:
    """These groups in order; None: all of them, which only then are read."""
    return sorted(viewer.topology.all(InstanceGroup) if narrowed is None else narrowed, key=lambda one: (one.name, one.id))


def seconds(value: float | str) -> float:
    """Read a number of seconds. Raises InputParameterError."""
    try:
        return float(value)
    except ValueError as error:
        raise InputParameterError(f"advert_int {value!r} is no number of seconds; give one like 1 or 0.1") from error


class Eips(Noun):
    """Elastic IPs."""

    def create(
        self,
        name: str,
        *,
        network: str | None = None,
        ip_addr: str | None = None,
        bandwidth: int | str | None = None,
        bgp_type: str | None = None,
        charge_type: str | None = None,
        auto_dellocate: bool = False,
    ) -> EipView:
        """Create an EIP out of `network`, or of one with that BGP type; `bandwidth` in 10^6 bit/s."""
        return self._session.mutate(
            lambda draft: eips.create_eip(
                draft,
                name,
                network=network,
                ip_addr=ip_addr,
                bandwidth=bandwidth,
                bgp_type=bgp_type,
                charge_type=charge_type,
                auto_dellocate=auto_dellocate,
            ),
            Viewer.eip,
        )

    def list(self) -> Sequence[EipView]:
        """All EIPs by name."""
        viewer = self._session.read()
        return [viewer.eip(eip) for eip in sorted(viewer.topology.all(Eip), key=lambda eip: (eip.name, eip.id))]

    def show(self, id: str) -> CountedEipView:
        """One EIP by id or name, with its counters. Where they cannot be read, a warning says so; a transaction has none."""
        viewer = self._session.read()
        eip = find(viewer.topology, Eip, id)
        try:
            return viewer.counted_eip(eip, self._session.counted(eip))
        except DataplaneError as error:
            return replace(viewer, warnings=(f"counters cannot be read: {error.details}",)).counted_eip(eip, None)

    def change_bandwidth(self, id: str, bandwidth: int | str) -> EipView:
        """Change the limit, in 10^6 bit/s, of an EIP associated or not."""
        return self._session.mutate(lambda draft: eips.change_bandwidth(draft, id, bandwidth), Viewer.eip)

    def delete(self, id: str) -> EipView:
        """Delete an EIP that is not associated."""
        return self._session.mutate(lambda draft: eips.delete_eip(draft, id), Viewer.eip)
