"""Native objects, one class each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from vipnet_nftables.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_nftables.port_entries import Attachment, Up
from vipnet_nftables.route_entries import Route, Rule
from vipnet_nftables.ruleset import Kind

__all__ = ["LOST", "Element", "Guard", "LinkEntry", "NativeEntry", "RuleEntry", "Skeleton", "target_of"]

LOST: Final = "lost"
"""The last word in the comment of a counter that is not the first of its mapping."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set (`value` "") or map of the table `vipnet` of a family, in nft's words.

    `limit`: what it lets pass. `owner`: for whom it counts, in its comment. `state`, what the kernel has counted in it, and
    whether some of that is `lost`, are no part of what it is.
    """

    namespace: str
    family: str
    set: str
    element: str
    value: str = ""
    limit: str = ""
    owner: str = ""
    state: str = field(default="", compare=False)
    lost: bool = field(default=False, compare=False)

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"{self.namespace} {self.family} {self.set} {self.element}"

    @property
    def text(self) -> str:
        return replace(self, state="", lost=False).line("add")

    def line(self, verb: str) -> str:
        """The command that adds or deletes it."""
        value = f": {self.value}" if self.value else ""
        said = " ".join(filter(None, (self.owner, LOST if self.lost else "")))
        comment = f'comment "{said}"' if said else ""
        words = (self.element, self.limit, self.state, comment, value) if verb == "add" else (self.element,)
        return f"{verb} element {self.family} vipnet {self.set} {{ {' '.join(filter(None, words))} }}"


@dataclass(frozen=True, slots=True)
class Guard:
    """A bridge under the rules of the host's namespace. They belong to all bridges together; `intact` says how they are."""

    bridge: str
    intact: bool = True

    @property
    def target(self) -> str:
        return target_of("")

    @property
    def key(self) -> str:
        return f"guard {self.bridge}"

    @property
    def text(self) -> str:
        return f"{self.line('add')}{'' if self.intact else ' (rules of table bridge vipnet were changed)'}"

    def line(self, verb: str) -> str:
        """The command that adds or deletes its element."""
        return f'{verb} element bridge vipnet vn_bridges {{ "{self.bridge}" }}'


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The tables, chains, sets and rules of one router's or gateway's namespace; `kind` None: not as any kind has them."""

    namespace: str
    kind: Kind | None

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"rules {self.namespace}"

    @property
    def text(self) -> str:
        return f"tables vipnet of {self.namespace}: {self.kind or 'changed by somebody'}"


LinkEntry = Namespace | Bridge | Vlan | Veth | Address | Route | Rule | Sysctl | Attachment | Up
RuleEntry = Element | Guard | Skeleton
NativeEntry = LinkEntry | RuleEntry


def target_of(namespace: str) -> str:
    """The target of the ruleset of a namespace ("": the host's)."""
    return f"nft:{namespace}"
