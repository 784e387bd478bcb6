"""One step in one router: in an order in which whoever stops in between leaves nothing open, and nothing uncounted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeGuard

from vipnet.addresses import format_ip4
from vipnet.plan import TargetPlan
from vipnet_iptables.answering import Answers
from vipnet_iptables.counting import Counting
from vipnet_iptables.entries import Count, Nat, NativeEntry, RouterEntry, Skeleton, Torn
from vipnet_iptables.router import MANGLE, TABLES
from vipnet_iptables.router_reader import Found
from vipnet_iptables.tables import Layout, Section, Table, edits
from vipnet_iptables.tools import Refused, Tools
from vipnet_iptables.tree import Node

__all__ = ["Work", "comes", "sections"]


class Work:
    """One step in one router. `mapped`: the mappings that it brings."""

    def __init__(
        self,
        namespace: str,
        step: TargetPlan[NativeEntry],
        found: Found,
        tools: Tools,
        answers: Answers,
        counting: Counting,
    ) -> None:
        self._namespace = namespace
        self._router = found.router
        self._seen = found.seen
        self._tools = tools
        self._answers = answers
        self._counting = counting
        self._goes = [entry for entry in (*step.delete, *(old for old, _ in step.replace)) if _is_of_router(entry)]
        self._comes = [entry for entry in comes(step) if _is_of_router(entry)]
        self._moved = [(old, new) for old, new in step.replace if _is_moving(old, new)]
        self._before = self._there()
        self._ends = {entry.eip for entry in step.delete if isinstance(entry, Nat | Torn)}
        self._begins = {nat.eip for nat in _nats(self._comes)}
        self.mapped = _nats(self._comes)

    def run(self) -> None:
        """Answer for nothing that goes; close; translate; open; answer for what comes. Raises Refused and DataplaneError."""
        self._answers.end(self._namespace, sorted(self._ends))
        near = self._near()
        now = self._seen or self.laid_out(near)
        counted = dict[str, tuple[int, int]]()
        if closing := self._closing():
            self._router.take(closing)
            closed = self.laid_out(near)
            some = [*sections([MANGLE], now, closed)]
            if any(isinstance(entry, Skeleton) for entry in closing):
                some = [*sections([Table("ip", "filter")], now, _dropping(now)), *some]
                now = {**now, Table("ip", "filter"): _dropping(now)[Table("ip", "filter")]}
            self._tools.commit(self._namespace, some)
            now = {**now, MANGLE: closed[MANGLE]}
        if self._moved:  # nothing reaches them any more
            counted = self._carried()
        self._router.take(self._goes)
        self._router.put(self._carrying())
        after = self.laid_out(near)
        self._tools.commit(self._namespace, list(sections(TABLES, now, after, counted)))
        refused = self._answers.begin(self._namespace, sorted(self._begins))
        if refused:
            eip, reason = next(iter(refused.items()))
            raise Refused(f"no route for {format_ip4(eip)}: {reason}", len(TABLES), None)

    def undo(self) -> None:
        """Make the entries those from before."""
        self._router.take(self._comes)
        self._router.take(self._goes)
        self._router.put(self._before)

    def answer_again(self) -> None:
        """Answer for what was answered for before, and nothing else of this."""
        self._answers.end(self._namespace, sorted(self._begins - self._ends))
        self._answers.begin(self._namespace, sorted(nat.eip for nat in _nats(self._before)))

    def laid_out(self, near: Mapping[str, Collection[Node]] | None = None) -> dict[Table, Layout]:
        """What follows from the entries as they are now, of trees only what is near."""
        return self._router.layouts(near if self._seen is None else None)

    def _there(self) -> list[RouterEntry]:
        """Those entries that are there of what goes and comes, as they are."""
        found = (self._router.installed(entry) for entry in (*self._goes, *self._comes))
        return list({entry.key: entry for entry in found if entry is not None}.values())

    def _near(self) -> dict[str, list[Node]] | None:
        """The chains that may change, by tree; None: they are so many that all are looked at."""
        fixed = any(isinstance(entry, Skeleton) for entry in (*self._goes, *self._comes))
        if fixed or len(self._comes) > len(self._router.nats):
            return None
        return self._router.near((*self._before, *self._comes))

    def _closing(self) -> list[RouterEntry]:
        """What must not let anything pass any more before translations change."""
        coming = {entry.eip: entry for entry in _nats(self._comes)}
        going = [entry for entry in self._before if isinstance(entry, Nat)]
        changed = [nat for nat in going if nat.eip in coming and nat[2:4] != coming[nat.eip][2:4]]
        comes = any(isinstance(entry, Skeleton) for entry in self._comes)
        rules = [entry for entry in self._goes if isinstance(entry, Skeleton) and not comes]
        return [*(nat for nat in going if nat.eip in self._ends), *changed, *rules]

    def _carried(self) -> dict[str, tuple[int, int]]:
        """What counters that move have counted, by the rule that they will be."""
        return self._counting.carried(self._namespace, self._moved)

    def _carrying(self) -> Iterator[RouterEntry]:
        """What comes; a counter that moves goes on saying that something is lost."""
        lost = {new.key: old for old, new in self._moved}
        there = {entry.key: entry for entry in self._before if isinstance(entry, Count)}
        for entry in self._comes:
            known = there.get(entry.key) if entry.key in lost else None
            yield entry._replace(lost=known.lost) if isinstance(entry, Count) and known is not None else entry


def sections(
    tables: Iterable[Table],
    before: Mapping[Table, Layout],
    after: Mapping[Table, Layout],
    counted: Mapping[str, tuple[int, int]] | None = None,
) -> Iterator[Section]:
    """The commands that make layouts of tables others, in the order of the tables."""
    for table in tables:
        lines = list(edits(table.family, before.get(table, Layout()), after.get(table, Layout()), counted))
        if lines:
            yield Section(table, lines)


def _dropping(now: Mapping[Table, Layout]) -> dict[Table, Layout]:
    """The filter, of which nothing is left but that it drops."""
    table = Table("ip", "filter")
    there = now.get(table, Layout())
    return {table: replace(there, chains={chain: ["-j DROP"] for chain in there.chains})}


def comes(step: TargetPlan[NativeEntry]) -> list[NativeEntry]:
    """What a step brings."""
    return [*(new for _, new in step.replace), *step.create]


def _nats(entries: Iterable[NativeEntry]) -> list[Nat]:
    return [entry for entry in entries if isinstance(entry, Nat)]


def _is_moving(old: NativeEntry, new: NativeEntry) -> bool:
    return isinstance(old, Count) and isinstance(new, Count) and old.owner == new.owner


def _is_of_router(entry: NativeEntry) -> TypeGuard[RouterEntry]:
    return isinstance(entry, RouterEntry)
