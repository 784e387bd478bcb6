"""Verbs of groups, VIPs and EIPs, drawn. Needs hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from vipnet.addresses import format_ip4, format_ip6
from vipnet.model import Eip, InstanceGroup, Membership, Network, Nic, Server, Vip
from vipnet.testing.differential.case import Announce, Together, Verb
from vipnet.testing.differential.hand import a_verb, if_
from vipnet.testing.differential.place_verbs import PlaceVerbs

__all__ = ["GroupVerbs"]


class GroupVerbs(PlaceVerbs):
    """Likewise, and announcements."""

    def _create_group(self) -> Verb:
        return a_verb("groups.create", self._name("g"))

    def _delete_group(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup))
        return None if group is None else a_verb("groups.delete", group.name)

    def _is_alone(self, nic: Nic) -> bool:
        return len(self._cloud.topology.by(Nic, "server_id", nic.server_id)) == 1

    def _bind(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup))
        if group is None:
            return None
        topology = self._cloud.topology
        places = {vip.network_id for vip in topology.by(Vip, "group_id", group.id)}
        fitting = [topology.at(Server, nic.server_id) for nic in self._all(Nic) if not places or nic.network_id in places]
        server = self._one(self._all(Server) if self._is_wild() else fitting)
        return None if server is None else a_verb("groups.bind_guests", group.name, [server.name])

    def _unbind(self) -> Verb | None:
        row = self._one(self._memberships())
        return None if row is None else a_verb("groups.unbind_guests", row[0].name, [row[1].name])

    def _join(self) -> Verb | None:
        server, group = self._one(self._all(Server)), self._one(self._all(InstanceGroup))
        return None if server is None or group is None else a_verb("servers.join_groups", server.name, [group.name])

    def _leave(self) -> Verb | None:
        row = self._one(self._memberships())
        return None if row is None else a_verb("servers.leave_groups", row[1].name, [row[0].name])

    def _memberships(self) -> list[tuple[InstanceGroup, Server]]:
        topology = self._cloud.topology
        rows = [(topology.at(InstanceGroup, row.group_id), topology.at(Server, row.server_id)) for row in self._all(Membership)]
        return sorted(rows, key=lambda row: (row[0].name, row[1].name))

    def _attach_vip(self) -> Verb | None:
        group = self._one([one for one in self._all(InstanceGroup) if self._is_wild() or not self._vips(one)])
        return None if group is None else self._vip_of(group)

    def _vip_of(self, group: InstanceGroup) -> Verb | None:
        members = self._cloud.topology.by(Membership, "group_id", group.id)
        nics = [nic for row in members for nic in self._cloud.topology.by(Nic, "server_id", row.server_id)]
        network = self._cloud.topology.at(Network, nics[0].network_id) if nics else self._one(self._guest_networks())
        if network is None:
            return None
        options: dict[str, Any] = if_(not nics, network_id=network.name)
        offset = self._int(5, 9)
        if network.start6 is not None and self._int(0, 3):
            options["ip6_addr"] = format_ip6(network.start6 + offset)
        return a_verb("groups.attach_network", group.name, ip_addr=format_ip4(network.start + offset), **options)

    def _vips(self, group: InstanceGroup) -> Sequence[Vip]:
        return list(self._cloud.topology.by(Vip, "group_id", group.id))

    def _detach_vip(self) -> Verb | None:
        group = self._one([one for one in self._all(InstanceGroup) if self._vips(one)])
        return None if group is None else a_verb("groups.detach_network", group.name)

    def _mapped_groups(self, *, mapped: bool) -> list[InstanceGroup]:
        eips = {eip.vip_id for eip in self._all(Eip)}
        return [one for one in self._all(InstanceGroup) for vip in self._vips(one) if (vip.id in eips) == mapped]

    def _create_group_eip(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup) if self._is_wild() else self._mapped_groups(mapped=False))
        if group is None:
            return None
        options: dict[str, Any] = {"charge_type": "traffic"} if self._draw(st.booleans()) else {"bandwidth": self._int(1, 50)}
        return a_verb("groups.create_eip", group.name, auto_dellocate=self._draw(st.booleans()), **options)

    def _create_eip(self) -> Verb:
        return a_verb("eips.create", self._name("e"), network="pub", bandwidth=self._int(1, 50))

    def _associate(self) -> Verb | None:
        eip = self._one([eip for eip in self._all(Eip) if self._is_wild() or eip.vip_id is None])
        group = self._one(self._all(InstanceGroup) if self._is_wild() else self._mapped_groups(mapped=False))
        return None if eip is None or group is None else a_verb("groups.associate_eip", group.name, eip_id=eip.name)

    def _dissociate(self) -> Verb | None:
        group = self._one(self._mapped_groups(mapped=True))
        return None if group is None else a_verb("groups.dissociate_eip", group.name, auto_delete=self._draw(st.booleans()))

    def _delete_eip(self) -> Verb | None:
        eip = self._one([eip for eip in self._all(Eip) if self._is_wild() or eip.vip_id is None])
        return None if eip is None else a_verb("eips.delete", eip.name)

    def _move_eip(self) -> Together | None:
        """An EIP changes its group, perhaps its VPC, in one transaction."""
        eip, to = self._one([eip for eip in self._all(Eip) if eip.vip_id]), self._one(self._mapped_groups(mapped=False))
        if eip is None or to is None or eip.auto_dellocate:
            return None
        vip = self._cloud.topology.at(Vip, str(eip.vip_id))
        group = self._cloud.topology.at(InstanceGroup, vip.group_id)
        return Together((a_verb("groups.dissociate_eip", group.name), a_verb("groups.associate_eip", to.name, eip_id=eip.name)))

    def _change_bandwidth(self) -> Verb | None:
        eip = self._one(self._all(Eip))
        return None if eip is None else a_verb("eips.change_bandwidth", eip.name, self._int(1, 50))

    def _apply(self) -> Verb:
        return a_verb("apply", audit=True) if self._draw(st.booleans()) else a_verb("apply")

    def _announce(self) -> Announce | None:
        """By a member, or by anybody else in the network, who may have been one."""
        group = self._one([one for one in self._all(InstanceGroup) if self._vips(one)])
        if group is None or self._int(0, 2):
            return None if group is None else self._announce_member(group)
        vip = self._vips(group)[0]
        nic = self._one([nic for nic in self._all(Nic) if nic.network_id == vip.network_id])
        return None if nic is None else self._announcement(nic.device, vip)

    def _announce_member(self, group: InstanceGroup) -> Announce | None:
        topology = self._cloud.topology
        rows = sorted(topology.by(Membership, "group_id", group.id), key=lambda row: row.position)
        devices = [nic.device for row in rows for nic in topology.by(Nic, "server_id", row.server_id)]
        vips, device = self._vips(group), self._one(devices)
        return None if not vips or device is None else self._announcement(device, vips[0])

    def _announcement(self, device: str, vip: Vip) -> Announce:
        if vip.ip6 is not None and self._draw(st.booleans()):
            return Announce(device, format_ip6(vip.ip6))
        return Announce(device, format_ip4(vip.ip), self._draw(st.sampled_from(("request", "reply"))))
