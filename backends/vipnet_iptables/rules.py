"""The targets `iptables:*`: rules changed table by table, in an order in which whoever stops in between leaves nothing open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeGuard

from vipnet.addresses import format_ip4, ip_of
from vipnet.errors import DataplaneError
from vipnet.plan import TargetPlan
from vipnet_iptables.answering import Answers
from vipnet_iptables.counting import Counting
from vipnet_iptables.discovery import Discovery, elements
from vipnet_iptables.entries import (
    Count,
    Guard,
    HostEntry,
    Nat,
    NativeEntry,
    Port,
    RouterEntry,
    RuleEntry,
    Skeleton,
    Torn,
    target_of,
)
from vipnet_iptables.host import HOST_TABLES, lay_out
from vipnet_iptables.host_reader import host_entries
from vipnet_iptables.metering import told_of_loss
from vipnet_iptables.router import MANGLE, TABLES, Router, by_tree
from vipnet_iptables.router_reader import Found, router_found
from vipnet_iptables.tables import Family, Layout, Section, Table, edits
from vipnet_iptables.tools import Refused, Tools
from vipnet_kernel.conntrack import cut_connections
from vipnet_kernel.namespaces import exists, number
from vipnet_kernel.sockets import Sockets
from vipnet_kernel.sysctls import read_sysctls, write_sysctls

__all__ = ["HOST_SYSCTLS", "Rules"]

HOST_SYSCTLS: Final = {f"bridge/bridge-nf-call-{family}tables": "0" for family in ("ip", "ip6", "arp")}
"""With these on, bridged frames cross the rules of the host's own IP layer too."""

_NOTHING: Final = lay_out(())


