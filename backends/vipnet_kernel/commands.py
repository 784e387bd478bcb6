"""The targets `links` and `ports`: entries made and unmade by requests to the kernel."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import TypeGuard, TypeVar

from vipnet.errors import DataplaneError
from vipnet.plan import Entry, TargetPlan
from vipnet_kernel.entries import LinkEntry
from vipnet_kernel.handles import Handles
from vipnet_kernel.link_entries import Command, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.links import inventory
from vipnet_kernel.namespaces import exists
from vipnet_kernel.port_entries import Attachment
from vipnet_kernel.requests import Refusal, send
from vipnet_kernel.route_entries import Route

__all__ = ["run_step", "touched"]

E = TypeVar("E", bound=Entry)

_Work = tuple[LinkEntry, Command]

_DONE_BEFORE = frozenset({errno.EEXIST})
_GONE_BEFORE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})


def run_step(handles: Handles, host: str, step: TargetPlan[E]) -> dict[str, str]:
    """Unmake what goes, make what comes; return the reasons of what was refused, by key.

    Commands are no transaction: after a refusal the step is taken back. Raises DataplaneError when that is refused, too.
    """
    old, new, changing = _sorted(step)
    refused = _foreign(handles, new) or _unmake(handles, host, old) or _make(handles, host, [*_makings(new), *changing])
    if refused:
        back = step.inverse()
        taken = _foreign(handles, new)
        old, new, changing = _sorted(back.without(frozenset(taken)))
        left = _unmake(handles, host, old) | _make(handles, host, [*_makings(new), *changing])
        if left:
            raise DataplaneError(f"{_first(refused)}; and the step cannot be taken back: {_first(left)}")
    return refused


def _first(reasons: Mapping[str, str]) -> str:
    key, reason = next(iter(reasons.items()))
    return f"{key}: {reason}"


def touched(host: str, step: TargetPlan[E]) -> set[str]:
    """The namespaces that a step changes something in."""
    pairs = (entry for pair in step.replace for entry in pair)
    links = [entry for entry in (*step.create, *pairs, *step.delete) if _is_link(entry)]
    commands = (command for entry in links for command in (*entry.making(), *entry.unmaking()))
    ends = (entry.namespace for entry in links if isinstance(entry, Veth))
    return {where or host for where in chain((command.where for command in commands), ends)}


def _sorted(step: TargetPlan[E]) -> tuple[list[LinkEntry], list[LinkEntry], list[_Work]]:
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


def _is_link(entry: Entry) -> TypeGuard[LinkEntry]:
    return isinstance(entry, LinkEntry)


def _foreign(handles: Handles, entries: Iterable[LinkEntry]) -> dict[str, str]:
    """Namespaces that are there under our names and carry somebody else's mark."""
    there = [entry for entry in entries if isinstance(entry, Namespace) and exists(entry.name)]
    found = ((entry, inventory(handles, entry.name).links["lo"].alias) for entry in there)
    foreign = {entry: alias for entry, alias in found if alias not in ("", entry.alias)}
    for entry in foreign:
        handles.forget(entry.name)
    return {entry.key: f"namespace {entry.name} belongs to {alias}" for entry, alias in foreign.items()}


def _makings(entries: Iterable[LinkEntry]) -> list[_Work]:
    return [(entry, command) for entry in entries for command in entry.making()]


def _make(handles: Handles, host: str, work: Sequence[_Work]) -> dict[str, str]:
    return dict(_run(handles, host, work, _DONE_BEFORE))


def _unmake(handles: Handles, host: str, entries: Sequence[LinkEntry]) -> dict[str, str]:
    going = {entry.name for entry in entries if isinstance(entry, Namespace)}
    work = [(entry, command) for entry in entries for command in entry.unmaking()]
    alive = [(entry, command) for entry, command in work if command.where not in going and exists(command.where)]
    return dict(_run(handles, host, alive, _GONE_BEFORE))


def _run(handles: Handles, host: str, work: Sequence[_Work], tolerated: Collection[int]) -> Iterator[tuple[str, str]]:
    ordered = sorted(work, key=lambda item: item[1].phase)
    for where, group in groupby(ordered, key=lambda item: item[1].where):
        batch = list(group)
        for at, refusal in send(handles, where or host, [command.request for _, command in batch]).items():
            entry = batch[at][0]
            if refusal.code not in tolerated and not _waits(entry, refusal):
                yield entry.key, refusal.reason


def _waits(entry: LinkEntry, refusal: Refusal) -> bool:
    """A device that somebody else makes and has not made yet is no refusal."""
    return isinstance(entry, Attachment | Vlan) and refusal.code == errno.ENODEV
