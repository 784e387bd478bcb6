"""What of some entries is installed, each looked for by its key: a trace costs what it asks, not what there is."""

from __future__ import annotations

import functools
import re
import socket
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

from vipnet.addresses import format_ip4, format_ip6
from vipnet.evidence import Finding
from vipnet_kernel.handles import Handles
from vipnet_kernel.links import Inventory, Link, inventory, link
from vipnet_kernel.namespaces import exists
from vipnet_kernel.set_elements import Limit, SetElement, Where, set_elements
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables import nft
from vipnet_nftables.entries import Element, Guard, NativeEntry, Skeleton
from vipnet_nftables.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_nftables.metering import limit_words, owner_of
from vipnet_nftables.port_entries import Attachment, Up
from vipnet_nftables.reader import routes_of, rules_of
from vipnet_nftables.route_entries import Route, Rule
from vipnet_nftables.rules import is_host_intact
from vipnet_nftables.ruleset import HOST, TABLES, declaration, kinds

__all__ = ["find"]

_PERIODS: Final = {1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}
_SET = re.compile(r"(?:set|map) (\w+) \{ type(?:of)? ([^;:]*?)(?: : (\w+))?;")
_TYPES: Final = {"iifname": "ifname", "ether saddr": "ether_addr", "meta mark": "mark"}
"""Of what a set's keys are made of, where it is declared by expressions."""
_HERE = Finding("installed")
_GONE = Finding("missing")


def find(handles: Handles, host: str, entries: Sequence[NativeEntry]) -> dict[str, Finding]:
    """Look for entries in the namespaces where they belong, by key. Raises DataplaneError when the kernel cannot be asked."""
    handles.sweep()
    look = _Look(handles, host)
    elements = [entry for entry in entries if isinstance(entry, Element | Guard)]
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

    def elements(self, entries: Iterable[Element | Guard]) -> dict[str, Finding]:
        """How elements are found; a namespace's with one socket."""
        by_space: dict[str, list[Element | Guard]] = defaultdict(list)
        for entry in entries:
            by_space[entry.namespace if isinstance(entry, Element) else ""].append(entry)
        return {key: found for space, some in by_space.items() for key, found in self._in_space(space, some)}

    def _in_space(self, space: str, entries: Sequence[Element | Guard]) -> Iterator[tuple[str, Finding]]:
        namespace = space or self._host
        places = {entry.key: _where(_element(entry)) for entry in entries}
        there = set_elements(namespace, places.values()) if exists(namespace) else {}
        for entry in entries:
            found = there.get(places[entry.key])
            if found is None:
                yield entry.key, _GONE
            elif isinstance(entry, Guard):
                yield entry.key, self._guard()
            else:
                yield entry.key, _finding(entry, found)

    def _guard(self) -> Finding:
        form = nft.listing(self._host, families=TABLES[HOST], elements=False).form
        return _HERE if is_host_intact(self._host, form) else Finding("changed", "somebody changed rules of table bridge vipnet")

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
            case Element() | Guard():
                return self.elements([entry])[entry.key]
            case _:
                assert_never(entry)

    def _skeleton(self, entry: Skeleton) -> Finding:
        assert entry.kind is not None
        if not exists(entry.namespace):
            return _GONE
        form = nft.listing(entry.namespace, families=TABLES[entry.kind], elements=False).form
        if not nft.tables_of(form).issuperset(TABLES[entry.kind]):
            return _GONE
        found = nft.kind_of(form, kinds())
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


def _element(entry: Element | Guard) -> Element:
    return Element("", "bridge", "vn_bridges", f'"{entry.bridge}"') if isinstance(entry, Guard) else entry


def _where(entry: Element) -> Where:
    types, _ = _types()[entry.family, entry.set]
    parts = entry.element.split(" . ")
    key = b"".join(_encoded(part, kind) for part, kind in zip(parts, types, strict=True))
    return Where(entry.family, nft.TABLE, entry.set, key)


def _finding(entry: Element, there: SetElement) -> Finding:
    _, kind = _types()[entry.family, entry.set]
    owner, _ = owner_of(there.comment)
    found = replace(entry, value=_decoded(there.value, kind) if kind else "", limit=_limit(there.limit), owner=owner, state="")
    counted = "" if there.counted is None else "counter packets {} bytes {}".format(*there.counted)
    comment = f' comment "{there.comment}"' if there.comment else ""
    return Finding("installed", counted + comment) if found == entry else Finding("different", found.text)


def _limit(there: Limit | None) -> str:
    if there is None:
        return ""
    return limit_words(there.rate, burst=there.burst, per=_PERIODS.get(there.unit, f"{there.unit} seconds"), over=there.over)


@functools.cache
def _types() -> Mapping[tuple[str, str], tuple[tuple[str, ...], str]]:
    """The types of the keys and of the values of all declared sets, by family and name."""
    found: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
    for kind in kinds():
        for table in declaration(kind).split("\ntable ")[1:]:
            family = table.split(maxsplit=1)[0]
            for one in _SET.finditer(table):
                name, key, value = (str(part or "").strip() for part in one.groups())
                found[family, name] = tuple(_TYPES.get(part, part) for part in key.split(" . ")), value
    return found


def _encoded(part: str, kind: str) -> bytes:
    """A part of a key as the kernel keeps it: each in whole registers of four bytes."""
    match kind:
        case "ifname":
            return part.strip('"').encode().ljust(16, b"\0")
        case "ether_addr":
            return bytes.fromhex(part.replace(":", "")).ljust(8, b"\0")
        case "mark":
            return int(part).to_bytes(4, sys.byteorder)
        case "ipv6_addr":
            return socket.inet_pton(socket.AF_INET6, part)
        case bits if bits.startswith("@"):  # bits of the packet, the last number says how many
            return int(part, 16).to_bytes(int(bits.rpartition(",")[2]) // 8, "big")
        case _:
            return socket.inet_pton(socket.AF_INET, part)


def _decoded(value: bytes, kind: str) -> str:
    match kind:
        case "mark":
            return str(int.from_bytes(value, sys.byteorder))
        case "ipv6_addr":
            return format_ip6(int.from_bytes(value, "big"))
        case _:
            return format_ip4(int.from_bytes(value, "big"))
