"""Scenarios of what travels through an EIP among so many. See `catalogue`."""

from __future__ import annotations

from typing import Final

from runner.entrants import K, shares
from runner.scenario import Contestant, Scenario

__all__ = ["PACKETS"]

_NEEDED: Final = {
    "nftables": ("nft",),
    "iptables-nft": ("iptables-nft-restore", "ebtables-nft"),
    "iptables-legacy": ("iptables-legacy-restore", "ebtables-nft"),
    "ovs": ("ovs-vswitchd",),
}


def _through(by: str, worker: str, *programs: str) -> Contestant:
    return Contestant(
        name=f"vipnet, {by}",
        worker=f"runner.traffic:{worker}",
        programs=(*_NEEDED[by], *programs),
        modules=("pyroute2", "ovs"),
        options={"by": by},
    )


_SCALES: Final = shares(((100, K), 2), ((100, K, 10 * K, 100 * K), 7))

PACKETS: Final = (
    Scenario(
        name="stream",
        group="packets",
        about="datagrams of a connection that is there, 32 at once, from outside through an EIP until the VIP's holder has them",
        unit="us",
        per="a datagram",
        contestants=tuple(_through(by, "Stream") for by in _NEEDED),
        shares=_SCALES,
    ),
    Scenario(
        name="request",
        group="packets",
        about="a new connection from outside through an EIP to nginx in the VIP's holder, a request, a page",
        unit="us",
        per="a request",
        contestants=tuple(_through(by, "Requests", "nginx") for by in _NEEDED),
        shares=_SCALES,
    ),
)
