"""Routes and routing rules as entries."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vipnet_kernel.link_entries import Command, OfLinks, command
from vipnet_kernel.requests import Device

__all__ = ["KINDS", "PROTOCOL", "ROUTE_TABLES", "SCOPES", "Route", "Rule", "number", "word"]

PROTOCOL = 86
"""The number of our routes, `proto` of iproute2."""

KINDS = {"unicast": 1, "local": 2}
SCOPES = {"global": 0, "link": 253, "host": 254}
ROUTE_TABLES = {"default": 253, "main": 254, "local": 255}

_ANY_SCOPE = 255
_ONLINK = 4


def number(names: Mapping[str, int], word: str) -> int:
    """The kernel's number of a word, or of a number as text."""
    return names[word] if word in names else int(word)


def word(names: Mapping[str, int], number: int) -> str:
    """The word of a number, or the number as text."""
    return next((name for name, known in names.items() if known == number), str(number))


@dataclass(frozen=True, slots=True)
class Route(OfLinks):
    """A route with our protocol number, to "default" or a network; `gateway` and `device` "": none.

    `kind`, `scope` and `table` are iproute2's words, or numbers where there is none.
    """

    namespace: str
    table: str
    destination: str
    device: str
    gateway: str = ""
    kind: str = "unicast"
    scope: str = "global"
    onlink: bool = False

    @property
    def key(self) -> str:
        return f"route {self.namespace} {self.table} {self.destination}"

    @property
    def text(self) -> str:
        words = [
            "" if self.kind == "unicast" else f"{self.kind} ",
            self.destination,
            f" via {self.gateway}" if self.gateway else "",
            f" dev {self.device}" if self.device else "",
            " scope link" if self.scope == "link" else "",
            " onlink" if self.onlink else "",
        ]
        return f"-n {self.namespace} route replace {''.join(words)} table {self.table}"

    @property
    def _values(self) -> dict[str, Any]:
        names = {"table": number(ROUTE_TABLES, self.table), "type": number(KINDS, self.kind)}
        return {"family": socket.AF_INET, "dst": self.destination, "proto": PROTOCOL, **names}

    def making(self) -> tuple[Command, ...]:
        way: dict[str, Any] = {"gateway": self.gateway} if self.gateway else {}
        way |= {"oif": Device(self.device)} if self.device else {}
        way |= {"scope": number(SCOPES, self.scope), "flags": _ONLINK if self.onlink else 0}
        return (command(6, self.namespace, "route", "replace", **self._values, **way),)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(5, self.namespace, "route", "del", **self._values, scope=_ANY_SCOPE),)


@dataclass(frozen=True, slots=True)
class Rule(OfLinks):
    """A routing rule; `incoming` "": from any interface, `mask` 0: with any mark, `suppress` None: takes what it finds."""

    namespace: str
    pref: int
    table: str
    incoming: str = ""
    mark: int = 0
    mask: int = 0
    suppress: int | None = None

    @property
    def key(self) -> str:
        return f"rule {self.namespace} {self.pref} {self._rule}"

    @property
    def text(self) -> str:
        return f"-n {self.namespace} rule add pref {self.pref} {self._rule}"

    @property
    def _rule(self) -> str:
        incoming = f"iif {self.incoming} " if self.incoming else ""
        mark = f"fwmark {f'{self.mark:#x}' if self.mark else 0}/{self.mask:#x} " if self.mask else ""
        suppress = "" if self.suppress is None else f" suppress_prefixlength {self.suppress}"
        return f"{incoming}{mark}lookup {self.table}{suppress}"

    @property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {"family": socket.AF_INET, "priority": self.pref, "table": number(ROUTE_TABLES, self.table)}
        values |= {"iifname": self.incoming} if self.incoming else {}
        values |= {"fwmark": self.mark, "fwmask": self.mask} if self.mask else {}
        values |= {} if self.suppress is None else {"suppress_prefixlen": self.suppress}
        return values

    def making(self) -> tuple[Command, ...]:
        return (command(6, self.namespace, "rule", "add", **self._values),)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(5, self.namespace, "rule", "del", **self._values),)
