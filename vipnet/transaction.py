"""Many verbs on one draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from vipnet.operations.draft import Draft
from vipnet.plan import Plan
from vipnet.verbs import Eips, Groups, Hosts, Networks, Servers, Vpcs, Whole
from vipnet.viewer import Viewer

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
        self._draft = draft
        self.plan: Plan[Any] = Plan()

    def mutate(self, operation: Callable[[Draft], R], view: Callable[[Viewer, R], V]) -> V:
        draft = Draft(self._draft.topology, self._draft.config, self._draft.world)
        result = operation(draft)
        self._draft.take_over(draft)
        return view(replace(self.read(), warnings=tuple(draft.warnings)), result)

    def read(self) -> Viewer:
        return Viewer(self._draft.topology, now=self._draft.world.clock())
