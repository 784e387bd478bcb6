"""The targets `links` and `ports`: entries made and unmade by batches of iproute2 commands and settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import TypeGuard

from vipnet.plan import TargetPlan
from vipnet_kernel.links import inventory, ip_batch
from vipnet_kernel.namespaces import exists
from vipnet_kernel.sysctls import write_sysctls
from vipnet_nftables.entries import Element, Guard, LinkEntry, NativeEntry, Skeleton
from vipnet_nftables.link_entries import Command, Namespace, Route, Sysctl, Veth, Vlan
from vipnet_nftables.port_entries import Attachment

__all__ = ["run_step", "touched"]

_Work = tuple[LinkEntry, Command]

_DONE_BEFORE = ("File exists", "Cannot create namespace file")
_NOT_THERE = ("Cannot find device", "No such device")
_GONE_BEFORE = (
    *_NOT_THERE,
    "Cannot assign requested address",
    "Cannot remove namespace file",
    "No such process",
    "No such file or directory",
)


def run_step(host: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
    """Unmake what goes, make what comes; return the reasons of what was refused, by key.

    Commands are no transaction: after a refusal the step is taken back, as far as the kernel lets it.
    """
    old, new, changing = _sorted(step)
    refused = _foreign(new) or _unmake(host, old) or dict(_run(host, [*_makings(new), *changing], _DONE_BEFORE))
    if refused:
        back = step.inverse()
        taken = _foreign(new)
        old, new, changing = _sorted(back.without(frozenset(taken)))
        _unmake(host, old)
        dict(_run(host, [*_makings(new), *changing], _DONE_BEFORE))
    return refused


def touched(host: str, step: TargetPlan[NativeEntry]) -> set[str]:
    """The namespaces that a step changes something in."""
    pairs = (entry for pair in step.replace for entry in pair)
    links = [entry for entry in (*step.create, *pairs, *step.delete) if _is_link(entry)]
    commands = (command for entry in links for command in (*entry.making(), *entry.unmaking()))
    ends = (entry.namespace for entry in links if isinstance(entry, Veth))
    return {where or host for where in chain((command.where for command in commands), ends)}


def _sorted(step: TargetPlan[NativeEntry]) -> tuple[list[LinkEntry], list[LinkEntry], list[_Work]]:
    """What is unmade, what is made, and what is changed in place."""
    old = [entry for entry in step.delete if _is_link(entry)]
    new = [entry for entry in step.create if _is_link(entry)]
    changing: list[_Work] = []
    for before, after in step.replace:
        match before, after:
            case (Veth(), Veth()) if after.is_adjustable(before):
                changing += [(after, command) for command in after.adjusting()]
            case (Route() | Sysctl(), Route() | Sysctl()):
                changing += [(after, command) for command in after.making()]
            case _:
                old += [before] if _is_link(before) else []
                new += [after] if _is_link(after) else []
    return old, new, changing


def _is_link(entry: NativeEntry) -> TypeGuard[LinkEntry]:
    return not isinstance(entry, Element | Guard | Skeleton)


def _foreign(entries: Iterable[LinkEntry]) -> dict[str, str]:
    """Namespaces that are there under our names and carry somebody else's mark."""
    there = [entry for entry in entries if isinstance(entry, Namespace) and exists(entry.name)]
    found = ((entry, inventory(entry.name).links["lo"].alias) for entry in there)
    return {entry.key: f"namespace {entry.name} belongs to {alias}" for entry, alias in found if alias not in ("", entry.alias)}


def _makings(entries: Iterable[LinkEntry]) -> list[_Work]:
    return [(entry, command) for entry in entries for command in entry.making()]


def _unmake(host: str, entries: Sequence[LinkEntry]) -> dict[str, str]:
    going = {entry.name for entry in entries if isinstance(entry, Namespace)}
    work = [(entry, command) for entry in entries for command in entry.unmaking()]
    alive = [(entry, command) for entry, command in work if command.where not in going and exists(command.where)]
    return dict(_run(host, alive, _GONE_BEFORE))


def _run(host: str, work: Sequence[_Work], tolerated: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    ordered = sorted(work, key=lambda item: item[1].phase)
    for (where, sysctl), group in groupby(ordered, key=lambda item: (item[1].where, item[1].sysctl)):
        batch = list(group)
        failed = _write(where or host, batch) if sysctl else ip_batch(where or host, [command.line for _, command in batch])
        for at, reason in failed.items():
            entry = batch[at][0]
            if not reason.startswith(tolerated) and not _waits(entry, reason):
                yield entry.key, reason


def _waits(entry: LinkEntry, reason: str) -> bool:
    """A device that somebody else makes and has not made yet is no refusal."""
    return isinstance(entry, Attachment | Vlan) and reason.startswith(_NOT_THERE)


def _write(where: str, batch: Sequence[_Work]) -> dict[int, str]:
    lines = [command.line.partition("=") for _, command in batch]
    refused = write_sysctls(where, {name: value for name, _, value in lines})
    return {at: refused[name] for at, (name, _, _) in enumerate(lines) if name in refused}
