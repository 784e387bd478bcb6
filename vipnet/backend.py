"""What a backend is: three methods that are the work, and a few with a simple default.

A backend keeps no copy of the model. Diffing, ordering between objects, retries, quarantine and idempotency are the
core's. Everything a backend installs carries its mark and is recognised by one that restarted with no memory; what
is not its own it neither touches nor reads as its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, assert_never

from vipnet.errors import InputParameterError
from vipnet.evidence import Finding, Location, Need, Role
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    Released,
    SubnetRouting,
    SubnetSwitching,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet.model import DEFAULT_VPC
from vipnet.packets import Packet, Step
from vipnet.plan import Entry, Plan, TargetPlan
from vipnet.sightings import Eyes, Sighting
from vipnet.views import Counters

__all__ = ["Backend", "BackendContext", "Capability", "Usability", "check_options", "needs"]

E = TypeVar("E", bound=Entry)

Capability = Literal["ipv4", "ipv6", "eip", "distgw", "classic", "limits"]
"""What a backend can do; planning refuses an intent that needs a missing one before anything is touched.

`limits`: an EIP may have a bandwidth.
"""


def needs(intent: Intent) -> frozenset[Capability]:
    """What a backend must be able to do to keep an intent."""
    match intent:
        case SubnetSwitching():
            return frozenset({"classic"} if intent.vpc_id == DEFAULT_VPC else ())
        case SubnetRouting():
            return _families(ipv6=intent.gateway6 is not None)
        case VpcRouting():
            return frozenset({"distgw"} if intent.uplinks and intent.mode in ("distgw", "eip-distgw") else ())
        case UplinkSwitching():
            return frozenset({"distgw"} if intent.masquerade else ())
        case PortSecurity():
            return _families(ipv6=bool(intent.ip6s))
        case VipBinding():
            return _families(ipv6=intent.ip6 is not None)
        case EipMapping():
            return frozenset({"eip"} if intent.bandwidth is None else {"eip", "limits"})
        case _:
            assert_never(intent)


def _families(*, ipv6: bool) -> frozenset[Capability]:
    return frozenset({"ipv4", "ipv6"} if ipv6 else {"ipv4"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendContext:
    """What the core hands to a backend that it opens.

    `options` is the backend's own table of the configuration, unchecked. `state` is a file beside the store for a
    backend that has nowhere else to keep its entries; None: the store lives in memory.
    """

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Usability:
    """Whether a backend can work here; `reason` says why not and how to get there."""

    usable: bool
    reason: str = ""


class Backend(ABC, Generic[E]):
    """A data plane. Made with a BackendContext; raises InputParameterError for options that it does not know."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    copies: ClassVar[bool] = False
    """Whether a packet for a VIP goes to each of its members while it is not known which one holds it."""

    notices_all: ClassVar[bool] = False
    """Whether `changed` and `adopt` notice whatever `audit` could show: then nobody looks while they say that nothing moved."""

    @abstractmethod
    def __init__(self, context: BackendContext) -> None: ...

    @classmethod
    def usability(cls) -> Usability:
        """Say whether this machine and user can run the backend (root, tools, kernel features). No side effects."""
        return Usability(True)

    @abstractmethod
    def compile(self, intents: Iterable[Intent]) -> dict[str, E]:
        """Translate intents into native entries by key. Pure: no I/O, same answer for the same intents in any order.

        Raises DataplaneError for an intent that it cannot keep, naming it.
        """

    @abstractmethod
    def read(self) -> dict[str, E]:
        """Return every entry of ours that is installed. Raises DataplaneError when the system cannot be reached."""

    @abstractmethod
    def apply(self, step: TargetPlan[E]) -> Mapping[str, str]:
        """Change one target in one native transaction; return what was refused, reason by key (then nothing was done).

        Creating what is there and deleting what is not there are success. Raises DataplaneError when the target cannot
        be reached or its answer was lost: then the outcome is unknown.
        """

    def steps(self, plan: Plan[E]) -> Iterable[TargetPlan[E]]:
        """Order a plan into steps for `apply`; those that are `last`, at the end. Default: each target once, by name.

        What a mapping that goes has counted must not go before: it is kept, where no packet reaches it, for a step that is
        `last`, or no step is.
        """
        return plan.targets

    def audit(self, expected: Mapping[str, E]) -> dict[str, E]:  # noqa: ARG002 -- for those that override it
        """Return what is installed, as far as it can be compared with `expected`.

        A backend overrides this where something expected cannot be there yet and is no drift (a port whose interface has
        not appeared), or where asking by key is cheaper than reading everything.
        """
        return self.read()

    def recheck(self, expected: Mapping[str, E], places: Collection[str]) -> dict[str, E]:  # noqa: ARG002 -- as above
        """Return what is installed, as `audit` does, but look only at places that `watch` named in sightings.

        What is expected elsewhere is returned as it is expected.
        """
        return self.audit(expected)

    def disturbed(self, places: Collection[str]) -> frozenset[str]:
        """Which of the places that `watch` named anybody else may have changed, as `changed` says it of all. Cheap."""
        return frozenset(places) if self.changed() else frozenset()

    def watch(self, report: Callable[[Sighting], None]) -> Eyes:  # noqa: ARG002 -- for those that override it
        """Begin to watch, and return what ends it: report what is seen of changes that anybody makes, and of addresses.

        `report` may be called from any thread, is quick and never raises. Changes by the backend's own `apply` are reported like
        those of others: the core finds that they left nothing to do. Default: sees nothing.
        """
        return Eyes()

    def own(self) -> bool:
        """Keep others from changing what is installed until `disown`, as far as possible; False: the backend never can.

        Called while a watch lasts, when what is installed is as it should be; what it could not have it may try to have again
        in `prepare`. Raises DataplaneError. Default: it cannot.
        """
        return False

    def disown(self) -> None:
        """Let others change what is installed again; what is installed stays. Raises DataplaneError."""

    def check(self, plan: Plan[E]) -> None:
        """Raise DataplaneError where a plan cannot be carried out because somebody else keeps what it would change. Cheap.

        Asked before any of it is done. Default: it can.
        """

    def changed(self) -> bool:
        """Whether anybody else may have changed what is installed since the last read, audit or apply. Cheap."""
        return True

    def stamp(self) -> str:
        """Name the present state of what is installed so that `adopt`, in another process, can tell whether it still is.

        The core adds its own release and the configuration; a backend that is released by itself adds its own version.
        Asked after a change or a resync is complete; "" when nothing can be told. Cheap.
        """
        return ""

    def adopt(self, stamp: str) -> bool:  # noqa: ARG002 -- for those that override it
        """Take what is installed for known if it still is as another process stamped it; False when it is not, or unknown."""
        return False

    def unnoticed(self, expected: Mapping[str, E]) -> dict[str, E]:
        """Return what is installed of things whose changes neither `adopt` nor `changed` notices, and of those alone: what is
        expected of others is returned as it is.

        Asked for what a resync by an earlier process left, with entries of VPCs, subnets and uplinks. Raises DataplaneError.
        Default: it notices all of it.
        """
        return dict(expected)

    def flush(self, released: Sequence[Released]) -> None:
        """Cut what still lives on addresses that left or moved: connections, neighbours. Verifies; idempotent."""

    def counts(self) -> dict[str, int]:
        """How many entries of ours are installed, by target. Raises DataplaneError when the system cannot be reached."""
        return dict(Counter(entry.target for entry in self.read().values()))

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:  # noqa: ARG002 -- for those that override it
        """What was counted of installed mappings, by EIP id; whose counter is missing has lost it. Default: nothing is counted.

        Asked by any thread, also while another one is in `apply`. Raises DataplaneError when the system cannot be reached.
        """
        return {}

    def closed(self, ended: Iterable[Released]) -> Mapping[str, Counters]:  # noqa: ARG002 -- for those that override it
        """What was counted of mappings that have gone, by EIP id; whose counter is missing has lost it. Default: nothing.

        Each has an `eip_id`. Asked between the steps of a change and those of them that are `last`, again if somebody died
        there. Raises DataplaneError when the system cannot be reached.
        """
        return {}

    def passage(self, packet: Packet, step: Step) -> Sequence[Need[E]]:  # noqa: ARG002 -- for those that override it
        """Say on which entries it rests what a step of `trace` says, and how. Pure; `step` has the intents.

        Default: what the intent that decided compiles to must be there to hand the packet on. Raises DataplaneError for an
        intent that the backend cannot keep.
        """
        role: Role = "shows" if step.is_drop else "carries"
        return [Need(entry, role) for entry in self.compile(step.intents[:1]).values()]

    def evidence(self, entries: Sequence[E]) -> Mapping[str, Finding]:  # noqa: ARG002 -- for those that override it
        """Look for entries where they would be installed, each by its key; of those left out nothing is known. Default: of all.

        Cheap: what it costs follows from what is asked, not from what is installed. Raises DataplaneError when the system
        cannot be reached.
        """
        return {}

    def holder(self, vip: VipBinding, version: int) -> Location | None:  # noqa: ARG002 -- for those that override it
        """Say which MAC the network takes for that of a VIP now; None: it knows none, or cannot tell. Raises DataplaneError."""
        return None

    def announce(self, intents: Iterable[Intent]) -> None:
        """Tell the network again where the addresses of installed mappings are.

        `apply` does so for what it brings; this is for what somebody brought who may have died before. Default: nothing.
        """

    def is_prepared(self) -> bool:
        """Whether there is nothing that `prepare` should do. Cheap; default: there is nothing ever. Raises DataplaneError."""
        return True

    def prepare(self) -> None:
        """Do ahead of time what would hold some later change up, as to make room; nothing that is installed changes.

        Called after a resync and while a watch has nothing else to do. Raises DataplaneError. Default: nothing.
        """

    def versions(self) -> dict[str, str]:
        """Versions of the kernel and the tools in use, for `status`."""
        return {}

    def close(self) -> None:
        """Release sockets and threads; what is installed stays."""


def check_options(backend: str, options: Mapping[str, Any], known: Mapping[str, type]) -> None:
    """Raise InputParameterError unless every option is known and of its type, naming it and what would be accepted."""
    for name, value in options.items():
        if name not in known:
            accepted = ", ".join(sorted(known)) or "none"
            raise InputParameterError(f"backend {backend} has no option {name!r}; it knows: {accepted}")
        if not isinstance(value, known[name]):
            kind = known[name].__name__
            raise InputParameterError(f"option {name} of backend {backend} is {value!r}; it must be of type {kind}")
