"""Makes the views of objects out of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from vipnet.addresses import format_ip, format_ip4, format_ip6
from vipnet.model import Address, Eip, Host, InstanceGroup, Membership, Network, Nic, Server, Vip, Vpc
from vipnet.operations.addresses import holder
from vipnet.operations.groups import eips_of, members_of, vips_of
from vipnet.operations.vips import common_network
from vipnet.operations.why import iso_time, why
from vipnet.topology import Topology
from vipnet.views import (
    AddressView,
    CountedEipView,
    Counters,
    EipView,
    GroupGuestView,
    GroupNetworkView,
    GroupView,
    HostView,
    ImportView,
    NetworkView,
    NicView,
    ReservationView,
    ServerView,
    VpcView,
    Warnings,
    WhyView,
)

__all__ = ["Viewer"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Makes views out of a snapshot. `transitions`: by object id, what a revision that is not programmed yet does to it."""

    topology: Topology
    transitions: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: Warnings = ()
    clock: Callable[[], float] = field(kw_only=True)

    def vpc(self, vpc: Vpc) -> VpcView:
        return VpcView(
            id=vpc.id,
            name=vpc.name,
            cidr_block=vpc.cidr,
            cidr_block6=vpc.cidr6,
            external_access_mode=vpc.external_access_mode,
            warnings=self.warnings,
        )

    def network(self, network: Network) -> NetworkView:
        pool = self.topology.pool(network.id, 4)
        assert pool is not None
        expired = [address for address in self._expired(network, 4) if address.state == "reserved"]
        used = pool.held - len(expired)
        return NetworkView(
            id=network.id,
            name=network.name,
            vpc=self.topology.at(Vpc, network.vpc_id).name,
            prefix=network.prefix,
            guest_ip_start=format_ip4(network.start),
            guest_ip_end=format_ip4(network.end),
            guest_gateway=None if network.gateway is None else format_ip4(network.gateway),
            prefix6=network.prefix6,
            alloc_policy=network.alloc_policy,
            server_type=network.server_type,
            bgp_type=network.bgp_type,
            zone=network.zone,
            project=network.project,
            shared=network.shared,
            free_count=pool.size - used,
            used_count=used,
            warnings=self.warnings,
        )

    def _expired(self, network: Network, version: int) -> list[Address]:
        pool = self.topology.pool(network.id, version)
        due = [] if pool is None else list(pool.due(self.clock()))
        return [row for ip in due if (row := self.topology.address(network.id, version, ip)) is not None]

    def addresses(self, network: Network) -> list[AddressView]:
        """The addresses of a network that are not free, IPv4 first, in order."""
        gone = {address.id for version in (4, 6) for address in self._expired(network, version)}
        rows = [
            row
            for row in self.topology.by(Address, "network_id", network.id)
            if row.state != "resting" and row.id not in gone
        ]
        return [self._address(row) for row in sorted(rows, key=lambda row: (row.version, row.ip))]

    def _address(self, row: Address) -> AddressView:
        owner = "" if row.state == "reserved" else holder(self.topology, row).partition(" ")[2]
        return AddressView(
            ip_addr=format_ip(row.version, row.ip),
            owner_type=row.owner_type,
            owner=owner,
            owner_id=row.owner_id or None,
            notes=row.notes,
            expired_at=_iso_time(row.until),
        )

    def why(self, network: Network, ip: str) -> WhyView:
        answer = why(self.topology, network, ip, now=self.clock())
        row = answer.row
        return WhyView(
            network=network.name,
            ip_addr=format_ip(answer.version, answer.ip),
            verdict=answer.verdict,
            owner_type=None if row is None else row.owner_type,
            owner=None if row is None else self._owner(row),
            until=None if row is None else _iso_time(row.until),
            reason=answer.reason,
            nearby=answer.nearby,
        )

    def _owner(self, row: Address) -> str | None:
        """The name of who has or had an address, as far as there still is one."""
        article, _, name = holder(self.topology, row).partition(" ")
        return None if article in ("a", "an") else name

    def reservation(self, row: Address) -> ReservationView:
        return ReservationView(
            ip_addr=format_ip(row.version, row.ip),
            notes=row.notes,
            expired_at=_iso_time(row.until),
            warnings=self.warnings,
        )

    def host(self, host: Host) -> HostView:
        return HostView(id=host.id, name=host.name, zone=host.zone, warnings=self.warnings)

    def server(self, server: Server) -> ServerView:
        groups = self.groups_of(server)
        vips = [vip for group in groups for vip in vips_of(self.topology, group)]
        host = None if server.host_id is None else self.topology.at(Host, server.host_id)
        return ServerView(
            id=server.id,
            name=server.name,
            host=None if host is None else host.name,
            project=server.project,
            nics=tuple(self._nic(nic) for nic in self.nics_of(server)),
            vip=tuple(format_ip4(vip.ip) for vip in vips),
            virtual_ips=tuple(text for vip in vips for text in _texts(vip)),
            groups=tuple(group.name for group in groups),
            warnings=self.warnings,
        )

    def nics_of(self, server: Server) -> list[Nic]:
        """The NICs of a server in order."""
        return sorted(self.topology.by(Nic, "server_id", server.id), key=lambda nic: nic.position)

    def groups_of(self, server: Server) -> list[InstanceGroup]:
        """The groups of a server by name."""
        rows = self.topology.by(Membership, "server_id", server.id)
        return sorted((self.topology.at(InstanceGroup, row.group_id) for row in rows), key=lambda group: group.name)

    def groups_in(self, network: Network) -> set[InstanceGroup]:
        """The groups that have a VIP in a network."""
        rows = self.topology.by(Address, "network_id", network.id)
        owners = {row.owner_id for row in rows if row.owner_type == "instancegroups" and row.state == "used"}
        return {self.topology.at(InstanceGroup, id) for id in owners}

    def servers_at(self, address: tuple[int, int]) -> set[Server]:
        """The servers that a (version, address) reaches: their own, a VIP of their groups or its EIP."""
        found = set[Server]()
        for row in self.topology.by(Address, "address", address):
            match row.owner_type:
                case "servers" if row.state == "used":
                    found.add(self.topology.at(Server, row.owner_id))
                case "instancegroups" if row.state == "used":
                    found.update(members_of(self.topology, self.topology.at(InstanceGroup, row.owner_id)))
                case "elasticips" if (group := self._group_behind(row.owner_id)) is not None:
                    found.update(members_of(self.topology, group))
                case _:
                    pass
        return found

    def _group_behind(self, eip_id: str) -> InstanceGroup | None:
        eip = self.topology.get(Eip, eip_id)
        if eip is None or eip.vip_id is None:
            return None
        return self.topology.at(InstanceGroup, self.topology.at(Vip, eip.vip_id).group_id)

    def _nic(self, nic: Nic) -> NicView:
        return NicView(
            network=self.topology.at(Network, nic.network_id).name,
            ip_addr=format_ip4(nic.ip),
            ip6_addr=None if nic.ip6 is None else format_ip6(nic.ip6),
            mac=nic.mac,
            device=nic.device,
        )

    def group(self, group: InstanceGroup) -> GroupView:
        topology = self.topology
        rows = topology.by(Membership, "group_id", group.id)
        vips = vips_of(topology, group)
        eip = next(eips_of(topology, vips), None) if vips else None
        home = vips[0].network_id if vips else common_network(topology, rows)
        network = None if home is None else topology.at(Network, home)
        return GroupView(
            id=group.id,
            name=group.name,
            project=group.project,
            enabled=group.enabled,
            status=self.transitions.get(group.id, "init"),
            granularity=group.granularity,
            force_dispersion=group.force_dispersion,
            guest_count=len(rows),
            vips=tuple(text for vip in vips for text in _texts(vip)),
            vip_eip=None if eip is None else format_ip4(eip.ip),
            network=None if network is None else network.name,
            network_id=home,
            zone=group.zone,
            vrid=vips[0].vrid if vips else group.vrid,
            warnings=self.warnings,
        )

    def group_guests(self, group: InstanceGroup) -> list[GroupGuestView]:
        """The members of a group in order."""
        return [
            GroupGuestView(group=group.name, group_id=group.id, server=server.name, server_id=server.id)
            for server in members_of(self.topology, group)
        ]

    def group_network(self, vip: Vip) -> GroupNetworkView:
        eip = next(iter(self.topology.by(Eip, "vip_id", vip.id)), None)
        return GroupNetworkView(
            group=self.topology.at(InstanceGroup, vip.group_id).name,
            network=self.topology.at(Network, vip.network_id).name,
            ip_addr=format_ip4(vip.ip),
            ip6_addr=None if vip.ip6 is None else format_ip6(vip.ip6),
            eip_id=None if eip is None else eip.id,
            eip_addr=None if eip is None else format_ip4(eip.ip),
        )

    def eip(self, eip: Eip) -> EipView:
        group_id = None if eip.vip_id is None else self.topology.at(Vip, eip.vip_id).group_id
        return EipView(
            id=eip.id,
            name=eip.name,
            ip_addr=format_ip4(eip.ip),
            network=self.topology.at(Network, eip.network_id).name,
            bandwidth=eip.bandwidth,
            bgp_type=eip.bgp_type,
            charge_type=eip.charge_type,
            auto_dellocate=eip.auto_dellocate,
            status=self.transitions.get(eip.id, "ready"),
            associate_type=None if group_id is None else "instancegroup",
            associate_id=group_id,
            warnings=self.warnings,
        )

    def counted_eip(self, eip: Eip, counters: Counters | None) -> CountedEipView:
        shown = self.eip(eip)
        return CountedEipView(**{field.name: getattr(shown, field.name) for field in fields(shown)}, counters=counters)

    def imported(self, counts: Mapping[str, int]) -> ImportView:
        return ImportView(**counts, warnings=self.warnings)


def _texts(vip: Vip) -> list[str]:
    return [format_ip4(vip.ip)] + ([] if vip.ip6 is None else [format_ip6(vip.ip6)])


def _iso_time(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
