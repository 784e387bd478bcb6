"""Verbs of VPCs, hosts, networks and servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vipnet.addresses import parse_ip
from vipnet.model import Host, Network, Server, Vpc
from vipnet.operations import groups as membership
from vipnet.operations import networks, servers, vpcs
from vipnet.operations.lookup import find
from vipnet.verbs.session import Noun
from vipnet.viewer import Viewer
from vipnet.views import AddressView, HostView, NetworkView, ReservationView, ServerView, VpcView, WhyView

__all__ = ["Hosts", "Networks", "Servers", "Vpcs"]


class Vpcs(Noun):
    """Private address spaces."""

    def create(
        self, name: str, cidr: str, *, cidr6: str | None = None, external_access_mode: str | None = None
    ) -> VpcView:
        """Create a VPC; access mode `eip`, `distgw`, `eip-distgw` (default) or `none`."""
        return self._session.mutate(
            lambda draft: vpcs.create_vpc(draft, name, cidr, cidr6=cidr6, external_access_mode=external_access_mode),
            Viewer.vpc,
        )

    def list(self) -> Sequence[VpcView]:
        """All VPCs by name, the built-in `default` included."""
        viewer = self._session.read()
        return [viewer.vpc(vpc) for vpc in sorted(viewer.topology.all(Vpc), key=lambda vpc: vpc.name)]

    def show(self, id: str) -> VpcView:
        """One VPC by id or name."""
        viewer = self._session.read()
        return viewer.vpc(find(viewer.topology, Vpc, id))

    def delete(self, id: str) -> VpcView:
        """Delete a VPC without networks."""
        return self._session.mutate(lambda draft: vpcs.delete_vpc(draft, id), Viewer.vpc)


class Hosts(Noun):
    """Machines that servers run on."""

    def create(self, name: str, *, zone: str | None = None) -> HostView:
        """Create a host."""
        return self._session.mutate(lambda draft: vpcs.create_host(draft, name, zone=zone), Viewer.host)

    def list(self) -> Sequence[HostView]:
        """All hosts by name."""
        viewer = self._session.read()
        return [viewer.host(host) for host in sorted(viewer.topology.all(Host), key=lambda host: host.name)]

    def delete(self, id: str) -> HostView:
        """Delete a host without servers."""
        return self._session.mutate(lambda draft: vpcs.delete_host(draft, id), Viewer.host)


class Networks(Noun):
    """Subnets and their addresses."""

    def create(
        self,
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
    ) -> NetworkView:
        """Create a subnet of `vpc` (default: the classic one), or with server_type `eip` a source of EIPs."""
        options: dict[str, Any] = {
            "vpc": vpc,
            "start_ip": start_ip,
            "end_ip": end_ip,
            "gateway": gateway,
            "prefix6": prefix6,
            "alloc_policy": alloc_policy,
            "server_type": server_type,
            "bgp_type": bgp_type,
            "zone": zone,
            "vlan_id": vlan_id,
            "project": project,
            "shared": shared,
            "alloc_timeout_seconds": alloc_timeout_seconds,
        }
        return self._session.mutate(lambda draft: networks.create_network(draft, name, prefix, **options), Viewer.network)

    def list(self) -> Sequence[NetworkView]:
        """All networks by name."""
        viewer = self._session.read()
        found = sorted(viewer.topology.all(Network), key=lambda network: (network.name, network.id))
        return [viewer.network(network) for network in found]

    def show(self, id: str) -> NetworkView:
        """One network by id or name."""
        viewer = self._session.read()
        return viewer.network(find(viewer.topology, Network, id))

    def delete(self, id: str) -> NetworkView:
        """Delete a network without NICs, VIPs and EIPs."""
        shown = self.show(id)
        return self._session.mutate(lambda draft: networks.delete_network(draft, id), lambda _viewer, _network: shown)

    def update(
        self,
        id: str,
        *,
        start_ip: str | None = None,
        end_ip: str | None = None,
        alloc_policy: str | None = None,
        gateway: str | None = None,
    ) -> NetworkView:
        """Change range, policy or gateway, what is given; not so that a used address would be left out."""
        return self._session.mutate(
            lambda draft: networks.update_network(
                draft, id, start_ip=start_ip, end_ip=end_ip, alloc_policy=alloc_policy, gateway=gateway
            ),
            Viewer.network,
        )

    def addresses(self, id: str) -> Sequence[AddressView]:
        """The addresses of a network that are used or reserved, and by whom."""
        viewer = self._session.read()
        return viewer.addresses(find(viewer.topology, Network, id))

    def why(self, network: str, ip: str) -> WhyView:
        """Whether an address of a network can be had, and if not why and which beside it can."""
        viewer = self._session.read()
        return viewer.why(find(viewer.topology, Network, network), ip)

    def reserve_ip(
        self, network: str, notes: str, ips: Sequence[str], *, duration: str | None = None
    ) -> Sequence[ReservationView]:
        """Reserve addresses for ever or for a `duration` like 10I, 1H, 1D, 1W, 1M, 1Y; again: renew notes and expiry."""
        return self._session.mutate(
            lambda draft: networks.reserve_ip(draft, network, notes, list(ips), duration=duration)[1],
            lambda viewer, rows: [viewer.reservation(row) for row in rows],
        )

    def release_reserved_ip(self, network: str, ip: str) -> ReservationView:
        """Release a reservation."""
        return self._session.mutate(
            lambda draft: networks.release_reserved_ip(draft, network, ip)[1], Viewer.reservation
        )


class Servers(Noun):
    """Virtual machines."""

    def create(
        self,
        name: str,
        *,
        nets: Sequence[str] = (),
        host: str | None = None,
        groups: Sequence[str] = (),
        project: str | None = None,
        macs: Sequence[str] = (),
        devices: Sequence[str] = (),
    ) -> ServerView:
        """Create a server with a NIC for each of `nets` (`NETWORK[:IP4][,IP6]`); `macs` and `devices` go with them."""
        return self._session.mutate(
            lambda draft: servers.create_server(
                draft, name, nets=nets, host=host, groups=groups, project=project, macs=macs, devices=devices
            ),
            Viewer.server,
        )

    def list(self, *, ip_addr: str | None = None) -> Sequence[ServerView]:
        """All servers by name, or those that answer to `ip_addr`: their own, a VIP or an EIP of their groups."""
        viewer = self._session.read()
        found = viewer.topology.all(Server) if ip_addr is None else viewer.servers_at(parse_ip(ip_addr, what="ip_addr"))
        return [viewer.server(server) for server in sorted(found, key=lambda server: (server.name, server.id))]

    def show(self, id: str) -> ServerView:
        """One server by id or name."""
        viewer = self._session.read()
        return viewer.server(find(viewer.topology, Server, id))

    def delete(self, id: str) -> ServerView:
        """Delete a server; it leaves its groups, whose VIP and EIP stay."""
        shown = self.show(id)
        return self._session.mutate(lambda draft: servers.delete_server(draft, id), lambda _viewer, _server: shown)

    def attach_network(self, id: str, net: str, *, mac: str | None = None, device: str | None = None) -> ServerView:
        """Give a server a NIC in one more network (`NETWORK[:IP4][,IP6]`)."""
        return self._session.mutate(
            lambda draft: servers.attach_nic(draft, id, net, mac=mac, device=device), Viewer.server
        )

    def detach_network(self, id: str, net: str) -> ServerView:
        """Take a server's NIC in a network away."""
        return self._session.mutate(lambda draft: servers.detach_nic(draft, id, net), Viewer.server)

    def join_groups(self, id: str, groups: Sequence[str]) -> ServerView:
        """Make a server a member of groups."""
        return self._session.mutate(lambda draft: membership.join_groups(draft, id, groups), Viewer.server)

    def leave_groups(self, id: str, groups: Sequence[str]) -> ServerView:
        """Take a server out of groups."""
        return self._session.mutate(lambda draft: membership.leave_groups(draft, id, groups), Viewer.server)
