"""A data plane in a dict, one entry an intent, that fails when told to: for tests of what the core does around a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vipnet.backend import Backend, BackendContext, Capability
from vipnet.errors import DataplaneError
from vipnet.intents import Intent, Released, SubnetRouting, SubnetSwitching, UplinkSwitching, VpcRouting
from vipnet.plan import TargetPlan


@dataclass(frozen=True, slots=True)
class DictEntry:
    """An intent as an entry; routers and switches are one target, addresses another."""

    intent: Intent

    @property
    def target(self) -> str:
        links = isinstance(self.intent, SubnetRouting | SubnetSwitching | UplinkSwitching | VpcRouting)
        return "links" if links else "rules"

    @property
    def key(self) -> str:
        return self.intent.id

    @property
    def text(self) -> str:
        return str(self.intent)


class DictBackend(Backend[DictEntry]):
    """Set `refuse` to (key -> reason or None), `lose` to the number of applies after which answers are lost."""

    name: ClassVar[str] = "dict"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"ipv4", "ipv6", "eip", "distgw", "classic", "limits"})

    def __init__(self, context: BackendContext | None = None) -> None:
        del context
        self.installed: dict[str, DictEntry] = {}
        self.flushed: list[Released] = []
        self.announced: list[Intent] = []
        self.log: list[str] = []
        self.refuse: Callable[[str], str | None] = lambda _key: None
        self.tells_which = True
        self.lose_after: int | None = None
        self.lose_flush = False
        self.touched = False

    def compile(self, intents: Iterable[Intent]) -> dict[str, DictEntry]:
        return {intent.id: DictEntry(intent) for intent in intents}

    def read(self) -> dict[str, DictEntry]:
        self.touched = False
        return dict(self.installed)

    def changed(self) -> bool:
        return self.touched

    def apply(self, step: TargetPlan[DictEntry]) -> Mapping[str, str]:
        self.log.append(f"apply {step.target}")
        if self.lose_after is not None:
            if self.lose_after == 0:
                raise DataplaneError("the switch gave no answer")
            self.lose_after -= 1
        wanted = [*step.create, *(new for _, new in step.replace)]
        refused = {entry.key: reason for entry in wanted if (reason := self.refuse(entry.key)) is not None}
        if refused:
            return refused if self.tells_which else dict.fromkeys((entry.key for entry in wanted), "batch refused")
        for entry in step.delete:
            self.installed.pop(entry.key, None)
        self.installed.update({entry.key: entry for entry in wanted})
        return {}

    def flush(self, released: Sequence[Released]) -> None:
        if self.lose_flush:
            raise DataplaneError("conntrack gave no answer")
        self.log.append("flush")
        self.flushed += released

    def announce(self, intents: Iterable[Intent]) -> None:
        self.announced += intents
