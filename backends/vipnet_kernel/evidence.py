"""What of links, routes and settings is installed, each looked for by its key."""

from __future__ import annotations

from typing import assert_never

from vipnet.evidence import Finding
from vipnet_kernel.entries import LinkEntry
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.links import Inventory, Link, inventory, link
from vipnet_kernel.namespaces import exists
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.reading import routes_of, rules_of
from vipnet_kernel.route_entries import Route, Rule
from vipnet_kernel.sysctls import read_sysctls

__all__ = ["GONE", "HERE", "LinkLook", "same"]

HERE = Finding("installed")
GONE = Finding("missing")


class LinkLook:
    """One look around: what is asked twice is read once."""

    def __init__(self, handles: Handles, host: str) -> None:
        self._handles = handles
        self._host = host
        self._links: dict[tuple[str, str], Link | None] = {}
        self._spaces: dict[str, Inventory | None] = {}

    def at(self, entry: LinkEntry) -> Finding:
        """How an entry is found. Raises DataplaneError when the kernel cannot be asked."""
        match entry:
            case Namespace():
                there = self._link(entry.name, "lo")
                return GONE if there is None else same(there.alias == entry.alias, f"one of {there.alias or 'somebody else'}")
            case Bridge():
                return GONE if self._link("", entry.name) is None else HERE
            case Vlan():
                return self._vlan(entry)
            case Veth():
                return self._veth(entry)
            case Attachment():
                return self._attachment(entry)
            case Up():
                there = self._link(entry.namespace, entry.device)
                return GONE if there is None or not there.up else HERE
            case Address():
                there = self._link(entry.namespace, entry.device)
                return GONE if there is None or entry.address not in there.addresses else HERE
            case Route() | Rule():
                return self._routing(entry)
            case Sysctl():
                return self._setting(entry)
            case _:
                assert_never(entry)

    def _vlan(self, entry: Vlan) -> Finding:
        if self._link("", entry.leg) is None:
            return Finding("absent", f"interface {entry.leg} is not there")
        there = self._link("", entry.name)
        if there is None:
            return GONE
        return same(Vlan(there.name, there.peer, there.vlan_id) == entry, f"VLAN {there.vlan_id} on {there.peer or 'nothing'}")

    def _veth(self, entry: Veth) -> Finding:
        near, far = self._link(entry.namespace, entry.name), self._link(entry.far_namespace, entry.far)
        if near is None or far is None:
            return GONE
        faults = [
            "" if near.up else f"{near.name} is down",
            "" if entry.mac in ("", near.mac) else f"{near.name} has MAC {near.mac}",
            "" if far.master == entry.master else f"{far.name} is {_port(far)}",
        ]
        return same(not any(faults), ", ".join(filter(None, faults)))

    def _attachment(self, entry: Attachment) -> Finding:
        needed, there = self._link("", entry.needs or entry.device), self._link("", entry.device)
        if needed is None:
            return Finding("absent", f"interface {entry.needs or entry.device} is not there")
        if there is None:
            return GONE
        faults = ["" if there.master == entry.bridge else _port(there), "" if there.up else "down"]
        return same(not any(faults), f"{there.name} {' and '.join(filter(None, faults))}")

    def _routing(self, entry: Route | Rule) -> Finding:
        found = self._space(entry.namespace)
        if found is None:
            return GONE
        rows: list[Route | Rule] = [*routes_of(entry.namespace, found), *rules_of(entry.namespace, found)]
        there = next((row for row in rows if row.key == entry.key), None)
        return GONE if there is None else same(there == entry, there.text)

    def _setting(self, entry: Sysctl) -> Finding:
        if not exists(entry.namespace):
            return GONE
        there = read_sysctls(entry.namespace, [entry.name]).get(entry.name)
        return GONE if there is None else same(there == entry.value, f"{entry.name} = {there}")

    def _link(self, namespace: str, name: str) -> Link | None:
        where = namespace or self._host
        if (where, name) not in self._links:
            self._links[where, name] = link(self._handles, where, name) if exists(where) else None
        return self._links[where, name]

    def _space(self, namespace: str) -> Inventory | None:
        if namespace not in self._spaces:
            self._spaces[namespace] = inventory(self._handles, namespace) if exists(namespace) else None
        return self._spaces[namespace]


def same(so: bool, otherwise: str) -> Finding:
    """Whether it is as it should be, or else how it is."""
    return HERE if so else Finding("different", otherwise)


def _port(there: Link) -> str:
    return f"port of {there.master}" if there.master else "port of no bridge"