class Rules:
    """Applies steps to rules, and reads them. What it has read or made itself it remembers, until it is told to `doubt`.

    It reads for `vipnet_kernel.reading`.
    """

    __slots__ = ("_answers", "_discovery", "_host", "_routers", "_seen", "_sockets", "_tools", "counting")

    def __init__(self, sockets: Sockets, tools: Tools, answers: Answers, host: str) -> None:
        self._sockets = sockets
        self._tools = tools
        self._answers = answers
        self._host = host
        self._discovery = Discovery(host)
        self._seen: tuple[dict[str, HostEntry], dict[Table, Layout]] | None = None
        self._routers: dict[str, tuple[int, Found]] = {}
        self.counting = Counting(tools, self.router)

    def apply(self, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        """Carry out a step; return the reasons of what was refused, by key. Raises DataplaneError."""
        namespace = step.target.removeprefix(target_of("")) or self._host
        comes = bool(step.create or step.replace)
        if not comes and not exists(namespace):
            return {}
        return self._apply_host(step) if namespace == self._host else self._apply_router(namespace, step)

    def doubt(self, namespaces: Iterable[str] | None = None) -> None:
        """Forget what some namespaces have, or all: others may have been there."""
        for namespace in list(self._routers) if namespaces is None else namespaces:
            self._routers.pop(namespace, None)
        if namespaces is None or self._host in namespaces:
            self._seen = None

    def router(self, namespace: str) -> Router | None:
        """What is known of a namespace; None: nothing."""
        known = self._routers.get(namespace)
        return known[1].router if known is not None and _number(namespace) == known[0] else None

    # ------------------------------------------------------------------------------------------------- reading

    def place(self, entry: RuleEntry) -> str:
        """The namespace that an entry is in, "": the host's."""
        return "" if isinstance(entry, HostEntry) else entry.namespace

    def of_host(self) -> Iterable[HostEntry]:
        """The rules of the host's namespace, as entries."""
        listed = self._tools.listed(self._host, "bridge")
        found = {table: listed[table].layout for table in HOST_TABLES if table in listed}
        settled = not _unsettled(self._host)
        entries = host_entries(found, settled=settled and self._discovery.is_as(elements(host_entries(found, settled=True))))
        self._seen = {entry.key: entry for entry in entries}, found
        return entries

    def of_space(self, name: str) -> Iterable[RouterEntry]:
        """The rules of a router or a gateway, as entries."""
        there = number(name)
        families: tuple[Family, ...] = ("arp", "ip", "ip6")
        listed = {table: there for family in families for table, there in self._tools.listed(name, family).items()}
        tables = {table: listed[table].layout for table in TABLES if table in listed}
        found = router_found(name, tables, self._answers.listed(name))
        self._routers[name] = there, found
        return found.entries

    # ------------------------------------------------------------------------------------------------- the host's

    def _apply_host(self, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        if step.create or step.replace:
            _settle(self._host)
        entries, seen = self._known_host()
        after = dict(entries)
        for entry in (*step.delete, *(old for old, _ in step.replace)):
            after.pop(entry.key, None)
        after |= {entry.key: entry for entry in _comes(step) if isinstance(entry, HostEntry)}
        wanted = lay_out(after.values())
        try:
            if wanted != _NOTHING:
                self._discover(entries.values(), after.values())
            self._tools.commit(self._host, list(_sections(HOST_TABLES, seen, wanted)))
            if wanted == _NOTHING:
                self._discovery.delete()
        except Refused as refused:
            self._take_back_host(entries, refused)
            return _blamed(refused, step)
        except BaseException:
            self._seen = None
            raise
        self._seen = {key: _whole(entry) for key, entry in after.items()}, wanted
        return {}

    def _known_host(self) -> tuple[dict[str, HostEntry], dict[Table, Layout]]:
        if self._seen is None:
            self.of_host()
        assert self._seen is not None
        return self._seen

    def _discover(self, before: Collection[HostEntry], after: Collection[HostEntry]) -> None:
        guards = [entry for entry in before if isinstance(entry, Guard)]
        if guards and all(entry.intact for entry in guards):
            self._discovery.change(elements(before), elements(after))
        else:
            self._discovery.renew(elements(after))

    def _take_back_host(self, entries: Mapping[str, HostEntry], refused: Refused) -> None:
        self._seen = None
        self._discovery.renew(elements(entries.values()))
        if refused.done:
            _, seen = self._known_host()
            self._seen = None
            try:
                self._tools.commit(self._host, list(_sections(HOST_TABLES, seen, lay_out(entries.values()))))
            except Refused as error:
                raise DataplaneError(f"{refused.reason}; and the step cannot be taken back: {error.reason}") from error

    # ------------------------------------------------------------------------------------------------- routers

    def _apply_router(self, namespace: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        done = told_of_loss(step)
        found = self._known_router(namespace)
        work = _Work(namespace, done, found, self._tools, self._answers, self.counting)
        self._routers.pop(namespace)  # until it is done nothing is known
        there = number(namespace)
        try:
            work.run()
        except Refused as refused:
            self._take_back(namespace, work, refused)
            return _blamed(refused, step)
        self._routers[namespace] = there, Found([], found.router, None)
        self._overtake(namespace, found.router, work)
        return {}

    def _overtake(self, namespace: str, router: Router, work: _Work) -> None:
        """Cut what VIPs began as servers, by the transit link, before they had an EIP: there it would go out as nobody's."""
        if router.transit is not None and work.mapped:
            transit = ip_of(router.transit.address)
            cut_connections(self._sockets, namespace, [(transit, nat.vip) for nat in work.mapped])

    def _known_router(self, namespace: str) -> Found:
        known = self._routers.get(namespace)
        if known is None or known[0] != _number(namespace):
            self.of_space(namespace)
        return self._routers[namespace][1]

    def _take_back(self, namespace: str, work: _Work, refused: Refused) -> None:
        """Put back what was there before: what the tables have by now is read, as nobody says how far it went."""
        self.of_space(namespace)
        seen = self._routers.pop(namespace)[1].seen or work.laid_out()
        work.undo()
        try:
            self._tools.commit(namespace, list(_sections(TABLES, seen, work.laid_out())))
        except Refused as error:
            raise DataplaneError(f"{refused.reason}; and the step cannot be taken back: {error.reason}") from error
        work.answer_again()


class _Work:
    """One step in one router."""

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
        self._comes = [entry for entry in _comes(step) if _is_of_router(entry)]
        self._moved = [(old, new) for old, new in step.replace if _is_moving(old, new)]
        self._before = self._there()
        self._ends = {entry.eip for entry in step.delete if isinstance(entry, Nat | Torn)}
        self._begins = {nat.eip for nat in _nats(self._comes)}
        self.mapped = _nats(self._comes)

    def run(self) -> None:
        """Answer for nothing that goes; close; translate; open; answer for what comes. Raises Refused and DataplaneError."""
        self._answers.end(self._namespace, sorted(self._ends))
        touched = self._touched()
        now = self._seen or self.laid_out(touched)
        counted = dict[str, tuple[int, int]]()
        if closing := self._closing():
            self._router.take(closing)
            closed = self.laid_out(touched)
            some = [*_sections([MANGLE], now, closed)]
            if any(isinstance(entry, Skeleton) for entry in closing):
                some = [*_sections([Table("ip", "filter")], now, _dropping(now)), *some]
                now = {**now, Table("ip", "filter"): _dropping(now)[Table("ip", "filter")]}
            self._tools.commit(self._namespace, some)
            now = {**now, MANGLE: closed[MANGLE]}
            counted = self._carried()
        self._router.take(self._goes)
        self._router.put(self._carrying())
        after = self.laid_out(touched)
        self._tools.commit(self._namespace, list(_sections(TABLES, now, after, counted)))
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

    def laid_out(self, touched: Mapping[str, Collection[int]] | None = None) -> dict[Table, Layout]:
        """What follows from the entries as they are now, of trees only what is touched."""
        some = touched if self._seen is None else None
        return {table: self._router.layout(table, some) for table in TABLES}

    def _there(self) -> list[RouterEntry]:
        """Those entries that are there of what goes and comes, as they are."""
        found = (self._router.installed(entry) for entry in (*self._goes, *self._comes))
        return list({entry.key: entry for entry in found if entry is not None}.values())

    def _touched(self) -> dict[str, set[int]] | None:
        """The addresses that change, by tree; None: they are so many that all are looked at."""
        if len(self._comes) > len(self._router.nats):
            return None
        return by_tree((*self._before, *self._comes))

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


def _sections(
    tables: Iterable[Table],
    before: Mapping[Table, Layout],
    after: Mapping[Table, Layout],
    counted: Mapping[str, tuple[int, int]] | None = None,
) -> Iterator[Section]:
    for table in tables:
        lines = list(edits(table.family, before.get(table, Layout()), after.get(table, Layout()), counted))
        if lines:
            yield Section(table, lines)


def _dropping(now: Mapping[Table, Layout]) -> dict[Table, Layout]:
    """The filter, of which nothing is left but that it drops."""
    table = Table("ip", "filter")
    there = now.get(table, Layout())
    return {table: replace(there, chains={chain: ["-j DROP"] for chain in there.chains})}


def _comes(step: TargetPlan[NativeEntry]) -> list[NativeEntry]:
    return [*(new for _, new in step.replace), *step.create]


def _nats(entries: Iterable[NativeEntry]) -> list[Nat]:
    return [entry for entry in entries if isinstance(entry, Nat)]


def _is_moving(old: NativeEntry, new: NativeEntry) -> bool:
    return isinstance(old, Count) and isinstance(new, Count) and old.owner == new.owner


def _is_of_router(entry: NativeEntry) -> TypeGuard[RouterEntry]:
    return isinstance(entry, RouterEntry)


def _whole(entry: HostEntry) -> HostEntry:
    return replace(entry, intact=True) if isinstance(entry, Guard | Port) else entry


def _blamed(refused: Refused, step: TargetPlan[NativeEntry]) -> dict[str, str]:
    """What was refused, by key: entries about the address that the command is about, or the whole step."""
    line = refused.line or ""
    entries = (*step.create, *(new for _, new in step.replace), *step.delete)
    about = [entry for entry in entries if isinstance(entry, Nat | Count) and _is_about(line, entry)]
    return {entry.key: refused.reason for entry in (about or entries)}


def _is_about(line: str, entry: Nat | Count) -> bool:
    return any(f" {format_ip4(ip)}/32 " in line for ip in (entry.eip, entry.vip) if ip)


def _unsettled(host: str) -> dict[str, str]:
    found = read_sysctls(host, HOST_SYSCTLS)
    return {name: value for name, value in HOST_SYSCTLS.items() if found.get(name, value) != value}


def _settle(host: str) -> None:
    wrong = _unsettled(host)
    if wrong and (refused := write_sysctls(host, wrong)):
        raise DataplaneError(f"settings {', '.join(refused)} cannot be made: {next(iter(refused.values()))}")


def _number(namespace: str) -> int | None:
    try:
        return number(namespace)
    except FileNotFoundError:
        return None

