"""How others' changes are noticed: rules of nf_tables by what the kernel says, those of iptables-legacy by looking again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from vipnet.errors import DataplaneError
from vipnet.sightings import Changed, Eyes, Sighting
from vipnet_iptables.legacy import fingerprint
from vipnet_iptables.tools import LEGACY, Tools
from vipnet_kernel import names
from vipnet_kernel.ears import Heard
from vipnet_kernel.memory import Look, Memory
from vipnet_kernel.namespaces import listed
from vipnet_kernel.sockets import Sockets

__all__ = ["Glances", "TableMemory", "is_table"]

_TABLES = frozenset({"filter", "nat", "mangle", "vipnet_iptables"})
_PAUSE = 0.4
"""Seconds between two glances at tables of iptables-legacy."""


def is_table(tables: frozenset[str]) -> bool:
    """Whether tables of these names are iptables', which has ours and others' rules in the same ones."""
    return not _TABLES.isdisjoint(tables)


class TableMemory(Memory):
    """What namespaces looked like when we left them, with the tables of iptables-legacy where that is the variant in use."""

    __slots__ = ("_tools",)

    def __init__(self, sockets: Sockets, host: str, tools: Tools) -> None:
        super().__init__(sockets, host, lambda _: False, is_table)
        self._tools = tools

    def _look(self, name: str) -> Look | None:
        look = super()._look(name)
        if look is None or self._tools.variant != LEGACY:
            return look
        return look._replace(generation=look.generation << 32 | fingerprint(name))

    def _listen(self) -> dict[str, Heard] | None:
        """Of iptables-legacy nothing is heard."""
        return None if self._tools.variant == LEGACY else super()._listen()


class Glances(Eyes):
    """Looks at tables of iptables-legacy again and again, beside eyes that see all else."""

    blind = False

    def __init__(self, eyes: Eyes, host: str, report: Callable[[Sighting], None]) -> None:
        self._eyes = eyes
        self._host = host
        self._report = report
        self._known: dict[str, int] = {}
        self._ended = threading.Event()
        self._look(first=True)
        self._thread = threading.Thread(target=self._watch, name="vipnet-glances", daemon=True)
        self._thread.start()

    def ask(self, device: str, mac: str, ip: int) -> None:
        self._eyes.ask(device, mac, ip)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._eyes.close()

    def _watch(self) -> None:
        while not self._ended.wait(_PAUSE):
            self._look(first=False)

    def _look(self, *, first: bool) -> None:
        for name in (self._host, *listed(names.NAMESPACE)):
            with suppress(DataplaneError):  # gone meanwhile, which others see
                now = fingerprint(name)
                if self._known.get(name) != now and not first:
                    self._report(Changed(place=names.HOST if name == self._host else name))
                self._known[name] = now
