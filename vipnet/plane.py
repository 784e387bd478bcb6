"""The data plane as one Controller knows it: whether it surely is as it was left, and what was set aside.

Everything here is between a snapshot of the model and the backend; the store, locks and revisions are the Controller's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from vipnet.accounts import Closing
from vipnet.backend import Backend
from vipnet.bulk import uncollected
from vipnet.config import Config
from vipnet.derive import Scope, derive, released
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping, Intent, Released
from vipnet.model import Eip
from vipnet.naming import named
from vipnet.operations.draft import Draft, Progress
from vipnet.plan import Plan, TargetPlan
from vipnet.reconcile import (
    Quarantined,
    Refused,
    Work,
    change_work,
    in_order,
    program,
    program_what_can,
    recheck_plan,
    repair_plan,
    resync_plan,
    unnoticed_plan,
)
from vipnet.store import Pending
from vipnet.topology import Topology
from vipnet.trace import Explained, ModelIndex, Question, explain
from vipnet.views import Counters
from vipnet.working import Change

__all__ = ["Plane", "Programmed"]


@dataclass(frozen=True, slots=True)
class Programmed:
    """What was carried out, up to where its revisions may be marked: what was set aside, what goes to the accounts, and the
    steps that are to follow then."""

    plan: Plan[Any]
    aside: list[Quarantined]
    closing: Closing
    last: list[TargetPlan[Any]]


class Plane:
    """A backend with what is known of it. `quarantined` is what it refused in a resync and nobody has mended since."""

    def __init__(self, backend: Backend[Any], config: Config, progress: Progress) -> None:
        self.backend = backend
        self.quarantined: tuple[Quarantined, ...] = ()
        self._config = config
        self._form = _form(backend, config)
        self._progress = progress
        self._synced = False
        self._drifted = False
        self._is_inherited = False

    def require_usable(self) -> None:
        """Raise DataplaneError where the backend cannot be used."""
        usability = self.backend.usability()
        if not usability.usable:
            raise DataplaneError(f"backend {self.backend.name} cannot be used here: {usability.reason}")

    # ------------------------------------------------------------------------------------------------- a change

    def work(self, base: Topology, draft: Draft) -> Work:
        """What a draft over `base` means for the data plane. Raises DataplaneError for what the backend cannot keep."""
        self._progress("working out the change")
        with uncollected():
            changes, strict = draft.topology.changes(), not draft.sets_aside
            return change_work(self.backend, self._config, base, draft.topology, changes, strict=strict)

    def between(self, base: Topology, topology: Topology, changes: Sequence[Change]) -> Work:
        """What changes that another process has stored mean for the data plane. Raises DataplaneError as `work` does."""
        return change_work(self.backend, self._config, base, topology, changes)

    def program(self, work: Work, topology: Topology, pending: Pending, *, sets_aside: bool) -> Programmed:
        """Carry a change out, and cut what lived on released addresses.

        Raises Refused when all of it was taken back, DataplaneError when the outcome is not known.
        """
        self._progress("programming the data plane")
        steps, last = in_order(self.backend, work.plan)
        found = list(work.aside)
        try:
            with uncollected():
                if sets_aside:
                    found += program_what_can(self.backend, steps)
                else:
                    program(self.backend, steps)
            self.backend.flush(work.released)
            closing = self._closing(topology, [pending])
        except Refused:
            raise
        except BaseException:
            self._synced = False
            raise
        aside = _named(found, topology)
        self.quarantined = (*self.quarantined, *aside)
        return Programmed(work.plan, aside, closing, last)

    def conclude(self, done: Programmed, topology: Topology) -> list[Quarantined]:
        """Carry out the last steps of what is marked as programmed; return what was refused. Raises DataplaneError."""
        try:
            aside = _named(program_what_can(self.backend, done.last), topology)
        except BaseException:
            self._synced = False
            raise
        self.quarantined = (*self.quarantined, *aside)
        return aside

    def forget(self, work: Work) -> None:
        """Cut what began to live on a change before it was taken back."""
        self.backend.flush(released(work.after, work.before))

    def refusal(self, work: Work, refusal: Refused) -> DataplaneError:
        """The error that names the entry of a change that was refused, and its object."""
        key, reason = next(iter(refusal.reasons.items()))
        owner = next((id for id, intent in work.after.items() if key in self.backend.compile([intent])), None)
        thing = f" of {owner}" if owner else ""
        return DataplaneError(f"backend {self.backend.name} refused entry {key}{thing}: {reason}; nothing has changed")

    # ------------------------------------------------------------------------------------------------- what is known

    @property
    def is_synced(self) -> bool:
        """Whether this process has seen all of it, and left it as it should be."""
        return self._synced

    def doubt(self) -> None:
        """Take what is installed for unknown: the next resync looks."""
        self._synced = False

    def stamp(self) -> str:
        """Name what is installed, for other processes; "" while they are to look, or to try again what was set aside."""
        stamp = "" if self.quarantined else self.backend.stamp()
        return f"{self._form} {stamp}" if stamp else ""

    def is_known(self, stamp: Callable[[], str]) -> bool:
        """Whether what is installed surely is what was left, by this process or by the one that stamped it.

        The stamp is asked for only where this process does not know by itself.
        """
        if self._drifted:
            return False
        if self.is_untouched():
            return True
        self._synced = self._adopt(stamp())
        return self._synced

    def is_sound(self, topology: Topology, stamp: Callable[[], str]) -> bool:
        """Whether nothing is set aside and what is installed is known, also what another process left: of that even those
        things are compared that the backend would not notice. Raises DataplaneError."""
        if self.quarantined or not self.is_known(stamp):
            return False
        if self.backend.notices_all or not self._is_inherited:
            return True
        self.require_usable()
        self._drifted = bool(unnoticed_plan(self.backend, self._config, topology))
        self._is_inherited = self._drifted
        return not self._drifted

    def _adopt(self, stamp: str) -> bool:
        """Take what is installed for known if it is as stamped, and was compiled as this process would."""
        form, _, inner = stamp.partition(" ")
        self._is_inherited = form == self._form and self.backend.adopt(inner)
        return self._is_inherited

    def is_untouched(self) -> bool:
        """Whether nobody came after this process, as far as the backend notices."""
        return self._synced and not self._drifted and not self.backend.changed()

    def is_as_left(self, stamp: Callable[[], str]) -> bool:
        """Whether nothing is set aside and the backend, which notices everything, says that nothing moved."""
        return not self.quarantined and self.backend.notices_all and self.is_known(stamp)

    # ------------------------------------------------------------------------------------------------- all of it

    def compared(self, topology: Topology) -> tuple[Plan[Any], list[Quarantined]]:
        """The plan between what should be and what is installed, and what the backend cannot keep."""
        self._progress("comparing with the data plane")
        with uncollected():
            plan, aside = resync_plan(self.backend, self._config, topology)
        self._drifted = bool(plan)  # the backend has seen it now and will call it unchanged, and still it is to be repaired
        return plan, aside

    def resync(self, topology: Topology, pending: Sequence[Pending]) -> Programmed:
        """Make what is installed what it should be, with all that `pending` revisions left to do."""
        self.require_usable()
        self._progress("comparing with the data plane, programming what differs")
        self._synced = False  # until the end: the backend has then seen what is there, and would call a half unchanged
        came = self._came(topology, pending)
        with uncollected():
            plan, found = repair_plan(self.backend, self._config, topology, came)
            self._check(plan)
            steps, last = in_order(self.backend, plan)
            found += program_what_can(self.backend, steps)
        self.backend.flush(_released(pending))
        self.backend.announce(came.values())
        self.backend.prepare()
        closing = self._closing(topology, pending)
        self.quarantined = tuple(_named(found, topology))
        self._synced, self._drifted, self._is_inherited = True, False, False
        return Programmed(plan, list(self.quarantined), closing, last)

    def _closing(self, topology: Topology, pending: Iterable[Pending]) -> Closing:
        """What goes to the accounts by what revisions ended; of an EIP that is gone itself, nothing."""
        left = {id for revision in pending for id, word in revision.transitions.items() if word in ("dissociate", "deallocate")}
        gone = frozenset(id for id in left if topology.get(Eip, id) is None)
        ended = [one for one in _released(pending) if one.eip_id is not None and one.eip_id not in gone]
        return Closing(self.backend.closed(ended) if ended else {}, gone)

    def recheck(self, topology: Topology, places: Collection[str]) -> tuple[Plan[Any], list[Quarantined]]:
        """Make what is installed in some places what it should be; return what that took, and what was refused."""
        self.require_usable()
        with uncollected():
            plan, found = recheck_plan(self.backend, self._config, topology, places)
        self._check(plan)
        aside = _named([*found, *program_what_can(self.backend, self.backend.steps(plan))], topology)
        self.quarantined = tuple(dict.fromkeys((*self.quarantined, *aside)))
        return plan, aside

    def _check(self, plan: Plan[Any]) -> None:
        """See that nobody else keeps what is to be changed, before anything is. Raises DataplaneError."""
        if plan:
            try:
                self.backend.check(plan)
            except DataplaneError:
                self._synced = False  # the backend has seen what is there, and would call it unchanged
                raise

    def disturbed(self, places: Collection[str], stamp: Callable[[], str]) -> frozenset[str]:
        """Which places are not as left, be it by this process or by the one that stamped what is installed."""
        if not self._synced or self._drifted:
            return frozenset(places)
        if (found := self.backend.disturbed(places)) and (known := stamp()) and known != self.stamp():
            self._adopt(known)
            return self.backend.disturbed(places)
        return found

    def _came(self, topology: Topology, pending: Iterable[Pending]) -> dict[str, Intent]:
        """What pending revisions mapped."""
        touched = [Scope("eip", id) for revision in pending for id in revision.transitions]
        return derive(topology, self._config, touched)

    def explained(self, topology: Topology, question: Question) -> tuple[Explained, str]:
        """What becomes of a packet; and why the data plane was not asked, if it was not: then it is what the model says."""
        index = ModelIndex(topology, self._config)
        try:
            self.require_usable()
            return explain(index, question.packet, question.from_, self.backend), ""
        except DataplaneError as error:
            return explain(index, question.packet, question.from_, None), error.details

    def counted(self, topology: Topology, eip: Eip) -> Counters | None:
        """What an EIP's present mapping has counted; None: it is mapped to nothing, or nothing counts."""
        found = derive(topology, self._config, [Scope("eip", eip.id)]).values()
        mappings = [intent for intent in found if isinstance(intent, EipMapping)]
        if not mappings:
            return None
        self.require_usable()
        return self.backend.counters(mappings).get(eip.id)


def _form(backend: Backend[Any], config: Config) -> str:
    """What decides how a model is programmed, beside the model: this release, and the configuration."""
    tables = (config.uplinks, config.classic, config.backends.get(backend.name, {}))
    decisive = (version("vipnet"), backend.name, config.host, *(sorted(table.items()) for table in tables))
    return sha256(repr(decisive).encode()).hexdigest()[:16]


def _released(pending: Iterable[Pending]) -> list[Released]:
    return [entry for revision in pending for entry in revision.released]


def _named(found: Iterable[Quarantined], topology: Topology) -> list[Quarantined]:
    return [Quarantined(*(named(text, topology) for text in (one.object, one.reason))) for one in found]
