"""What is installed, as entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeAlias, TypeVar, assert_never, get_args

from vipnet.errors import DataplaneError
from vipnet.model import AccessMode
from vipnet_kernel.handles import Handles
from vipnet_kernel.linklist import list_links
from vipnet_kernel.links import Inventory, Link, RouteRow, RuleRow, inventory
from vipnet_kernel.namespaces import exists, listed
from vipnet_kernel.netlink import loopback_alias
from vipnet_kernel.sockets import Sockets
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables import names
from vipnet_nftables.askers import is_asker
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.compiler import ROUTER_SYSCTLS, leg_sysctls
from vipnet_nftables.entries import Count, Element, Guard, Nat, NativeEntry, Skeleton, Torn
from vipnet_nftables.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_nftables.port_entries import Attachment, Up
from vipnet_nftables.route_entries import KINDS, PROTOCOL, ROUTE_TABLES, SCOPES, Route, Rule, word
from vipnet_nftables.rules import is_host_intact
from vipnet_nftables.ruleset import GATEWAY, HOST, TABLES, Kind, router_kind
from vipnet_nftables.verification import verified
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.objects import kind_of, read_declared

__all__ = ["Reading", "read_places", "read_system", "read_ways", "routes_of", "rules_of"]

T = TypeVar("T")

_ROUTERS: Final[tuple[Kind, ...]] = tuple(router_kind(mode) for mode in get_args(AccessMode))
_Leg: TypeAlias = tuple[str, Link]
"""Where a leg is, and itself."""

_EMPTY = Inventory({}, (), ())
_FIRST_PREF, _LAST_PREF = 90, 400
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """One look: entries by key, the namespaces of ours, the names of all interfaces of the host's, and who asks upstream."""

    entries: Mapping[str, NativeEntry]
    namespaces: tuple[str, ...]
    devices: frozenset[str]
    askers: tuple[Element, ...]


def read_system(handles: Handles, host: str, owner: str, expected: Mapping[str, NativeEntry]) -> Reading:
    """Read the host's namespace and those that carry the owner's mark; elements that are expected are asked for by key.

    Raises DataplaneError when one cannot be reached.
    """
    handles.sweep()
    around = Inventory(list_links(host), (), ())
    own = {name: found for name in listed(names.NAMESPACE) if (found := _own(handles, name, owner)) is not None}
    near, elements = dict(_near_ends(own)), _elements(expected)
    everything = chain(
        _host_links(around),
        _legs(around, own, near),
        _host_rules(handles.sockets, host, elements[""]),
        *(_namespace(handles, name, owner, _without_orphans(found, near), elements[name]) for name, found in own.items()),
    )
    entries = {entry.key: entry for entry in everything}
    askers = tuple(entry for entry in entries.values() if isinstance(entry, Element) and is_asker(entry))
    for asker in askers:
        del entries[asker.key]
    return Reading(entries, tuple(own), frozenset(around.links), askers)


def read_places(
    handles: Handles, host: str, owner: str, expected: Mapping[str, NativeEntry], places: Collection[str]
) -> Reading:
    """Read some places, which are namespaces or names.HOST; what is expected elsewhere is taken as read. Raises DataplaneError.

    A leg is looked at from both ends: of the legs whose other end is not where it should be, that namespace is read too.
    """
    handles.sweep()
    around = Inventory(list_links(host), (), ())
    legs = [entry for entry in expected.values() if isinstance(entry, Veth)]
    own = {name: found for name in places if name != names.HOST and (found := _own(handles, name, owner)) is not None}
    spaces = {*places} - {names.HOST}
    ends = {name: own.get(name, _EMPTY) for name in spaces} | ({"": around} if names.HOST in places else {})
    spaces |= {leg.namespace for leg in legs if leg.far_namespace in ends and not _is_joined(leg, ends[leg.far_namespace])}
    behind = {leg.far_namespace for leg in legs if leg.namespace in spaces and leg.far_namespace}
    seen = own | {name: found for name in (spaces | behind) - own.keys() if (found := _own(handles, name, owner)) is not None}
    near, leads_to = dict(_near_ends(seen)), {leg.far: leg.namespace for leg in legs}
    elements = _elements(expected)
    read = [
        *(entry for entry in _legs(around, seen, near) if _leads_to(entry, leads_to) in spaces),
        *chain.from_iterable(
            _namespace(handles, name, owner, _without_orphans(found, {*near, *leads_to}), elements[name])
            for name, found in seen.items()
            if name in spaces
        ),
        *(one for name in seen.keys() - spaces for one in _addresses(name, seen[name]) if leads_to.get(one.device) in spaces),
        *((*_host_links(around), *_host_rules(handles.sockets, host, elements[""])) if names.HOST in places else ()),
    ]
    host_too = names.HOST in places
    entries = {key: entry for key, entry in expected.items() if not _is_within(entry, spaces, leads_to, host=host_too)}
    entries |= {entry.key: entry for entry in read}
    askers = tuple(entry for entry in read if isinstance(entry, Element) and is_asker(entry))
    for asker in askers:
        del entries[asker.key]
    return Reading(entries, tuple(spaces), frozenset(around.links), askers)


