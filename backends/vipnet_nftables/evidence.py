"""What of some entries is installed, each looked for by its key: a trace costs what it asks, not what there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from vipnet.evidence import Finding
from vipnet_kernel.handles import Handles
from vipnet_kernel.links import Inventory, Link, inventory, link
from vipnet_kernel.namespaces import exists
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables.assembly import limit_in_words
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.entries import Count, Element, Guard, Nat, NativeEntry, Skeleton, Torn
from vipnet_nftables.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_nftables.metering import owner_of
from vipnet_nftables.port_entries import Attachment, Up
from vipnet_nftables.reader import routes_of, rules_of
from vipnet_nftables.route_entries import Route, Rule
from vipnet_nftables.rules import is_host_intact
from vipnet_nftables.ruleset import TABLES, kinds
from vipnet_nftables.wire.elements import SetElement, by_key
from vipnet_nftables.wire.fields import layouts, packed, unpacked
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.objects import kind_of, read_declared

__all__ = ["find"]

_HERE = Finding("installed")
_GONE = Finding("missing")


def find(handles: Handles, host: str, entries: Sequence[NativeEntry]) -> dict[str, Finding]:
    """Look for entries in the namespaces where they belong, by key. Raises DataplaneError when the kernel cannot be asked."""
    handles.sweep()
    look = _Look(handles, host)
    elements = [entry for entry in entries if isinstance(entry, ElementEntry)]
    found = look.elements(elements)
    return {entry.key: found[entry.key] if entry.key in found else look.at(entry) for entry in entries}


class _Look:
    """One look around: what is asked twice is read once."""

    def __init__(self, handles: Handles, host: str) -> None:
        self._handles = handles
        self._host = host
        self._links: dict[tuple[str, str], Link | None] = {}
        self._spaces: dict[str, Inventory | None] = {}

    # ------------------------------------------------------------------------------------------------- elements

    def elements(self, entries: Collection[ElementEntry]) -> dict[str, Finding]:
        """How elements are found; a namespace's with one socket."""
        by_space: dict[str, list[Element]] = defaultdict(list)
        for part in (part for entry in entries for part in entry.parts()):
            by_space[part.namespace].append(part)
        found = {part: finding for space, some in by_space.items() for part, finding in self._in_space(space, some)}
        return {entry.key: self._of(entry, [found[part] for part in entry.parts()]) for entry in entries}

    def _in_space(self, space: str, parts: Sequence[Element]) -> Iterator[tuple[Element, Finding]]:
        namespace = space or self._host
        if not exists(namespace):
            yield from ((part, _GONE) for part in parts)
            return
        with linked(self._handles.sockets, namespace) as link:
            for part in parts:
                key = _key(part)
                yield part, _finding(part, by_key(link, part.family, part.set, [key]).get(key))

    def _of(self, entry: ElementEntry, parts: Sequence[Finding]) -> Finding:
        found = _together(parts)
        if isinstance(entry, Guard) and found.state == "installed" and not is_host_intact(self._handles.sockets, self._host):
            return Finding("changed", "somebody changed rules of table bridge vipnet")
        return found

    # ------------------------------------------------------------------------------------------------- all else

    def at(self, entry: NativeEntry) -> Finding:
        match entry:
            case Skeleton():
                return self._skeleton(entry)
            case Namespace():
                there = self._link(entry.name, "lo")
                return _GONE if there is None else _same(there.alias == entry.alias, f"one of {there.alias or 'somebody else'}")
            case Bridge():
                return _GONE if self._link("", entry.name) is None else _HERE
            case Vlan():
                return self._vlan(entry)
            case Veth():
                return self._veth(entry)
            case Attachment():
                return self._attachment(entry)
            case Up():
                there = self._link(entry.namespace, entry.device)
                return _GONE if there is None or not there.up else _HERE
            case Address():
                there = self._link(entry.namespace, entry.device)
                return _GONE if there is None or entry.address not in there.addresses else _HERE
            case Route() | Rule():
                return self._routing(entry)
            case Sysctl():
                return self._setting(entry)
            case Element() | Guard() | Nat() | Torn() | Count():
                return self.elements([entry])[entry.key]
            case _:
                assert_never(entry)

    def _skeleton(self, entry: Skeleton) -> Finding:
        assert entry.kind is not None
        if not exists(entry.namespace):
            return _GONE
        with linked(self._handles.sockets, entry.namespace) as link:
            there = read_declared(link, TABLES[entry.kind])
        if not there.families.issuperset(TABLES[entry.kind]):
            return _GONE
        found = kind_of(there, kinds())
        if found is None:
            return Finding("changed", f"somebody changed rules of tables vipnet in {entry.namespace}")
        return _same(found == entry.kind, f"rules of kind {found}")

    def _vlan(self, entry: Vlan) -> Finding:
        if self._link("", entry.leg) is None:
            return Finding("absent", f"interface {entry.leg} is not there")
        there = self._link("", entry.name)
        if there is None:
            return _GONE
        return _same(Vlan(there.name, there.peer, there.vlan_id) == entry, f"VLAN {there.vlan_id} on {there.peer or 'nothing'}")

    def _veth(self, entry: Veth) -> Finding:
        near, far = self._link(entry.namespace, entry.name), self._link(entry.far_namespace, entry.far)
        if near is None or far is None:
            return _GONE
        faults = [
            "" if near.up else f"{near.name} is down",
            "" if entry.mac in ("", near.mac) else f"{near.name} has MAC {near.mac}",
            "" if far.master == entry.master else f"{far.name} is {_port(far)}",
        ]
        return _same(not any(faults), ", ".join(filter(None, faults)))

    def _attachment(self, entry: Attachment) -> Finding:
        needed, there = self._link("", entry.needs or entry.device), self._link("", entry.device)
        if needed is None:
            return Finding("absent", f"interface {entry.needs or entry.device} is not there")
        if there is None:
            return _GONE
        faults = ["" if there.master == entry.bridge else _port(there), "" if there.up else "down"]
        return _same(not any(faults), f"{there.name} {' and '.join(filter(None, faults))}")

    def _routing(self, entry: Route | Rule) -> Finding:
        found = self._space(entry.namespace)
        if found is None:
            return _GONE
        rows: list[Route | Rule] = [*routes_of(entry.namespace, found), *rules_of(entry.namespace, found)]
        there = next((row for row in rows if row.key == entry.key), None)
        return _GONE if there is None else _same(there == entry, there.text)

    def _setting(self, entry: Sysctl) -> Finding:
        if not exists(entry.namespace):
            return _GONE
        there = read_sysctls(entry.namespace, [entry.name]).get(entry.name)
        return _GONE if there is None else _same(there == entry.value, f"{entry.name} = {there}")

    def _link(self, namespace: str, name: str) -> Link | None:
        where = namespace or self._host
        if (where, name) not in self._links:
            self._links[where, name] = link(self._handles, where, name) if exists(where) else None
        return self._links[where, name]

    def _space(self, namespace: str) -> Inventory | None:
        if namespace not in self._spaces:
            self._spaces[namespace] = inventory(self._handles, namespace) if exists(namespace) else None
        return self._spaces[namespace]


def _same(so: bool, otherwise: str) -> Finding:
    return _HERE if so else Finding("different", otherwise)


def _port(there: Link) -> str:
    return f"port of {there.master}" if there.master else "port of no bridge"


def _together(parts: Sequence[Finding]) -> Finding:
    """What is found of an entry by what is found of its elements."""
    if len(parts) == 1 or all(part.state == "installed" for part in parts):
        return parts[0]
    if all(part.state == "missing" for part in parts):
        return _GONE
    return Finding("different", "some of its elements are not there or others")


def _key(entry: Element) -> bytes:
    return packed(entry.element, layouts()[entry.family, entry.set].key)


def _finding(entry: Element, there: SetElement | None) -> Finding:
    if there is None:
        return _GONE
    kind = layouts()[entry.family, entry.set].value
    owner, _ = owner_of(there.comment)
    value = unpacked(there.value, (kind,)) if kind else ""
    found = replace(entry, value=value, limit=limit_in_words(there.limit), owner=owner)
    counted = "" if there.counted is None else "counter packets {} bytes {}".format(*there.counted)
    comment = f' comment "{there.comment}"' if there.comment else ""
    return Finding("installed", counted + comment) if found == entry else Finding("different", found.text)
