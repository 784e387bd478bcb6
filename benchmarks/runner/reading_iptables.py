"""Contestants of iptables that read all rules of a router with what they have counted; each says how many it found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from runner.on_iptables import Change
from vipnet_iptables.tools import LEGACY, NFT, Tools
from vipnet_kernel.namespaces import entered

__all__ = ["Library", "Parsed", "Saved"]

_TABLES: Final = ("nat", "mangle", "filter")


class Parsed(Change):
    """vipnet: what the save program prints, taken apart into chains and counters."""

    found = 0

    def once(self) -> Sequence[float]:
        begun = time.perf_counter()
        self.found = self.read()
        return [(time.perf_counter() - begun) / self.scale]

    def read(self) -> int:
        """Read everything; how many rules of our chains there are."""
        tools = Tools("", LEGACY if self.options["variant"] == LEGACY else NFT)
        tables = tools.listed(self.scene.router, "ip").values()
        return sum(len(rules) for table in tables for rules in table.layout.chains.values())

    def check(self) -> str:
        there = sum(line.startswith("-A VIPNET") for line in self.scene.saved().splitlines())
        assert self.found == there, f"{self.found} rules of {there}"
        return f"{self.found} rules"


class Saved(Parsed):
    """The save program alone: its text, of which lines are counted."""

    def read(self) -> int:
        text = self.scene.run(f"iptables-{self.options['variant']}-save", "-c")
        return text.count("] -A VIPNET")


class Library(Parsed):
    """python-iptables (legacy alone): chains, and of each rule addresses, target, comment and counters."""

    def prepare(self) -> None:
        self._iptc: Any = import_module("iptc")

    def read(self) -> int:
        with entered(self.scene.router):
            return sum(1 for name in _TABLES for _ in self._rules(name))

    def _rules(self, name: str) -> Iterator[tuple[object, ...]]:
        table = self._iptc.Table(name)
        table.refresh()
        for chain in table.chains:
            if chain.name.startswith("VIPNET"):
                for rule in chain.rules:
                    comments = [match.comment for match in rule.matches if match.name == "comment"]
                    yield rule.src, rule.dst, rule.target.name, comments, rule.get_counters()