def read_ways(handles: Handles, owner: str, expected: Mapping[str, NativeEntry]) -> dict[str, NativeEntry]:
    """Read addresses, routes, rules and settings of namespaces that are expected; of the rest, what is expected is taken as read.

    Their interfaces are known to be as expected. Raises DataplaneError.
    """
    spaces = [entry.name for entry in expected.values() if isinstance(entry, Namespace)]
    own = {name: found for name in spaces if (found := _own(handles, name, owner)) is not None}
    read = chain.from_iterable(_ways(name, found) for name, found in own.items())
    kept = {key: entry for key, entry in expected.items() if not isinstance(entry, Address | Route | Rule | Sysctl)}
    return kept | {entry.key: entry for entry in read}


def _elements(expected: Mapping[str, NativeEntry]) -> Mapping[str, list[ElementEntry]]:
    """The entries that are elements of sets, by namespace, "": the host's."""
    found: dict[str, list[ElementEntry]] = defaultdict(list)
    for entry in expected.values():
        if isinstance(entry, ElementEntry):
            found["" if isinstance(entry, Guard) else entry.namespace].append(entry)
    return found


def _is_joined(leg: Veth, there: Inventory) -> bool:
    """Whether the far end of a leg is as it should be."""
    far = there.links.get(leg.far)
    return far is not None and far.up and far.master == leg.master


def _leads_to(entry: NativeEntry, near: Mapping[str, str]) -> str | None:
    """The namespace that an entry of a leg belongs to: that of its near end."""
    match entry:
        case Veth():
            return entry.namespace or near.get(entry.far)
        case Up():
            return near.get(entry.device)
        case _:
            return None


def _is_within(entry: NativeEntry, spaces: Collection[str], near: Mapping[str, str], *, host: bool) -> bool:
    """Whether an entry is in what was read."""
    match entry:
        case Veth():
            return entry.namespace in spaces
        case Up():
            return near[entry.device] in spaces if entry.device in near else host
        case Bridge() | Vlan() | Attachment() | Guard():
            return host
        case Namespace():
            return entry.name in spaces
        case Element():
            return entry.namespace in spaces if entry.namespace else host
        case Address():
            return entry.namespace in spaces or near.get(entry.device) in spaces
        case Route() | Rule() | Sysctl() | Skeleton() | Nat() | Torn() | Count():
            return entry.namespace in spaces
        case _:
            assert_never(entry)


def _own(handles: Handles, name: str, owner: str) -> Inventory | None:
    """What a namespace has that is ours; None also when somebody, whose it was, deleted it while we looked."""
    ours = Namespace(name, owner).alias
    if _still_there(name, loopback_alias) == ours:
        found = _still_there(name, lambda name: inventory(handles, name))
        if found is not None and found.links["lo"].alias == ours:
            return found
    handles.forget(name)
    return None


def _still_there(name: str, look: Callable[[str], T]) -> T | None:
    """What a look at a namespace shows; None when it was deleted meanwhile, and perhaps another one made."""
    for _ in range(_LOOKS):
        try:
            return look(name)
        except DataplaneError:
            if not exists(name):
                return None
    return look(name)


def _host_links(around: Inventory) -> Iterator[NativeEntry]:
    for link in around.links.values():
        if names.BRIDGE.fullmatch(link.name):
            yield Bridge(link.name)
            yield from _up("", link)
        elif names.VLAN.fullmatch(link.name):
            yield Vlan(link.name, link.peer, link.vlan_id)
        if names.BRIDGE.fullmatch(link.master) and not names.FAR_END.fullmatch(link.name):
            yield Attachment(link.name, link.master, link.up)


def _up(namespace: str, link: Link) -> Iterator[NativeEntry]:
    if link.up:
        yield Up(namespace, link.name)


