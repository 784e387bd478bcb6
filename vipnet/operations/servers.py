"""Create and delete servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vipnet.addresses import parse_ip4, parse_ip6, parse_mac
from vipnet.errors import ConflictError, InputParameterError
from vipnet.model import (
    DEVICE_NAME,
    Host,
    InstanceGroup,
    Ip4,
    Ip6,
    Membership,
    Network,
    Nic,
    Server,
    check_name,
    mac_of,
    short_id,
)
from vipnet.operations.addresses import Request, allocate, direction_of, release
from vipnet.operations.draft import Draft
from vipnet.operations.groups import check_open, check_placement, join, leave, vips_of
from vipnet.operations.lookup import check_visible, find, find_or_input_error, free_name

__all__ = ["attach_nic", "check_device", "create_server", "delete_server", "detach_nic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NicWish:
    network: Network
    ip: int | None
    ip6: int | None
    mac: str | None
    device: str | None


def create_server(
    draft: Draft,
    name: str,
    *,
    nets: Sequence[str] = (),
    host: str | None = None,
    groups: Sequence[str] = (),
    project: str | None = None,
    macs: Sequence[str] = (),
    devices: Sequence[str] = (),
) -> Server:
    """Create a server with a NIC for each of `nets` (`NETWORK[:IP4][,IP6]`), in the groups given.

    `macs` and `devices` go with `nets` by position; what is missing is derived from the NIC's id.
    """
    project = check_name("project", project or "default")
    server = Server(
        id=draft.world.new_id(),
        name=free_name(draft.topology, Server, name, project=project),
        project=project,
        host_id=None if host is None else find(draft.topology, Host, host).id,
    )
    wishes = _wishes(draft, server, nets, macs, devices)
    draft.put(server)
    for position, wish in enumerate(wishes):
        _add_nic(draft, server, position, wish)
    for ref in groups:
        group = find_or_input_error(draft.topology, InstanceGroup, ref)
        check_placement(draft, group, server)
        check_open(group, server)
        join(draft, group, server)
    return server


def _wishes(
    draft: Draft, server: Server, nets: Sequence[str], macs: Sequence[str], devices: Sequence[str]
) -> list[_NicWish]:
    for what, values in (("macs", macs), ("devices", devices)):
        if len(values) > len(nets):
            raise InputParameterError(
                f"server {server.name} got {len(values)} {what} for {len(nets)} nets; give at most one each"
            )
    wishes = [
        _wish(draft, server, net, _nth(macs, index), _nth(devices, index))
        for index, net in enumerate(nets)
    ]
    if len(set(devices)) < len(devices):
        raise ConflictError(f"server {server.name} got a device twice ({', '.join(devices)}); each NIC has its own")
    seen: set[str] = set()
    for wish in wishes:
        if wish.network.id in seen:
            raise ConflictError(f"server {server.name} cannot have two NICs in network {wish.network.name}; name it once")
        seen.add(wish.network.id)
    named = [wish.device for wish in wishes if wish.device is not None]
    if len(set(named)) < len(named):
        raise ConflictError(f"server {server.name} cannot have two NICs on one device ({', '.join(named)}); name each once")
    return wishes


def _nth(values: Sequence[str], index: int) -> str | None:
    return values[index] if index < len(values) else None


def _wish(draft: Draft, server: Server, net: str, mac: str | None, device: str | None) -> _NicWish:
    ref, ip, ip6 = _split(net)
    network = find(draft.topology, Network, ref)
    check_visible(network, server.project, f"server {server.name}")
    if network.server_type != "guest":
        raise InputParameterError(
            f"network {network.name} is for EIPs; give server {server.name} one of server type guest"
        )
    return _NicWish(
        network=network,
        ip=None if ip is None else parse_ip4(ip, what="ip_addr"),
        ip6=None if ip6 is None else parse_ip6(ip6, what="ip6_addr"),
        mac=None if mac is None else _free_mac(draft, network, mac),
        device=None if device is None else _free_device(draft, server, device),
    )


def _split(net: str) -> tuple[str, str | None, str | None]:
    """Take `NETWORK[:IP4][,IP6]` apart; no name contains a colon or a comma."""
    head, comma, ip6 = net.partition(",")
    ref, colon, ip = head.partition(":")
    if (comma and not ip6) or (colon and not ip):
        raise InputParameterError(f"net {net!r} is not understood; write NETWORK, NETWORK:IP4 or NETWORK:IP4,IP6")
    return ref, ip or None, ip6 or None


def _free_mac(draft: Draft, network: Network, text: str) -> str:
    mac = parse_mac(text, what="mac")
    for nic in draft.topology.by(Nic, "mac", mac):
        if nic.network_id == network.id:
            holder = draft.topology.at(Server, nic.server_id)
            raise ConflictError(f"mac {mac} is used by server {holder.name} in network {network.name}; choose another")
    return mac


def _free_device(draft: Draft, server: Server, device: str) -> str:
    check_device(device)
    for nic in draft.topology.by(Nic, "device", device):
        holder = draft.topology.at(Server, nic.server_id)
        if holder.host_id == server.host_id:
            raise ConflictError(f"device {device} is the port of server {holder.name} on the same host; choose another")
    return device


def check_device(device: str) -> str:
    """Return `device` if it may name a network interface, else raise InputParameterError."""
    if DEVICE_NAME.fullmatch(device) is None or device in (".", ".."):
        raise InputParameterError(f"device {device!r} is no interface name; use 1-15 letters, digits, '.', '_' and '-'")
    return device


def _add_nic(draft: Draft, server: Server, position: int, wish: _NicWish) -> None:
    id = draft.world.new_id()
    network = wish.network
    four = _nic_request(draft, server, network, wish.ip, "ip_addr")
    six = _nic_request(draft, server, network, wish.ip6, "ip6_addr")
    wants6 = network.prefix6 is not None or wish.ip6 is not None
    draft.put(
        Nic(
            id=id,
            server_id=server.id,
            network_id=network.id,
            position=position,
            mac=wish.mac or mac_of(id),
            device=wish.device or "vn" + short_id(id),
            ip=Ip4(allocate(draft, network, 4, four)),
            ip6=Ip6(allocate(draft, network, 6, six)) if wants6 else None,
        )
    )


def _nic_request(draft: Draft, server: Server, network: Network, wanted: int | None, what: str) -> Request:
    return Request(
        owner_type="servers",
        owner_id=server.id,
        wanted=wanted,
        required=True,
        direction=direction_of(network, "stepdown", draft.config.alloc_dir),
        what=what,
    )


def attach_nic(draft: Draft, ref: str, net: str, *, mac: str | None = None, device: str | None = None) -> Server:
    """Give a server a NIC in one more network (`NETWORK[:IP4][,IP6]`); not while a group of its has a VIP."""
    server = find(draft.topology, Server, ref)
    _check_no_vip(draft, server)
    wish = _wish(draft, server, net, mac, device)
    nics = draft.topology.by(Nic, "server_id", server.id)
    if any(nic.network_id == wish.network.id for nic in nics):
        raise ConflictError(f"server {server.name} has a NIC in network {wish.network.name} already; name another network")
    _add_nic(draft, server, max((nic.position for nic in nics), default=-1) + 1, wish)
    return server


def detach_nic(draft: Draft, ref: str, net: str) -> Server:
    """Take a server's NIC in a network away; its address rests. Not while a group of its has a VIP."""
    server = find(draft.topology, Server, ref)
    _check_no_vip(draft, server)
    network = find(draft.topology, Network, net)
    for nic in draft.topology.by(Nic, "server_id", server.id):
        if nic.network_id == network.id:
            _remove_nic(draft, nic)
            return server
    raise ConflictError(f"server {server.name} has no NIC in network {network.name}; see server-show")


def _check_no_vip(draft: Draft, server: Server) -> None:
    for row in draft.topology.by(Membership, "server_id", server.id):
        group = draft.topology.at(InstanceGroup, row.group_id)
        if vips_of(draft.topology, group):
            raise ConflictError(
                f"server {server.name} is a member of instancegroup {group.name}, which has a VIP: "
                "it keeps exactly its one NIC; unbind it first"
            )


def delete_server(draft: Draft, ref: str) -> Server:
    """Delete a server: it leaves its groups, disabled and frozen ones too; its addresses rest."""
    server = find(draft.topology, Server, ref)
    for membership in draft.topology.by(Membership, "server_id", server.id):
        leave(draft, membership)
    for nic in draft.topology.by(Nic, "server_id", server.id):
        _remove_nic(draft, nic)
    draft.remove(server)
    return server


def _remove_nic(draft: Draft, nic: Nic) -> None:
    network = draft.topology.at(Network, nic.network_id)
    seconds = max(network.alloc_timeout_seconds, draft.config.alloc_timeout_seconds)
    release(draft, network.id, 4, nic.ip, rest_seconds=seconds)
    if nic.ip6 is not None:
        release(draft, network.id, 6, nic.ip6, rest_seconds=seconds)
    draft.remove(nic)
