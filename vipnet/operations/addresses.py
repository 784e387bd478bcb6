"""Taking and giving back addresses; every owner goes through here, so that one table knows who has what.

What happens to a request: an address asked for by name is taken if nobody holds it (resting does not matter), or out of
the reserved pool if that is asked for; if it is held, the automatic choice replaces it and a warning says so, unless it
was required. The automatic choice goes in one direction, the network's own if it has one, past held and resting ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from vipnet.addresses import format_ip
from vipnet.errors import ConflictError, InputParameterError, InsufficientResourceError
from vipnet.ipam import AddressPool, Direction
from vipnet.model import Address, AllocDir, Eip, InstanceGroup, Network, OwnerType, Server
from vipnet.operations.draft import Draft
from vipnet.topology import Topology

__all__ = ["Request", "allocate", "direction_of", "holder", "nearby", "purge", "release"]

_DIRECTIONS: dict[str, Direction] = {"stepdown": "stepdown", "stepup": "stepup", "random": "random", "none": "stepup"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who wants an address of a network, and which."""

    owner_type: OwnerType
    owner_id: str
    wanted: int | None = None
    required: bool = False
    from_reserved: bool = False
    direction: Direction = "stepdown"
    what: str = "ip_addr"


def direction_of(network: Network, asked: str | None, default: AllocDir) -> Direction:
    """The direction in force: the network's own policy, else what was asked, else the default; `none` means stepup."""
    if asked is not None and asked not in _DIRECTIONS:
        raise InputParameterError(f"alloc_dir {asked!r} is unknown; use one of {', '.join(_DIRECTIONS)}")
    if network.alloc_policy != "none":
        return _DIRECTIONS[network.alloc_policy]
    return _DIRECTIONS[asked or default]


def allocate(draft: Draft, network: Network, version: int, request: Request) -> int:
    """Take one address for its owner and return it.

    Raises InputParameterError outside the range, ConflictError when a required one is held, InsufficientResourceError
    when nothing is free.
    """
    purge(draft, network)
    pool = draft.topology.pool(network.id, version)
    if pool is None:
        raise InputParameterError(f"network {network.name} has no IPv{version} range; use a network made with one")
    ip = _designated(draft, network, version, pool, request)
    if ip is None:
        ip = pool.choose(request.direction, random=draft.world.random)
    if ip is None:
        raise InsufficientResourceError(
            f"network {network.name} has no free IPv{version} address left in {_range(version, pool)}; "
            "release one or use another network"
        )
    draft.put(_held(network, version, ip, request))
    return ip


def _designated(draft: Draft, network: Network, version: int, pool: AddressPool, request: Request) -> int | None:
    ip = request.wanted
    if ip is None:
        return None
    if ip not in pool:
        raise InputParameterError(
            f"{request.what} {format_ip(version, ip)} is outside the range {_range(version, pool)} of network {network.name}"
        )
    held = draft.topology.address(network.id, version, ip)
    if held is None or held.state == "resting" or (request.from_reserved and held.state == "reserved"):
        return ip
    text = f"{request.what} {format_ip(version, ip)} of network {network.name} is held by {holder(draft.topology, held)}"
    around = ", ".join(nearby(pool, version, ip))
    if request.required:
        raise ConflictError(f"{text}; free nearby: {around}" if around else f"{text}; no address of the network is free")
    draft.warnings.append(f"{text}; another one was chosen")
    return None


def nearby(pool: AddressPool, version: int, ip: int) -> list[str]:
    """Up to three free addresses next to one; when all around it are taken, the ends of what is free."""
    middle = min(max(ip, pool.first), pool.last)
    around = range(max(pool.first, middle - 16), min(pool.last, middle + 16) + 1)
    free = [other for other in around if other != ip and not pool.is_taken(other)]
    if not free:
        ends = {pool.choose("stepup", random=_no_chance), pool.choose("stepdown", random=_no_chance)}
        free = [other for other in ends if other is not None]
    return [format_ip(version, other) for other in sorted(free, key=lambda other: (abs(other - ip), other))[:3]]


def _no_chance(_count: int) -> int:
    raise AssertionError("a direction leaves nothing to chance")


def _held(network: Network, version: int, ip: int, request: Request) -> Address:
    return Address(
        network_id=network.id,
        version=version,
        ip=ip,
        state="used",
        owner_type=request.owner_type,
        owner_id=request.owner_id,
        notes="",
        until=None,
    )


def release(draft: Draft, network_id: str, version: int, ip: int, *, rest_seconds: float = 0) -> None:
    """Give an address back; with `rest_seconds` the automatic choice passes it over that long."""
    row = draft.topology.address(network_id, version, ip)
    assert row is not None, f"address {format_ip(version, ip)} of network {network_id} has no row"
    draft.remove(row)
    if rest_seconds > 0:
        until = draft.world.clock() + rest_seconds
        draft.put(
            Address(
                network_id=network_id,
                version=version,
                ip=ip,
                state="resting",
                owner_type=row.owner_type,
                owner_id=row.owner_id,
                notes="",
                until=until,
            )
        )


def purge(draft: Draft, network: Network) -> None:
    """Drop expired reservations and those that have rested enough from a network."""
    for version in (4, 6):
        pool = draft.topology.pool(network.id, version)
        for ip in tuple(pool.due(draft.world.clock())) if pool is not None and pool.is_timed else ():
            row = draft.topology.address(network.id, version, ip)
            if row is not None:
                draft.remove(row)


def holder(topology: Topology, address: Address) -> str:
    """Name who holds an address, for people."""
    match address.owner_type:
        case "servers":
            server = topology.get(Server, address.owner_id)
            return f"server {server.name}" if server else "a server"
        case "instancegroups":
            group = topology.get(InstanceGroup, address.owner_id)
            return f"instancegroup {group.name}" if group else "an instancegroup"
        case "elasticips":
            eip = topology.get(Eip, address.owner_id)
            return f"eip {eip.name}" if eip else "an eip"
        case "reserved":
            return "a reservation" + (f" ({address.notes})" if address.notes else "")


def _range(version: int, pool: AddressPool) -> str:
    return f"{format_ip(version, pool.first)}-{format_ip(version, pool.last)}"
