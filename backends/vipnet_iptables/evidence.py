"""What of some entries is installed: links by key, rules by reading the namespaces that they are in."""

from __future__ import annotations

from collections.abc import Sequence

from vipnet.evidence import Finding
from vipnet_iptables.entries import Guard, NativeEntry, Port, RuleEntry, Skeleton, Torn
from vipnet_iptables.rules import Rules
from vipnet_kernel.entries import LinkEntry
from vipnet_kernel.evidence import GONE, HERE, LinkLook
from vipnet_kernel.handles import Handles
from vipnet_kernel.namespaces import exists

__all__ = ["find"]


def find(handles: Handles, host: str, rules: Rules, entries: Sequence[NativeEntry]) -> dict[str, Finding]:
    """Look for entries in the namespaces where they belong, by key. Raises DataplaneError when the kernel cannot be asked."""
    handles.sweep()
    links = LinkLook(handles, host)
    spaces = {rules.place(entry) for entry in entries if not isinstance(entry, LinkEntry)}
    there: dict[str, RuleEntry] = {}
    for space in spaces:
        if exists(space or host):
            there |= {entry.key: entry for entry in (rules.of_space(space) if space else rules.of_host())}
    return {
        entry.key: links.at(entry) if isinstance(entry, LinkEntry) else _finding(entry, there.get(entry.key)) for entry in entries
    }


def _finding(entry: RuleEntry, there: RuleEntry | None) -> Finding:
    match there:
        case None:
            return GONE
        case Skeleton(kind=None) | Guard(intact=False) | Port(intact=False):
            return Finding("changed", "somebody changed rules")
        case Torn():
            return Finding("different", there.text)
        case _:
            return HERE if there == entry else Finding("different", there.text)


