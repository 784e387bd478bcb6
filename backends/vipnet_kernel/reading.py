"""What is installed of links, legs, routes and settings, as entries; what is installed of rules a backend reads itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Generic, Protocol, TypeAlias, TypeVar

from vipnet.errors import DataplaneError
from vipnet.plan import Entry
from vipnet_kernel import names
from vipnet_kernel.compiling import ROUTER_SYSCTLS, leg_sysctls
from vipnet_kernel.entries import LinkEntry
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.linklist import list_links
from vipnet_kernel.links import Inventory, Link, RouteRow, RuleRow, inventory
from vipnet_kernel.namespaces import exists, listed
from vipnet_kernel.netlink import loopback_alias
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.route_entries import KINDS, PROTOCOL, ROUTE_TABLES, SCOPES, Route, Rule, word
from vipnet_kernel.sysctls import read_sysctls

__all__ = ["Reading", "RuleReader", "is_waiting", "read_places", "read_system", "read_ways", "routes_of", "rules_of"]

T = TypeVar("T")
E = TypeVar("E", bound=Entry)

_Leg: TypeAlias = tuple[str, Link]
"""Where a leg is, and itself."""

_EMPTY = Inventory({}, (), ())
_FIRST_PREF, _LAST_PREF = 90, 400
_LOOKS = 3


class RuleReader(Protocol[E]):
    """Reads the rules of a backend."""

    def of_host(self) -> Iterable[E]:
        """Those of the host's namespace."""
        ...

    def of_space(self, name: str) -> Iterable[E]:
        """Those of a namespace of ours."""
        ...

    def place(self, entry: E) -> str:
        """The namespace that an entry is in, "": the host's."""
        ...


@dataclass(frozen=True, slots=True)
class Reading(Generic[E]):
    """One look: entries by key, the namespaces of ours, the names of all interfaces of the host's."""

    entries: Mapping[str, E | LinkEntry]
    namespaces: tuple[str, ...]
    devices: frozenset[str]


def read_system(handles: Handles, host: str, owner: str, rules: RuleReader[E]) -> Reading[E]:
    """Read the host's namespace and those that carry the owner's mark. Raises DataplaneError when one cannot be reached."""
    handles.sweep()
    around = Inventory(list_links(host), (), ())
    own = {name: found for name in listed(names.NAMESPACE) if (found := _own(handles, name, owner)) is not None}
    near = dict(_near_ends(own))
    read: list[E | LinkEntry] = [*_host_links(around), *_legs(around, own, near), *rules.of_host()]
    within = _spaces(own, near, owner, rules)
    return Reading({entry.key: entry for entry in (*read, *within)}, tuple(own), frozenset(around.links))


def read_places(
    handles: Handles,
    host: str,
    owner: str,
    rules: RuleReader[E],
    expected: Mapping[str, E | LinkEntry],
    places: Collection[str],
) -> Reading[E]:
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
    read: list[E | LinkEntry] = [
        *(entry for entry in _legs(around, seen, near) if _leads_to(entry, leads_to) in spaces),
        *_spaces({name: found for name, found in seen.items() if name in spaces}, {*near, *leads_to}, owner, rules),
        *(one for name in seen.keys() - spaces for one in _addresses(name, seen[name]) if leads_to.get(one.device) in spaces),
        *((*_host_links(around), *rules.of_host()) if names.HOST in places else ()),
    ]
    there = {*spaces, ""} if names.HOST in places else spaces
    entries = {key: entry for key, entry in expected.items() if not _is_within(entry, there, leads_to, rules)}
    entries |= {entry.key: entry for entry in read}
    return Reading(entries, tuple(spaces), frozenset(around.links))


def read_ways(handles: Handles, owner: str, expected: Mapping[str, E]) -> dict[str, E | LinkEntry]:
    """Read addresses, routes, rules and settings of namespaces that are expected; of the rest, what is expected is taken as read.

    Their interfaces are known to be as expected. Raises DataplaneError.
    """
    spaces = [entry.name for entry in expected.values() if isinstance(entry, Namespace)]
    own = {name: found for name in spaces if (found := _own(handles, name, owner)) is not None}
    read = chain.from_iterable(_ways(name, found) for name, found in own.items())
    kept = {key: entry for key, entry in expected.items() if not isinstance(entry, Address | Route | Rule | Sysctl)}
    return {**kept, **{entry.key: entry for entry in read}}


def is_waiting(entry: Entry, devices: Collection[str]) -> bool:
    """Whether an entry needs an interface that has not appeared, of those that are there."""
    match entry:
        case Attachment():
            return entry.needs not in devices
        case Vlan():
            return entry.leg not in devices
        case _:
            return False


def _is_joined(leg: Veth, there: Inventory) -> bool:
    """Whether the far end of a leg is as it should be."""
    far = there.links.get(leg.far)
    return far is not None and far.up and far.master == leg.master


def _leads_to(entry: LinkEntry, near: Mapping[str, str]) -> str | None:
    """The namespace that an entry of a leg belongs to: that of its near end."""
    match entry:
        case Veth():
            return entry.namespace or near.get(entry.far)
        case Up():
            return near.get(entry.device)
        case _:
            return None


def _is_within(entry: E | LinkEntry, spaces: Collection[str], near: Mapping[str, str], rules: RuleReader[E]) -> bool:
    """Whether an entry is in what was read, of which "" is the host's."""
    match entry:
        case Veth():
            return entry.namespace in spaces
        case Up():
            return near.get(entry.device, "") in spaces
        case Bridge() | Vlan() | Attachment():
            return "" in spaces
        case Namespace():
            return entry.name in spaces
        case Address():
            return entry.namespace in spaces or near.get(entry.device) in spaces
        case Route() | Rule() | Sysctl():
            return entry.namespace in spaces
        case _:
            return rules.place(entry) in spaces


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


def _host_links(around: Inventory) -> Iterator[LinkEntry]:
    for link in around.links.values():
        if names.BRIDGE.fullmatch(link.name):
            yield Bridge(link.name)
            yield from _up("", link)
        elif names.VLAN.fullmatch(link.name):
            yield Vlan(link.name, link.peer, link.vlan_id)
        if names.BRIDGE.fullmatch(link.master) and not names.FAR_END.fullmatch(link.name):
            yield Attachment(link.name, link.master, link.up)


def _up(namespace: str, link: Link) -> Iterator[LinkEntry]:
    if link.up:
        yield Up(namespace, link.name)


def _legs(around: Inventory, own: Mapping[str, Inventory], near: Mapping[str, _Leg]) -> Iterator[LinkEntry]:
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


def _spaces(
    own: Mapping[str, Inventory], near: Collection[str], owner: str, rules: RuleReader[E]
) -> Iterator[E | LinkEntry]:
    for name, seen in own.items():
        found = _without_orphans(seen, near)
        yield Namespace(name, owner)
        yield from _ways(name, found)
        yield from rules.of_space(name)


def _ways(name: str, found: Inventory) -> Iterator[LinkEntry]:
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
