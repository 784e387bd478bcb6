"""What of some entries is installed, each looked for by its key: a trace costs what it asks, not what there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from vipnet.evidence import Finding
from vipnet_kernel.evidence import GONE, LinkLook, same
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import exists
from vipnet_nftables.assembly import limit_in_words
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.entries import Count, Element, Guard, Nat, NativeEntry, Skeleton, Torn
from vipnet_nftables.metering import owner_of
from vipnet_nftables.rules import is_host_intact
from vipnet_nftables.ruleset import TABLES, kinds
from vipnet_nftables.wire.elements import SetElement, by_key
from vipnet_nftables.wire.fields import layouts, packed, unpacked
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.objects import kind_of, read_declared

__all__ = ["find"]



def find(handles: Handles, host: str, entries: Sequence[NativeEntry]) -> dict[str, Finding]:
    """Look for entries in the namespaces where they belong, by key. Raises DataplaneError when the kernel cannot be asked."""
    handles.sweep()
    look = _Look(handles, host)
    elements = [entry for entry in entries if isinstance(entry, ElementEntry)]
    found = look.elements(elements)
    return {entry.key: found[entry.key] if entry.key in found else look.at(entry) for entry in entries}


class _Look:
    """One look around."""

    def __init__(self, handles: Handles, host: str) -> None:
        self._handles = handles
        self._host = host
        self._links = LinkLook(handles, host)

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
            yield from ((part, GONE) for part in parts)
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
            case Element() | Guard() | Nat() | Torn() | Count():
                return self.elements([entry])[entry.key]
            case _:
                return self._links.at(entry)

    def _skeleton(self, entry: Skeleton) -> Finding:
        assert entry.kind is not None
        if not exists(entry.namespace):
            return GONE
        with linked(self._handles.sockets, entry.namespace) as link:
            there = read_declared(link, TABLES[entry.kind])
        if not there.families.issuperset(TABLES[entry.kind]):
            return GONE
        found = kind_of(there, kinds())
        if found is None:
            return Finding("changed", f"somebody changed rules of tables vipnet in {entry.namespace}")
        return same(found == entry.kind, f"rules of kind {found}")

def _together(parts: Sequence[Finding]) -> Finding:
    """What is found of an entry by what is found of its elements."""
    if len(parts) == 1 or all(part.state == "installed" for part in parts):
        return parts[0]
    if all(part.state == "missing" for part in parts):
        return GONE
    return Finding("different", "some of its elements are not there or others")


def _key(entry: Element) -> bytes:
    return packed(entry.element, layouts()[entry.family, entry.set].key)


def _finding(entry: Element, there: SetElement | None) -> Finding:
    if there is None:
        return GONE
    kind = layouts()[entry.family, entry.set].value
    owner, _ = owner_of(there.comment)
    value = unpacked(there.value, (kind,)) if kind else ""
    found = replace(entry, value=value, limit=limit_in_words(there.limit), owner=owner)
    counted = "" if there.counted is None else "counter packets {} bytes {}".format(*there.counted)
    comment = f' comment "{there.comment}"' if there.comment else ""
    return Finding("installed", counted + comment) if found == entry else Finding("different", found.text)
