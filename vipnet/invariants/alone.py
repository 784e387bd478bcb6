"""What one object must be, whatever else there is: ids, names, words and numbers."""

from __future__ import annotations

import re
from typing import get_args

from vipnet.addresses import parse_mac, parse_prefix4, parse_prefix6
from vipnet.errors import InputParameterError
from vipnet.invariants.wording import about, called, kind_word
from vipnet.model import (
    DEFAULT_VPC,
    AccessMode,
    Address,
    AddressState,
    AllocDir,
    ChargeType,
    Eip,
    Host,
    InstanceGroup,
    Membership,
    Network,
    Nic,
    OwnerType,
    Server,
    ServerType,
    Thing,
    Vip,
    Vpc,
    check_name,
    check_notes,
)
from vipnet.operations.eips import MOST_MBPS
from vipnet.operations.groups import MOST_PER_HOST, check_label
from vipnet.operations.lookup import number
from vipnet.operations.networks import LAST_MOMENT, MAX_REST_SECONDS
from vipnet.operations.servers import check_device
from vipnet.operations.vpcs import word

__all__ = ["check_thing"]

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MOST = 2**31 - 1


def check_thing(thing: Thing) -> None:
    """Raise InputParameterError for a field that no object of this kind may have."""
    if isinstance(thing, Vpc | Network | Host | Server | InstanceGroup | Eip):
        check_name(kind_word(type(thing)), thing.name)
    if not isinstance(thing, Address) and not (isinstance(thing, Vpc) and thing.id == DEFAULT_VPC):
        _check_id(thing, "id", thing.id)
    with about(thing):
        _check_fields(thing)


def _check_id(thing: Thing, what: str, id: str) -> None:
    if _ID.fullmatch(id) is None:
        raise InputParameterError(f"{called(thing)}: {what} {id!r} is no id; use a UUID of version 4 in lower case")


def _check_fields(thing: Thing) -> None:
    match thing:
        case Vpc():
            _check_vpc(thing)
        case Network():
            _check_network(thing)
        case Host():
            check_name("zone", thing.zone)
        case Server():
            check_name("project", thing.project)
        case Nic():
            _check_nic(thing)
        case InstanceGroup():
            _check_group(thing)
        case Membership():
            number(thing.position, what="position", least=0, most=_MOST)
        case Vip():
            _check_vrid(thing.vrid)
        case Eip():
            _check_eip(thing)
        case Address():
            _check_address(thing)


def _check_vpc(vpc: Vpc) -> None:
    _check_canonical("cidr", vpc.cidr, str(parse_prefix4(vpc.cidr, what="cidr")))
    if vpc.cidr6 is not None:
        _check_canonical("cidr6", vpc.cidr6, str(parse_prefix6(vpc.cidr6, what="cidr6")))
    word(vpc.external_access_mode, what="external_access_mode", known=get_args(AccessMode))
    number(vpc.tag, what="tag", least=0 if vpc.id == DEFAULT_VPC else 1, most=_MOST)


def _check_canonical(what: str, text: str, canonical: str) -> None:
    if text != canonical:
        raise InputParameterError(f"{what} {text!r} is not written as vipnet writes it; write {canonical}")


def _check_network(network: Network) -> None:
    check_name("project", network.project)
    check_name("zone", network.zone)
    word(network.server_type, what="server_type", known=get_args(ServerType))
    if network.bgp_type:
        check_name("bgp_type", network.bgp_type)
    number(network.vlan_id, what="vlan_id", least=0, most=4094)
    word(network.alloc_policy, what="alloc_policy", known=get_args(AllocDir))
    number(network.alloc_timeout_seconds, what="alloc_timeout_seconds", least=0, most=MAX_REST_SECONDS)
    _check_canonical("prefix", network.prefix, str(parse_prefix4(network.prefix, what="prefix")))
    if network.prefix6 is not None:
        _check_canonical("prefix6", network.prefix6, str(parse_prefix6(network.prefix6, what="prefix6")))


def _check_nic(nic: Nic) -> None:
    number(nic.position, what="position", least=0, most=_MOST)
    _check_canonical("mac", nic.mac, parse_mac(nic.mac, what="mac"))
    check_device(nic.device)


def _check_group(group: InstanceGroup) -> None:
    check_name("project", group.project)
    check_name("zone", group.zone)
    number(group.granularity, what="granularity", least=1, most=MOST_PER_HOST)
    for what, value, most in (
        ("service_type", group.service_type, 36),
        ("parent_id", group.parent_id, 36),
        ("sched_strategy", group.sched_strategy, 16),
    ):
        check_label(what, value, most)
    _check_vrid(group.vrid)


def _check_vrid(vrid: int | None) -> None:
    if vrid is not None:
        number(vrid, what="vrid", least=1, most=255)


def _check_eip(eip: Eip) -> None:
    check_name("project", eip.project)
    word(eip.charge_type, what="charge_type", known=get_args(ChargeType))
    if eip.bandwidth is not None:
        number(eip.bandwidth, what="bandwidth", least=1, most=MOST_MBPS)
    elif eip.charge_type == "bandwidth":
        raise InputParameterError(f"charge type bandwidth needs a bandwidth; give 1 to {MOST_MBPS} Mbit/s")


def _check_address(address: Address) -> None:
    number(address.version, what="version", least=4, most=6)
    if address.version == 5:
        raise InputParameterError("version 5 is no IP version; use 4 or 6")
    word(address.state, what="state", known=get_args(AddressState))
    word(address.owner_type, what="owner_type", known=get_args(OwnerType))
    check_notes(address.notes)
    if address.state == "reserved":
        _check_reservation(address)
    else:
        _check_owned(address)
    _check_until(address)


def _check_reservation(address: Address) -> None:
    if address.owner_type != "reserved" or address.owner_id:
        owner = f"{address.owner_type} {address.owner_id!r}"
        raise InputParameterError(f"a reservation has owner {owner}; use owner_type reserved and an empty owner_id")


def _check_owned(address: Address) -> None:
    if address.owner_type == "reserved":
        raise InputParameterError(f"owner_type reserved does not go with state {address.state}; name who has or had the address")
    _check_id(address, "owner_id", address.owner_id)
    if address.notes:
        raise InputParameterError(f"notes {address.notes[:40]!r} do not go with state {address.state}; leave them empty")


def _check_until(address: Address) -> None:
    until = address.until
    if until is None and address.state == "resting":
        raise InputParameterError("a resting address has no until; say in seconds of the epoch how long it rests")
    if until is not None and address.state == "used":
        raise InputParameterError(f"until {until} does not go with state used; use null")
    if until is not None and not 0 <= until <= LAST_MOMENT:
        raise InputParameterError(f"until {until} is out of bounds; give seconds of the epoch from 0 to {LAST_MOMENT:.0f}")
