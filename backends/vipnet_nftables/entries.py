"""Native objects, one class each.

Those that may be a million are named tuples: made five times faster than frozen dataclasses, and compared in C.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from vipnet.addresses import format_ip4
from vipnet_kernel import names
from vipnet_kernel.entries import LinkEntry
from vipnet_nftables.ruleset import Kind

__all__ = [
    "COUNTERS",
    "LIMITS",
    "Count",
    "Counter",
    "Element",
    "Guard",
    "LinkEntry",
    "Nat",
    "NativeEntry",
    "RuleEntry",
    "Skeleton",
    "Torn",
    "limit_words",
    "target_of",
]

Counter = Literal["vn_rx_count", "vn_tx_count"]
COUNTERS: Final[tuple[Counter, ...]] = ("vn_rx_count", "vn_tx_count")
LIMITS: Final = ("vn_rx_limit", "vn_tx_limit")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set (`value` "") or map of the table `vipnet` of a family, in nft's words.

    `limit`: what it lets pass. `owner`: for whom it counts, in its comment.
    """

    namespace: str
    family: str
    set: str
    element: str
    value: str = ""
    limit: str = ""
    owner: str = ""

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"{self.namespace} {self.family} {self.set} {self.element}"

    @property
    def text(self) -> str:
        return self.line("add")

    def line(self, verb: str) -> str:
        """The command that adds or deletes it."""
        value = f": {self.value}" if self.value else ""
        comment = f'comment "{self.owner}"' if self.owner else ""
        words = (self.element, self.limit, comment, value) if verb == "add" else (self.element,)
        return f"{verb} element {self.family} vipnet {self.set} {{ {' '.join(filter(None, words))} }}"

    def parts(self) -> Iterator[Element]:
        """Itself."""
        yield self


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
        return next(self.parts()).line(verb)

    def parts(self) -> Iterator[Element]:
        """Its element."""
        yield Element("", "bridge", "vn_bridges", f'"{self.bridge}"')


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


class Nat(NamedTuple):
    """The 1:1 translation between an EIP and a VIP by an uplink, and what lets its packets pass.

    `uplink` is its index, `rate` what it may send and receive, in bytes a second each; 0: whatever it likes.
    """

    namespace: str
    eip: int
    vip: int
    uplink: int
    rate: int = 0

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return key_of_eip(self.namespace, self.eip)

    @property
    def text(self) -> str:
        return "; ".join(part.text for part in self.parts())

    @property
    def leg(self) -> str:
        """The interface by which its packets come and go."""
        return names.uplink_leg(self.uplink)

    def parts(self) -> Iterator[Element]:
        """The elements that it is made of."""
        where, eip, vip = self.namespace, format_ip4(self.eip), format_ip4(self.vip)
        yield Element(where, "ip", "vn_eip_vip", eip, vip)
        yield Element(where, "ip", "vn_vip_eip", vip, eip)
        yield Element(where, "ip", "vn_vip_out", vip, str(self.uplink + 1))
        if self.rate:
            for limit in LIMITS:
                yield Element(where, "ip", limit, eip, limit=limit_words(self.rate))
        for family in ("ip", "arp"):
            yield Element(where, family, "vn_eips", f'"{self.leg}" . {eip}')


@dataclass(frozen=True, slots=True)
class Torn:
    """What is found of a translation that is not whole, or not of one piece: the elements about its EIP."""

    namespace: str
    eip: int
    elements: tuple[Element, ...]

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return key_of_eip(self.namespace, self.eip)

    @property
    def text(self) -> str:
        return "; ".join(part.text for part in self.elements)

    def parts(self) -> Iterator[Element]:
        """The elements that it is made of."""
        return iter(self.elements)


class Count(NamedTuple):
    """A counter of an EIP, of `owner`, in its comment. `lost`: as it is made, it is not the first one of its mapping."""

    namespace: str
    set: Counter
    eip: int
    owner: str
    lost: bool = False

    @property
    def target(self) -> str:
        return target_of(self.namespace)

    @property
    def key(self) -> str:
        return f"{self.namespace} ip {self.set} {format_ip4(self.eip)}"

    @property
    def text(self) -> str:
        return "; ".join(part.text for part in self.parts())

    def parts(self) -> Iterator[Element]:
        """The element that it is."""
        yield Element(self.namespace, "ip", self.set, format_ip4(self.eip), owner=self.owner)


RuleEntry = Element | Guard | Skeleton | Nat | Torn | Count
NativeEntry = LinkEntry | RuleEntry


def target_of(namespace: str) -> str:
    """The target of the ruleset of a namespace ("": the host's)."""
    return f"nft:{namespace}"


def key_of_eip(namespace: str, eip: int) -> str:
    """The key of what there is of a translation of an EIP."""
    return f"{namespace} eip {format_ip4(eip)}"


def limit_words(rate: int, *, burst: int = 1, per: str = "second", over: bool = True) -> str:
    """A limit in nft's words, `rate` and `burst` in bytes.

    The kernel's bucket holds what passes in a second, and `burst` beside that. The second is more than a connection needs to
    fill its line, and the larger the bucket, the more passes at once after a pause: so there is as little as nft takes.
    """
    return f"limit rate {'over ' if over else ''}{rate} bytes/{per} burst {burst} bytes"
