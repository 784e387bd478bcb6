"""What the Controller says of itself: the report of an `apply`, the status, and objects on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vipnet.model import Eip, Vip
from vipnet.reconcile import Quarantined
from vipnet.topology import Topology
from vipnet.working import Change

__all__ = ["ApplyReport", "Status", "transitions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """What `apply` did; the counts are of entries."""

    changed: int
    created: int
    replaced: int
    deleted: int
    quarantined: tuple[Quarantined, ...]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How things stand. `drift` None: the data plane could not be asked."""

    backend: str
    store: str
    revision: int
    programmed: int
    pending: tuple[int, ...]
    entries: dict[str, int]
    drift: bool | None
    quarantined: tuple[Quarantined, ...]
    versions: dict[str, str]
    warnings: tuple[str, ...]


def transitions(changes: Sequence[Change], topology: Topology, base: Topology) -> dict[str, str]:
    """What a revision does to EIPs and their groups, as their status until it is programmed."""
    words: dict[str, str] = {}
    for change in changes:
        match change.before, change.after:
            case (None, Eip() as eip) | (Eip(vip_id=None), Eip() as eip):
                words |= _mapped(eip, topology, "associate", alone="allocate")
            case Eip() as eip, Eip(vip_id=None) | None:
                words |= _mapped(eip, base, "dissociate", alone="deallocate")
            case Eip(vip_id=old), Eip(vip_id=new) as eip if new != old:
                words |= _mapped(eip, topology, "associate", alone="allocate")
            case _:
                pass
    return words


def _mapped(eip: Eip, topology: Topology, word: str, *, alone: str) -> dict[str, str]:
    vip = None if eip.vip_id is None else topology.get(Vip, eip.vip_id)
    return {eip.id: alone} if vip is None else {eip.id: word, vip.group_id: f"{word}_eip"}
