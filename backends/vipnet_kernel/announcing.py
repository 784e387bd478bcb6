"""When EIPs are announced: as soon as their router answers for them and its uplink leads somewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping, Intent
from vipnet.plan import TargetPlan
from vipnet_kernel import names
from vipnet_kernel.announcements import Announcements, Answered, leg_seen
from vipnet_kernel.namespaces import exists
from vipnet_kernel.sockets import Sockets
from vipnet_kernel.steps import PORTS

__all__ = ["Announcing"]

_PATIENCE = 1.2
"""Seconds in which a leg whose other end was just set up is connected: at once, but for pairs of which both ends happen to
have the same number, whose carrier the kernel looks at once a second."""


class Announcing:
    """Announces what steps bring, and what is installed already."""

    __slots__ = ("_announcements", "_answered", "_sockets", "_unannounced")

    def __init__(self, sockets: Sockets, host: str, answered: Answered) -> None:
        self._sockets = sockets
        self._answered = answered
        self._announcements = Announcements(sockets, host, answered)
        self._unannounced: dict[int, dict[str, list[int]]] = {}

    def after(self, step: TargetPlan[Any], came: Iterable[tuple[str, int, int]]) -> None:
        """Announce what is answered for from now on, as (router, uplink, EIP); an uplink that leads nowhere yet has its turn
        with the ports.
        """
        for router, uplink, eip in came:
            self._unannounced.setdefault(uplink, {}).setdefault(router, []).append(eip)
        patience = _PATIENCE if step.target == PORTS else 0
        for uplink in list(self._unannounced):
            if _comes(partial(self._announcements.is_connected, uplink), patience):
                for router, eips in self._unannounced.pop(uplink).items():
                    if exists(router):
                        if patience:  # its leg is new, maybe, and nothing comes by it before it is connected
                            _comes(partial(self._is_leg_connected, router, uplink), patience)
                        self._announcements.begin(router, uplink, eips)

    def again(self, intents: Iterable[Intent]) -> None:
        """Announce those EIPs of intents that are answered for."""
        ways: dict[tuple[str, int], set[int]] = {}
        for intent in intents:
            if isinstance(intent, EipMapping) and intent.uplink is not None:
                ways.setdefault((names.router_namespace(intent.vpc_id), intent.uplink.index), set()).add(intent.eip)
        for (router, uplink), eips in ways.items():
            installed = self._answered(router, uplink, eips) if exists(router) else None
            if installed and _comes(partial(self._announcements.is_connected, uplink), _PATIENCE):
                self._announcements.begin(router, uplink, sorted(installed))

    def forget(self, router: str) -> None:
        """Say no more for a router that is going to be deleted."""
        self._announcements.forget(router)

    def close(self) -> None:
        """Say nothing more than what nobody has heard yet."""
        self._announcements.close()

    def _is_leg_connected(self, router: str, uplink: int) -> bool:
        with suppress(DataplaneError):  # somebody took it away again, which is drift and no matter of announcing
            return leg_seen(self._sockets, router, uplink)[1]
        return False


def _comes(condition: Callable[[], bool], patience: float) -> bool:
    """Whether something is so, within so many seconds."""
    until = time.monotonic() + patience
    while not (there := condition()) and time.monotonic() < until:
        time.sleep(0.001)
    return there
