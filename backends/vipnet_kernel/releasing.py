"""What lives on in routers: connections of EIPs that left, the MACs of addresses; and who holds a VIP."""

from __future__ import annotations

from collections.abc import Sequence

from vipnet.addresses import format_ip
from vipnet.evidence import Location
from vipnet.intents import Released, VipBinding
from vipnet_kernel import names
from vipnet_kernel.conntrack import cut_connections
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import exists
from vipnet_kernel.neighbours import forget_neighbours, neighbour

__all__ = ["flush", "holder"]


def flush(handles: Handles, released: Sequence[Released]) -> None:
    """Cut the connections of EIPs that left a router, and forget the MACs of private addresses that left a port."""
    by_router: dict[str, list[Released]] = {}
    for item in released:
        by_router.setdefault(names.router_namespace(item.vpc_id), []).append(item)
    for router, items in by_router.items():
        if exists(router):
            cut_connections(handles.sockets, router, {(item.eip, item.ip) for item in items if item.eip is not None})
            forget_neighbours(handles, router, {(item.version, item.ip, item.mac) for item in items if item.eip is None})


def holder(handles: Handles, vip: VipBinding, version: int) -> Location | None:
    """Ask the VPC's router whose MAC it has for a VIP: gratuitous ARP of members alone moves that."""
    router, leg = names.router_namespace(vip.vpc_id), names.subnet_leg(vip.network_id)
    ip = vip.ip if version == 4 else vip.ip6
    if ip is None or not exists(router):
        return None
    mac = neighbour(handles, router, leg, format_ip(version, ip))
    return None if mac is None else Location(mac, f"{format_ip(version, ip)} dev {leg} lladdr {mac} in {router}")
