"""Scenarios of what a mapped EIP weighs. See `catalogue`."""

from __future__ import annotations

from typing import Final

from runner.entrants import K, shares
from runner.scenario import Contestant, Scenario

__all__ = ["SWITCH_WEIGHT", "WEIGHT"]


def _weighed(name: str, *modules: str, **options: str) -> Contestant:
    return Contestant(name=f"vipnet, {name}", worker="runner.memory:Weight", modules=modules, options=options)


WEIGHT: Final = Scenario(
    name="memory",
    group="pure",
    about="what Python holds (tracemalloc) of a cloud of so many groups, each with VIP and EIP: its model, and entries beside it",
    unit="B",
    per="a mapped EIP",
    contestants=(
        _weighed("the model"),
        _weighed("and nftables' entries", "pyroute2", backend="nftables"),
        _weighed("and iptables' entries", "pyroute2", backend="iptables"),
        _weighed("and ovs' entries", "ovs", backend="ovs"),
    ),
    shares=shares(((K,), 3), ((K, 10 * K, 100 * K), 3)),
)

SWITCH_WEIGHT: Final = Scenario(
    name="memory",
    group="ovs",
    about="what ovs-vswitchd holds (resident set) of so many EIPs, six flows each",
    unit="B",
    per="an EIP",
    contestants=(
        Contestant(
            name="vipnet",
            worker="runner.memory:SwitchWeight",
            programs=("ovs-vswitchd",),
            modules=("ovs", "pyroute2"),
        ),
    ),
    shares=shares(((10 * K,), 1), ((K, 10 * K, 100 * K), 3)),
)
