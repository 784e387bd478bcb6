"""What a packet pays: UDP from outside to the holder of a VIP, through a router with so many EIPs."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from iptables_scene import IptablesScene
from nft_packets import ended, raw, sent, warm
from nft_scene import Scene
from ovs_switch import Scene as SwitchScene
from raw_netfilter import connections, forget_connections

from runner.scenes import Staged

__all__ = ["Flows", "SwitchFlows", "made"]

_FLOWS: Final = 5_000
_FROM: Final = 20_000


class Flows(Staged):
    """Packets from new ports, each of which begins a connection, from outside to where the VIP's holder has them.

    Option `by`: nftables, iptables-nft, iptables-legacy, or list-nft and list-legacy: behind a list of as many DNAT rules.
    """

    def begin(self) -> None:
        scene = self._scene = self.stack.enter_context(made(self.options["by"]))
        scene.program(scene.backend.compile(scene.mappings(0, self.scale)))
        scene.reopen()
        if self.options["by"].startswith("list") and isinstance(scene, IptablesScene):
            scene.put_list(self.scale)
        server = self.stack.enter_context(ended(scene.server))
        self._client: socket.socket = self.stack.enter_context(raw(scene.outside))
        warm(self._client, server)

    def once(self) -> Sequence[float]:
        forget_connections(self._scene.router)
        took = sent(self._client, range(_FROM, _FROM + _FLOWS))
        self._seen = connections(self._scene.router)
        return [took]

    def check(self) -> str:
        assert self._seen >= _FLOWS, f"{self._seen} connections of {_FLOWS} packets"
        return f"{self._seen} connections"


class SwitchFlows(Staged):
    """The same through Open vSwitch: from sending to having it."""

    def begin(self) -> None:
        self._scene = self.stack.enter_context(SwitchScene(servers=True))
        entries = self._scene.backend.compile(self._scene.mappings(self.scale))
        self._scene.carry_out(self._scene.steps({}, entries))

    def once(self) -> Sequence[float]:
        return [self._scene.walk(fresh=True)]

    def check(self) -> str:
        return "each was received"


def made(by: str) -> Scene:
    """A scene of the kernel: nftables, or iptables or a list of rules of a variant."""
    kind, _, variant = by.partition("-")
    return Scene() if kind == "nftables" else IptablesScene(variant)
