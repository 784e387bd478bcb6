"""What the parts of the catalogue share: contestants by data plane, and how much of a scenario a profile does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.scenario import Contestant, Profile, Share

__all__ = ["ONE", "UP_TO_1M", "UP_TO_100K", "K", "M", "ipt", "nft", "ovs", "pure", "shares"]

K: Final = 1_000
M: Final = 1_000_000


def shares(quick: tuple[tuple[int, ...], int], full: tuple[tuple[int, ...], int]) -> Mapping[Profile, Share]:
    """Scales and rounds of both profiles."""
    return {"quick": Share(*quick), "full": Share(*full)}


UP_TO_100K: Final = shares(((100, K, 10 * K), 3), ((100, K, 10 * K, 100 * K), 5))
UP_TO_1M: Final = shares(((100, K, 10 * K), 3), ((100, K, 10 * K, 100 * K, M), 5))
ONE: Final = shares(((K,), 5), ((K, 100 * K), 10))


def nft(name: str, worker: str, *, most: int | None = None, **options: str) -> Contestant:
    """One of nftables: a class of `runner.on_nftables`."""
    where = f"runner.on_nftables:{worker}"
    return Contestant(name=name, worker=where, programs=("nft",), modules=("pyroute2",), most=most, options=options)


def ovs(name: str, worker: str, *, most: int | None = None, **options: str) -> Contestant:
    """One of Open vSwitch: a class of `runner.on_ovs`."""
    programs, modules = ("ovs-vswitchd", "ovs-ofctl"), ("ovs", "pyroute2")
    where = f"runner.on_ovs:{worker}"
    return Contestant(name=name, worker=where, programs=programs, modules=modules, most=most, options=options)


def ipt(
    name: str, worker: str, variant: str, *, most: int | None = None, modules: tuple[str, ...] = (), **options: str
) -> Contestant:
    """One of iptables in a variant: a class of `runner.on_iptables`, or of the module before its colon."""
    module, _, kind = worker.rpartition(":")
    programs, where = (f"iptables-{variant}-restore", "ebtables-nft"), f"runner.{module or 'on_iptables'}:{kind}"
    wanted, given = ("pyroute2", *modules), {"variant": variant, **options}
    return Contestant(name=name, worker=where, programs=programs, modules=wanted, most=most, options=given)


def pure(name: str, worker: str, *, modules: tuple[str, ...] = (), most: int | None = None, **options: str) -> Contestant:
    """One that asks no data plane: a class of `runner.pure`."""
    return Contestant(name=name, worker=f"runner.pure:{worker}", modules=modules, most=most, options=options)
