"""The targets `nft:*`: a ruleset changed in one transaction, and rebuilt whole where its rules are not as declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vipnet.errors import DataplaneError
from vipnet.plan import TargetPlan
from vipnet_kernel.namespaces import exists
from vipnet_kernel.netlink import ruleset_generation
from vipnet_kernel.sysctls import read_sysctls, write_sysctls
from vipnet_nftables import nft
from vipnet_nftables.askers import Askers, is_asker
from vipnet_nftables.entries import Element, Guard, NativeEntry, Skeleton, target_of
from vipnet_nftables.metering import told_of_loss
from vipnet_nftables.ruleset import HOST, TABLES, Kind, declaration

__all__ = ["HOST_SYSCTLS", "Rules", "is_host_intact"]

HOST_SYSCTLS = {f"bridge/bridge-nf-call-{family}tables": "0" for family in ("ip", "ip6", "arp")}
"""With these on, bridged frames cross the rules of the host's own IP layer too."""

_FAMILIES = ("bridge", "ip", "ip6", "arp")

_Line = tuple[str, str]
"""A command, and the key of the entry that it is for ("": none)."""


class Rules:
    """Applies steps to rulesets. The host's rules belong to no entry: they come with the first one and go with the last."""

    __slots__ = ("_host", "_intact_at", "askers")

    def __init__(self, host: str) -> None:
        self._host = host
        self._intact_at: int | None = None
        self.askers = Askers()

    def apply(self, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        """Commit a step; return the reasons of what was refused, by key."""
        namespace = step.target.removeprefix(target_of("")) or self._host
        comes = bool(step.create or step.replace)
        if not exists(namespace):
            if comes:
                raise DataplaneError(f"network namespace {namespace} is gone")
            return {}
        if namespace != self._host:
            return self._apply_router(namespace, step)
        return self._apply_host(step, comes=comes)

    def _apply_host(self, step: TargetPlan[NativeEntry], *, comes: bool) -> dict[str, str]:
        if comes:
            _settle_host(self._host)
        if not comes and any(isinstance(entry, Guard) for entry in step.delete) and _is_last(self._host, step):
            refused = _without(self._host, step)
        else:
            refused = _commit(self._host, step, HOST if comes and not self._is_intact() else None)
        self._intact_at = ruleset_generation(self._host) if comes and not refused else None
        return refused

    def _apply_router(self, namespace: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        done = told_of_loss(self.askers.completed(namespace, step))
        refused = _commit(namespace, done, _skeleton(step))
        if not refused:
            self.askers.keep(done)
        return refused

    def _is_intact(self) -> bool:
        if self._intact_at is not None and self._intact_at == ruleset_generation(self._host):
            return True
        return nft.kind_of(nft.listing(self._host, families=TABLES[HOST], elements=False).form, (HOST,)) is not None


def is_host_intact(host: str, form: frozenset[str]) -> bool:
    """Whether the rules listed in the host's namespace are as declared, and its settings with them."""
    off = all(value == "0" for value in read_sysctls(host, HOST_SYSCTLS).values())
    return off and nft.kind_of(form, (HOST,)) is not None


def _settle_host(host: str) -> None:
    on = {name: "0" for name, value in read_sysctls(host, HOST_SYSCTLS).items() if value != "0"}
    if on and (refused := write_sysctls(host, on)):
        raise DataplaneError(f"settings {', '.join(refused)} cannot be switched off: {next(iter(refused.values()))}")


def _skeleton(step: TargetPlan[NativeEntry]) -> Kind | None:
    """The kind of rules to build anew, if any."""
    comes = (*step.create, *(new for _, new in step.replace))
    return next((entry.kind for entry in comes if isinstance(entry, Skeleton)), None)


def _commit(namespace: str, step: TargetPlan[NativeEntry], build: Kind | None) -> dict[str, str]:
    if any(isinstance(entry, Skeleton) for entry in step.delete):
        return _without(namespace, step)
    lines = list(_straight(step) if build is None else _rebuilt(namespace, step, build))
    refusal = nft.transact(namespace, [line for line, _ in lines])
    if refusal is not None and build is None:  # something was there already, or gone: look, and ask for the difference
        lines = list(_remaining(namespace, step))
        refusal = nft.transact(namespace, [line for line, _ in lines])
    return {} if refusal is None else _blame(refusal, lines, step)


def _straight(step: TargetPlan[NativeEntry]) -> Iterator[_Line]:
    for entry in _goes(step):
        yield entry.line("delete"), entry.key
    for entry in _comes(step):
        yield entry.line("add"), entry.key


def _remaining(namespace: str, step: TargetPlan[NativeEntry]) -> Iterator[_Line]:
    yield from _difference(_elements(nft.listing(namespace, families=_FAMILIES)), step)


def _difference(there: Mapping[str, Element], step: TargetPlan[NativeEntry]) -> Iterator[_Line]:
    wanted = {entry.line("delete"): entry for entry in _comes(step)}
    for entry in _goes(step):
        if (line := entry.line("delete")) in there and line not in wanted:
            yield line, entry.key
    for line, entry in wanted.items():
        if line not in there or there[line].text != _bare(entry):
            if line in there:
                yield line, entry.key
            yield entry.line("add"), entry.key


def _rebuilt(namespace: str, step: TargetPlan[NativeEntry], kind: Kind) -> Iterator[_Line]:
    """The rules anew: in place, so that no counter misses a packet and no packet its way; or in new tables, which takes as
    long as a chain that goes and whose policy is to drop hangs on its hook without its rules."""
    found = nft.listing(namespace, families=TABLES[kind])
    there, declared = _elements(found), declaration(kind)
    sets = _sets(declared)
    more = nft.surplus(found.form, kind)
    if more is not None:
        for family in TABLES[kind]:
            yield f"add table {family} {nft.TABLE}", ""  # so that flushing what is not there is no error
            yield f"flush table {family} {nft.TABLE}", ""
        yield from ((line, "") for line in (*more, *declared.splitlines()))
        yield from _difference({line: element for line, element in there.items() if _set(line) in sets}, step)
    else:
        yield from ((line, "") for line in (*_without_tables(TABLES[kind]), *declared.splitlines()))
        yield from _taken_along(there, step, sets)


def _taken_along(there: Mapping[str, Element], step: TargetPlan[NativeEntry], sets: set[str]) -> Iterator[_Line]:
    """The elements that were there and do not go, with what they have counted, and those that come."""
    kept = {line: (element.line("add"), "") for line, element in there.items()}
    for entry in _goes(step):
        kept.pop(entry.line("delete"), None)
    for entry in _comes(step):
        line = entry.line("delete")
        same = line in there and there[line].text == _bare(entry)
        kept[line] = ((there[line] if same else entry).line("add"), entry.key)
    yield from (line for line in kept.values() if line[1] or _set(line[0]) in sets)


def _elements(found: nft.Listing) -> dict[str, Element]:
    """By the command that deletes it."""
    return {element.line("delete"): element for element in found.elements}


def _bare(entry: Element | Guard) -> str:
    """The command that adds it, without what it has counted."""
    return entry.text if isinstance(entry, Element) else entry.line("add")


def _sets(declared: str) -> set[str]:
    family, sets = "", set[str]()
    for words in map(str.split, declared.splitlines()):
        match words:
            case ["table", family, *_]:
                pass
            case ["set" | "map", name, *_]:
                sets.add(f"{family} {name}")
            case _:
                pass
    return sets


def _set(line: str) -> str:
    _, _, family, _, name, *_ = line.split()
    return f"{family} {name}"


def _without_tables(families: Iterable[str]) -> Iterator[str]:
    for family in families:
        yield f"add table {family} {nft.TABLE}"  # so that deleting what is not there is no error
        yield f"delete table {family} {nft.TABLE}"


def _without(namespace: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
    refusal = nft.transact(namespace, list(_without_tables(_FAMILIES)))
    return {} if refusal is None else _blame(refusal, [], step)


def _is_last(host: str, step: TargetPlan[NativeEntry]) -> bool:
    """Whether nothing is left in the host's tables after what goes."""
    there = {element.line("delete") for element in nft.listing(host, families=TABLES[HOST]).elements}
    return there <= {entry.line("delete") for entry in _goes(step)}


def _goes(step: TargetPlan[NativeEntry]) -> list[Element | Guard]:
    return [entry for entry in (*step.delete, *(old for old, _ in step.replace)) if isinstance(entry, Element | Guard)]


def _comes(step: TargetPlan[NativeEntry]) -> list[Element | Guard]:
    return [entry for entry in (*(new for _, new in step.replace), *step.create) if isinstance(entry, Element | Guard)]


def _blame(refusal: nft.Refusal, lines: list[_Line], step: TargetPlan[NativeEntry]) -> dict[str, str]:
    ours = [entry for entry in (*step.create, *(new for _, new in step.replace), *step.delete) if not is_asker(entry)]
    keys = [entry.key for entry in ours]
    named = {lines[at][1]: reason for at, reason in refusal.lines.items() if at < len(lines) and lines[at][1] in keys}
    if named:
        return named
    return dict.fromkeys(keys, refusal.reason)
