"""Many verbs on one draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from vipnet.errors import InvalidStatusError
from vipnet.model import Eip
from vipnet.operations.draft import Draft
from vipnet.plan import Plan
from vipnet.verbs import Eips, Groups, Hosts, Networks, Servers, Vpcs, Whole
from vipnet.viewer import Viewer
from vipnet.views import Counters

__all__ = ["AllVerbs", "Transaction"]

R = TypeVar("R")
V = TypeVar("V")


class AllVerbs(Whole):
    """The nouns, each with its verbs, over something that runs them; and the verbs of the model as a whole."""

    vpcs: Vpcs
    networks: Networks
    hosts: Hosts
    servers: Servers
    groups: Groups
    eips: Eips

    def __init__(self) -> None:
        self.vpcs = Vpcs(self)
        self.networks = Networks(self)
        self.hosts = Hosts(self)
        self.servers = Servers(self)
        self.groups = Groups(self)
        self.eips = Eips(self)


class Transaction(AllVerbs):
    """Many verbs, one commit, all or nothing; a refused verb has done nothing. `plan` is set when the block has ended."""

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._open: Draft | None = draft
        self._viewer: Viewer | None = Viewer(draft.topology, clock=draft.world.clock)
        self.plan: Plan[Any] = Plan()

    def end(self) -> None:
        """Let go of the draft, which may be large; no verb works any more."""
        self._open = self._viewer = None

    def mutate(self, operation: Callable[[Draft], R], view: Callable[[Viewer, R], V]) -> V:
        viewer, draft = self.read(), self._open
        assert draft is not None
        warned = len(draft.warnings)
        result = draft.attempt(operation)
        warnings = tuple(draft.warnings[warned:])
        return view(replace(viewer, warnings=warnings) if warnings else viewer, result)

    def read(self) -> Viewer:
        if self._viewer is None:
            raise InvalidStatusError("the transaction has ended; begin another one")
        return self._viewer

    def counted(self, eip: Eip) -> Counters | None:  # noqa: ARG002 -- of what is not programmed yet, nothing is
        return None
