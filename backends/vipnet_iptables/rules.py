"""The targets `iptables:*`: rules changed table by table, in an order in which whoever stops in between leaves nothing open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

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
    target_of,
)
from vipnet_iptables.host import HOST_TABLES, lay_out
from vipnet_iptables.host_reader import host_entries
from vipnet_iptables.metering import told_of_loss
from vipnet_iptables.router import TABLES, Router
from vipnet_iptables.router_reader import Found, router_found
from vipnet_iptables.tables import Family, Layout, Table
from vipnet_iptables.tools import Refused, Tools
from vipnet_iptables.work import Work, comes, sections
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
        if not (step.create or step.replace) and not exists(namespace):
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
        after |= {entry.key: entry for entry in comes(step) if isinstance(entry, HostEntry)}
        wanted = lay_out(after.values())
        try:
            if wanted != _NOTHING:
                self._discover(entries.values(), after.values())
            self._tools.commit(self._host, list(sections(HOST_TABLES, seen, wanted)))
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
                self._tools.commit(self._host, list(sections(HOST_TABLES, seen, lay_out(entries.values()))))
            except Refused as error:
                raise DataplaneError(f"{refused.reason}; and the step cannot be taken back: {error.reason}") from error

    # ------------------------------------------------------------------------------------------------- routers

    def _apply_router(self, namespace: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        done = told_of_loss(step)
        found = self._known_router(namespace)
        work = Work(namespace, done, found, self._tools, self._answers, self.counting)
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

    def _overtake(self, namespace: str, router: Router, work: Work) -> None:
        """Cut what VIPs began as servers, by the transit link, before they had an EIP: there it would go out as nobody's."""
        if router.transit is not None and work.mapped:
            transit = ip_of(router.transit.address)
            cut_connections(self._sockets, namespace, [(transit, nat.vip) for nat in work.mapped])

    def _known_router(self, namespace: str) -> Found:
        known = self._routers.get(namespace)
        if known is None or known[0] != _number(namespace):
            self.of_space(namespace)
        return self._routers[namespace][1]

    def _take_back(self, namespace: str, work: Work, refused: Refused) -> None:
        """Put back what was there before: what the tables have by now is read, as nobody says how far it went."""
        self.of_space(namespace)
        seen = self._routers.pop(namespace)[1].seen or work.laid_out()
        work.undo()
        try:
            self._tools.commit(namespace, list(sections(TABLES, seen, work.laid_out())))
        except Refused as error:
            raise DataplaneError(f"{refused.reason}; and the step cannot be taken back: {error.reason}") from error
        work.answer_again()


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

