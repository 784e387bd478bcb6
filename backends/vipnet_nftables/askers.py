"""By which of its EIPs a router asks upstream: any will do, so it belongs to no intent and is no entry.

Rules fall back to asking by no address where this is missing or no longer an EIP, so it need not be right, only mostly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from vipnet.plan import TargetPlan
from vipnet_nftables import nft
from vipnet_nftables.entries import Element, NativeEntry, Skeleton

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
        came, went = _answered(step.create), _answered(step.delete)
        create: list[NativeEntry] = []
        delete: list[NativeEntry] = []
        for leg in {*came, *went}:
            known = self._known.get((namespace, leg))
            chosen = next(iter(came.get(leg, ())), None)
            if known is not None and known in went.get(leg, ()):
                delete.append(_asker(namespace, leg, known))
                chosen = chosen or _another(namespace, leg, went[leg])
            if chosen is not None and (known is None or delete):
                create.append(_asker(namespace, leg, chosen))
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


def _answered(entries: Iterable[NativeEntry]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry, Element) and (entry.family, entry.set) == ("arp", "vn_eips"):
            leg, _, eip = entry.element.partition(" . ")
            found.setdefault(leg, []).append(eip)
    return found


def _another(namespace: str, leg: str, but: list[str]) -> str | None:
    left = _answered(nft.listing(namespace, families=("arp",)).elements).get(leg, [])
    return next((eip for eip in left if eip not in but), None)