def _legs(around: Inventory, own: Mapping[str, Inventory], near: Mapping[str, _Leg]) -> Iterator[NativeEntry]:
    for where, far in _far_ends(around, own):
        if far.name in near:
            namespace, leg = near[far.name]
            mac = "" if leg.name == names.TRANSIT else leg.mac
            yield Veth(leg.name, namespace, mac, far.name, where, far.master, leg.up, far.most_segments == 1)
            yield from _up(where, far)
        else:
            yield Veth("", "", "", far.name, where, far.master)


def _without_orphans(found: Inventory, near: Collection[str]) -> Inventory:
    """A namespace without links whose other end went with its router: they go, too, and what hangs on them."""
    kept = {name: link for name, link in found.links.items() if not names.TRANSIT_END.fullmatch(name) or name in near}
    return replace(found, links=kept)


def _near_ends(own: Mapping[str, Inventory]) -> Iterator[tuple[str, _Leg]]:
    for namespace, found in own.items():
        for link in found.links.values():
            if link.kind == "veth":
                transit = link.name == names.TRANSIT
                yield names.transit_end(namespace) if transit else names.far_end(namespace, link.name), (namespace, link)


def _far_ends(around: Inventory, own: Mapping[str, Inventory]) -> Iterator[tuple[str, Link]]:
    for link in around.links.values():
        if names.FAR_END.fullmatch(link.name):
            yield "", link
    for namespace, found in own.items():
        if names.GATEWAY.fullmatch(namespace):
            yield from ((namespace, link) for link in found.links.values() if names.TRANSIT_END.fullmatch(link.name))


def _namespace(
    handles: Handles, name: str, owner: str, found: Inventory, elements: Collection[ElementEntry]
) -> Iterator[NativeEntry]:
    yield Namespace(name, owner)
    yield from _ways(name, found)
    yield from _rules(handles.sockets, name, elements)


def _ways(name: str, found: Inventory) -> Iterator[NativeEntry]:
    yield from _addresses(name, found)
    yield from routes_of(name, found)
    yield from rules_of(name, found)
    yield from _settings(name, found)


def _addresses(name: str, found: Inventory) -> Iterator[Address]:
    for link in found.links.values():
        if link.name != "lo":
            yield from (Address(name, link.name, address) for address in link.addresses)


def routes_of(namespace: str, found: Inventory) -> Iterator[Route]:
    """Our routes of a namespace."""
    return (_route(namespace, route) for route in found.routes if route.protocol == PROTOCOL)


def rules_of(namespace: str, found: Inventory) -> Iterator[Rule]:
    """Our routing rules of a namespace."""
    return (_rule(namespace, rule) for rule in found.rules if _FIRST_PREF <= rule.priority <= _LAST_PREF)


def _route(namespace: str, row: RouteRow) -> Route:
    return Route(
        namespace,
        word(ROUTE_TABLES, row.table),
        row.destination,
        row.device,
        row.gateway,
        word(KINDS, row.kind),
        word(SCOPES, row.scope),
        row.onlink,
    )


def _rule(namespace: str, row: RuleRow) -> Rule:
    return Rule(namespace, row.priority, word(ROUTE_TABLES, row.table), row.incoming, row.mark, row.mask, row.suppress)


def _settings(name: str, found: Inventory) -> Iterator[Sysctl]:
    legs = {
        setting: link
        for link in found.links
        if names.SUBNET_LEG.fullmatch(link)
        for setting in (*leg_sysctls(link), f"ipv6/conf/{link}/disable_ipv6")
    }
    for setting, value in read_sysctls(name, [*ROUTER_SYSCTLS, *legs]).items():
        yield Sysctl(name, setting, value, legs.get(setting, ""))


def _rules(sockets: Sockets, name: str, elements: Collection[ElementEntry]) -> Iterator[NativeEntry]:
    kinds: tuple[Kind, ...] = (GATEWAY,) if names.GATEWAY.fullmatch(name) else _ROUTERS
    families = TABLES[kinds[0]]
    with linked(sockets, name) as link:
        there = read_declared(link, families)
        if there.families:
            yield Skeleton(name, kind_of(there, kinds))
            yield from verified(link, families, name, elements)


def _host_rules(sockets: Sockets, host: str, elements: Collection[ElementEntry]) -> Iterator[NativeEntry]:
    with linked(sockets, host) as link:
        found = list(verified(link, TABLES[HOST], "", elements))
    intact = bool(found) and is_host_intact(sockets, host)
    yield from found if intact else (replace(entry, intact=False) if isinstance(entry, Guard) else entry for entry in found)
