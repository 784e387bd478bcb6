"""By which of its EIPs a router asks upstream: any will do, so it belongs to no intent and is no entry.

Rules fall back to asking by no address where this is missing or no longer an EIP, so it need not be right, only mostly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from vipnet.addresses import format_ip4, ip_of
from vipnet.plan import TargetPlan
from vipnet_kernel import names
from vipnet_kernel.netlink import NETFILTER, talking
from vipnet_nftables.entries import Element, Nat, NativeEntry, Skeleton
from vipnet_nftables.wire.elements import decoded, dumped_elements
from vipnet_nftables.wire.fields import unpacked

__all__ = ["Askers", "is_asker"]


class Askers:
    """The askers in force, as far as they are known, by namespace and leg."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def learn(self, found: Iterable[Element], among: Collection[str] | None = None) -> None:
        """Take what was read for what there is, in some namespaces or in all."""
        others = {} if among is None else {key: eip for key, eip in self._known.items() if key[0] not in among}
        self._known = others | {(one.namespace, one.element): one.value for one in found}

    def completed(self, namespace: str, step: TargetPlan[NativeEntry]) -> TargetPlan[NativeEntry]:
        """The step, with an asker for a leg that gets its first EIP, and another one where the asker goes."""
        if any(isinstance(entry, Skeleton) for entry in (*step.create, *step.delete)):
            self._known = {key: eip for key, eip in self._known.items() if key[0] != namespace}
        others = [pair for pair in step.replace if not _answers_alike(*pair)]
        came = _answered([*step.create, *(new for _, new in others)])
        went = _answered([*step.delete, *(old for old, _ in others)])
        create: list[NativeEntry] = []
        delete: list[NativeEntry] = []
        for uplink in {*came, *went}:
            leg = f'"{names.uplink_leg(uplink)}"'
            known, gone = self._known.get((namespace, leg)), went.get(uplink, ())
            chosen = format_ip4(came[uplink][0]) if uplink in came else None
            if known is not None and gone and ip_of(known) in gone:
                delete.append(_asker(namespace, leg, known))
                chosen = chosen or _another(namespace, leg, gone)
            if chosen is not None and (known is None or delete):
                create.append(_asker(namespace, leg, chosen))
        if not create and not delete:
            return step
        return replace(step, create=(*step.create, *create), delete=(*step.delete, *delete))

    def keep(self, done: TargetPlan[NativeEntry]) -> None:
        """Remember what a completed step did."""
        for entry in done.delete:
            if isinstance(entry, Element) and is_asker(entry):
                self._known.pop((entry.namespace, entry.element), None)
        for entry in done.create:
            if isinstance(entry, Element) and is_asker(entry):
                self._known[entry.namespace, entry.element] = entry.value


def is_asker(entry: NativeEntry) -> bool:
    """Whether it is one of the elements that are kept here."""
    return isinstance(entry, Element) and entry.set == "vn_asker"


def _asker(namespace: str, leg: str, eip: str) -> Element:
    return Element(namespace, "arp", "vn_asker", leg, eip)


def _answered(entries: Iterable[NativeEntry]) -> dict[int, list[int]]:
    """The EIPs that are answered for, by their uplinks."""
    found: dict[int, list[int]] = {}
    for entry in entries:
        if isinstance(entry, Nat):
            found.setdefault(entry.uplink, []).append(entry.eip)
    return found


def _answers_alike(old: NativeEntry, new: NativeEntry) -> bool:
    """Whether an EIP that is changed is answered for on the same leg as before."""
    return isinstance(old, Nat) and isinstance(new, Nat) and old.leg == new.leg


def _another(namespace: str, leg: str, but: Collection[int]) -> str | None:
    """Some EIP that the router answers for on a leg, as the kernel says. Raises OSError and DataplaneError."""
    gone = set(map(format_ip4, but))
    with talking(namespace, NETFILTER) as link:  # a socket of its own, for it is left in the middle of an answer
        elements = map(decoded, dumped_elements(link, "arp", "vn_eips"))
        there = (unpacked(one.key, ("ifname", "ipv4_addr")).split(" . ") for one in elements)
        return next((eip for where, eip in there if where == leg and eip not in gone), None)
