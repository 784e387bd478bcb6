"""Whether a packet really goes the way of the model: by what its stages rest on, and how that is found in the data plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vipnet.backend import Backend, needs
from vipnet.errors import DataplaneError
from vipnet.evidence import Finding, Location, Need, Role
from vipnet.intents import VipBinding
from vipnet.packets import Delivered, Index, Journey, Packet, Place, Stage, Step, Verdict

__all__ = ["Cause", "Explained", "Holder", "Seen", "explain"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who was taken for the holder of a VIP; `sighting` None: nobody knows, it is the first member."""

    nic_id: str
    sighting: Location | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a step is not as the model says: an entry, or an intent that the backend cannot keep (`reason`)."""

    entry: Any
    finding: Finding
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A step, what it rests on and how that is found; `reason`: why the backend does not keep it at all."""

    step: Step
    found: tuple[tuple[Need[Any], Finding], ...] = ()
    holder: Holder | None = None
    reason: str = ""

    @property
    def cause(self) -> Cause | None:
        """What keeps it from being as the model says."""
        astray = [*_failed(self, "leads"), *_failed(self, "guards")]
        return _stopper(self) if _stops(self) else next(iter(astray), None)

    @property
    def stops(self) -> bool:
        """Whether the packet ends here though the model hands it on."""
        return _stops(self)


@dataclass(frozen=True, slots=True)
class Explained:
    """What becomes of a packet. `stopped`: it does not get to where `verdict` says, for the cause of the last step."""

    verdict: Verdict
    steps: tuple[Seen, ...]
    to: tuple[str, ...]
    stopped: bool


def explain(index: Index, packet: Packet, from_: str, backend: Backend[Any] | None) -> Explained:
    """Follow a packet, ask the backend for what each step rests on, and follow it again where that leads elsewhere.

    Without a backend the model alone answers. Raises DataplaneError when the data plane cannot be asked.
    """
    witness = _Witness(index, packet, backend)
    without: set[tuple[Stage, str]] = set()
    while True:
        verdict = Journey(index, witness.holder_of, packet, without=without).follow(from_)
        steps = witness.seen(verdict.steps)
        astray = next((one for one in steps if _leads_elsewhere(one) and _key(one.step) not in without), None)
        if astray is None:
            return _ended(verdict, steps)
        without.add(_key(astray.step))


def _key(step: Step) -> tuple[Stage, str]:
    return step.stage, step.evidence


def _ended(verdict: Verdict, steps: Sequence[Seen]) -> Explained:
    """The way up to the first step that stops the packet; where it goes to several, those that it does not reach are left out."""
    to = list(verdict.to) if isinstance(verdict, Delivered) else []
    for at, one in enumerate(steps):
        if not _stops(one):
            continue
        if one.step.stage == "deliver":
            to.remove(one.step.to)
        else:
            to, steps = [], steps[: at + 1]
            break
    return Explained(verdict, tuple(steps), tuple(to), stopped=not to and any(map(_stops, steps)))


def _stops(seen: Seen) -> bool:
    """Whether the packet ends here though the model hands it on."""
    return not seen.step.is_drop and _stopper(seen) is not None


def _leads_elsewhere(seen: Seen) -> bool:
    """Whether the packet goes on as if what the step rests on were not in force."""
    return bool(_failed(seen, "guards") or _failed(seen, "leads"))


def _stopper(seen: Seen) -> Cause | None:
    if seen.reason:
        return Cause(None, Finding("missing"), seen.reason)
    admitting = [] if _leads_elsewhere(seen) else _failed(seen, "admits")
    return next(iter([*_failed(seen, "carries"), *admitting]), None)


def _failed(seen: Seen, role: Role) -> list[Cause]:
    failing = {need.entry.key: Cause(need.entry, found) for need, found in seen.found if _fails(found)}
    holding = {need.entry.key for need, _ in seen.found} - failing.keys()
    taken = {need.entry.key for need, _ in seen.found if need.instead in holding}
    keys = [need.entry.key for need, _ in seen.found if need.role == role]
    return [failing[key] for key in keys if key in failing and key not in taken]


def _fails(finding: Finding) -> bool:
    return finding.state not in ("installed", "changed")


class _Witness:
    """Asks the backend, each thing once."""

    def __init__(self, index: Index, packet: Packet, backend: Backend[Any] | None) -> None:
        self._index = index
        self._packet = packet
        self._backend = backend
        self._findings: dict[str, Finding] = {}
        self._holders: dict[Place, Holder | None] = {}

    def holder_of(self, place: Place) -> str | None:
        """The NIC that holds a VIP: as the network knows it, or the group's first member, keepalived's first choice."""
        if place not in self._holders:
            self._holders[place] = self._look_for_holder(place)
        found = self._holders[place]
        return None if found is None else found.nic_id

    def _look_for_holder(self, place: Place) -> Holder | None:
        vip = self._index.vip(place)
        if vip is None or not vip.members:
            return None
        sighting = None if self._backend is None else self._backend.holder(vip, place[1])
        seen = next((one for one in vip.members if sighting is not None and one.mac == sighting.mac), None)
        return Holder(vip.members[0].nic_id, None) if seen is None else Holder(seen.nic_id, sighting)

    def seen(self, steps: Sequence[Step]) -> list[Seen]:
        """Steps with what they rest on, all of it looked for at once."""
        asked = [self._needs(step) for step in steps]
        self._find([need.entry for entries, _ in asked for need in entries])
        return [self._seen(step, entries, reason) for step, (entries, reason) in zip(steps, asked, strict=True)]

    def _seen(self, step: Step, entries: Sequence[Need[Any]], reason: str) -> Seen:
        found = [(need, self._findings.get(need.entry.key)) for need in entries]
        known = tuple((need, finding) for need, finding in found if finding is not None)
        return Seen(step, known, self._holder(step), reason)

    def _holder(self, step: Step) -> Holder | None:
        vip = step.intents[0] if step.stage == "holder" and step.intents else None
        return self._holders.get((vip.network_id, self._packet.version, step.dst)) if isinstance(vip, VipBinding) else None

    def _needs(self, step: Step) -> tuple[Sequence[Need[Any]], str]:
        """The entries that a step rests on; and why the backend does not keep what it rests on, if so."""
        if self._backend is None:
            return (), ""
        try:
            for intent in step.intents:
                if missing := needs(intent) - self._backend.capabilities:
                    cannot = f"{intent.id} needs {', '.join(sorted(missing))}, which backend {self._backend.name} cannot do"
                    return (), cannot
            return self._backend.passage(self._packet, step), ""
        except DataplaneError as error:
            return (), error.details

    def _find(self, entries: Sequence[Any]) -> None:
        new = {entry.key: entry for entry in entries if entry.key not in self._findings}
        if new and self._backend is not None:
            self._findings |= self._backend.evidence(list(new.values()))
