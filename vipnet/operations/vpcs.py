"""Create and delete VPCs and hosts."""

from __future__ import annotations

import itertools
from typing import get_args

from vipnet.addresses import parse_prefix4, parse_prefix6
from vipnet.errors import ForbiddenError, InputParameterError, NotEmptyError
from vipnet.model import DEFAULT_VPC, AccessMode, Host, Network, Server, Vpc, check_name
from vipnet.operations.draft import Draft
from vipnet.operations.lookup import find, free_name

__all__ = ["create_host", "create_vpc", "delete_host", "delete_vpc", "word"]


def word(value: str, *, what: str, known: tuple[str, ...]) -> str:
    """Return a word out of a closed list, else raise InputParameterError that gives the list."""
    if value not in known:
        raise InputParameterError(f"{what} {value!r} is unknown; use one of {', '.join(known)}")
    return value


def create_vpc(
    draft: Draft, name: str, cidr: str, *, cidr6: str | None = None, external_access_mode: str | None = None
) -> Vpc:
    """Create a VPC. VPCs overlap freely."""
    topology = draft.topology
    mode = word(external_access_mode or "eip-distgw", what="external_access_mode", known=get_args(AccessMode))
    vpc = Vpc(
        id=draft.world.new_id(),
        name=free_name(topology, Vpc, name),
        cidr=str(parse_prefix4(cidr, what="cidr")),
        cidr6=None if cidr6 is None else str(parse_prefix6(cidr6, what="cidr6")),
        external_access_mode=mode,  # type: ignore[arg-type]
        tag=next(tag for tag in itertools.count(1) if not topology.has(Vpc, "tag", tag)),
    )
    draft.put(vpc)
    return vpc


def delete_vpc(draft: Draft, ref: str) -> Vpc:
    """Delete a VPC that has no networks; the built-in one stays (ForbiddenError)."""
    vpc = find(draft.topology, Vpc, ref)
    if vpc.id == DEFAULT_VPC:
        raise ForbiddenError("vpc default is built in and cannot be deleted")
    networks = draft.topology.by(Network, "vpc_id", vpc.id)
    if networks:
        names = ", ".join(sorted(network.name for network in networks)[:5])
        raise NotEmptyError(f"vpc {vpc.name} has {len(networks)} networks ({names}); delete them first")
    draft.remove(vpc)
    return vpc


def create_host(draft: Draft, name: str, *, zone: str | None = None) -> Host:
    """Create a host."""
    host = Host(id=draft.world.new_id(), name=free_name(draft.topology, Host, name), zone=check_name("zone", zone or "default"))
    draft.put(host)
    return host


def delete_host(draft: Draft, ref: str) -> Host:
    """Delete a host that has no servers."""
    host = find(draft.topology, Host, ref)
    servers = draft.topology.by(Server, "host_id", host.id)
    if servers:
        names = ", ".join(sorted(server.name for server in servers)[:5])
        raise NotEmptyError(f"host {host.name} has {len(servers)} servers ({names}); delete them first")
    draft.remove(host)
    return host
