"""Scenarios of what happens to EIPs that are there: one less, one moved, many changes in a row, some lost. See `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

from runner.catalogue_iptables import LINE
from runner.entrants import K, ipt, nft, ovs, shares
from runner.scenario import Contestant, Profile, Scenario, Share

__all__ = ["changes"]

_FEW: Final = shares(((K,), 2), ((100, K, 10 * K, 100 * K), 5))
_SMALL: Final = shares(((100,), 1), ((100, K, 10 * K), 5))
_FULL_ALONE: Final = shares(((), 2), ((100, K, 10 * K), 5))
_FULL_TOO: Final = shares(((K,), 2), ((K, 10 * K, 100 * K), 5))


_RESTARTED: Final[Mapping[str, tuple[str, str]]] = {"nftables": ("Restart", "nft"), "ovs": ("OvsRestart", "ovs-vswitchd")}
"""By group, the worker and the program that it needs."""


class _Entrant(Protocol):
    def __call__(self, name: str, worker: str, *, most: int | None = None, **options: str) -> Contestant: ...


def changes(group: str) -> tuple[Scenario, ...]:
    """Those of a group: nftables, iptables-nft, iptables-legacy or ovs."""
    one = _entrant(group)
    return (
        _change(group, one, "less", "an EIP goes; its connections are not cut here"),
        _change(group, one, "moved", "an EIP goes from its VIP to another one"),
        _churn(group, one),
        *((_drifted(group, one),) if group != "iptables-legacy" else ()),
        *(_restarts(group) if group in _RESTARTED else ()),
    )


def _entrant(group: str) -> _Entrant:
    match group.partition("-"):
        case "iptables", _, variant:
            return partial(ipt, variant=variant)
        case "nftables", _, _:
            return nft
        case _:
            return ovs


def _change(group: str, one: _Entrant, what: str, about: str) -> Scenario:
    peers, reference = _peers(group, one, what)
    return Scenario(
        name=f"change-{what}",
        group=group,
        about=f"where so many are, {about}" + ("; the other one: a line in two tables" if group.startswith("ipt") else ""),
        unit="ms" if group.startswith("iptables") else "us",
        per="an EIP",
        contestants=(one("vipnet", "Change", what=what), *peers),
        shares=_FEW,
        reference=reference,
    )


def _peers(group: str, one: _Entrant, what: str) -> tuple[tuple[Contestant, ...], str]:
    """Who is beside vipnet, and which of them is the reference."""
    match group:
        case "nftables":
            return (one("floor", "RawChange", what=what), one("nft -f -", "NftChange", what=what)), "floor"
        case "ovs":
            return (one("floor", "RawChange", what=what),), "floor"
        case _:
            return (one(LINE, "RestoreLine", what=what),), LINE


def _churn(group: str, one: _Entrant) -> Scenario:
    slowly = group.startswith("iptables")
    return Scenario(
        name="churn",
        group=group,
        about="random changes in a row, as many as there are EIPs, 1,000 at most: one more, one less, one moved",
        unit="us",
        per="a change",
        contestants=(one("vipnet, one by one", "Churn", together="no"), one("vipnet, together", "Churn", together="yes")),
        shares=_churned(group) if slowly else _FULL_TOO,
    )


def _churned(group: str) -> Mapping[Profile, Share]:
    return _SMALL if group == "iptables-nft" else _FULL_ALONE


def _drifted(group: str, one: _Entrant) -> Scenario:
    return Scenario(
        name="resync-drifted",
        group=group,
        about="of a hundred EIPs one was removed behind vipnet's back: all is read back, compared and repaired",
        unit="ms",
        per="all of them",
        contestants=(one("vipnet", "Drifted"),),
        shares=_FEW,
    )


def _restarts(group: str) -> tuple[Scenario, ...]:
    begins = "a fresh process opens a store of SQLite and makes the data plane what it should be, port security and all"
    ways = ("whole", "read whole"), ("by-key", "read by key")
    both = tuple(_begun(group, f"vipnet, {name}", "surviving", how) for how, name in ways)
    return (
        _restart(group, "surviving", f"{begins}: all is there", both),
        _restart(group, "empty", f"{begins}: nothing is there", (_begun(group, "vipnet", "empty", "whole"),)),
    )


def _begun(group: str, name: str, onto: str, how: str) -> Contestant:
    worker, program = _RESTARTED[group]
    programs, modules = (program,), ("pyroute2", "ovs")
    options = {"onto": onto, "how": how}
    return Contestant(name=name, worker=f"runner.restarts:{worker}", programs=programs, modules=modules, options=options)


def _restart(group: str, onto: str, about: str, contestants: tuple[Contestant, ...]) -> Scenario:
    most = (100 * K,) if group == "nftables" else ()
    return Scenario(
        name=f"restart-{onto}",
        group=group,
        about=about,
        unit="s",
        per="a start, until all is acknowledged",
        contestants=contestants,
        shares=shares(((100,), 1), ((K, 10 * K, *most), 3)),
    )
