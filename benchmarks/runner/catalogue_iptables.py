"""The scenarios of iptables: see `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runner.scenario import Contestant, Profile, Scenario, Share

__all__ = ["of_iptables"]

_K: Final = 1_000


def _ipt(name: str, worker: str, variant: str) -> Contestant:
    """`worker` is of `on_iptables`, or of the module before its colon."""
    module, _, kind = worker.rpartition(":")
    return Contestant(
        name=name,
        worker=f"runner.{module or 'on_iptables'}:{kind}",
        programs=(f"iptables-{variant}-restore", "ebtables-nft"),
        modules=("pyroute2",),
        options={"variant": variant},
    )


def _iptc(worker: str, variant: str, *, most: int | None = None, quick: int | None = None) -> Contestant:
    """python-iptables, which knows no rules of iptables-nft."""
    cannot = "" if variant == "legacy" else "python-iptables knows the rules of iptables-legacy alone"
    modules = ("pyroute2", "iptc") if variant == "legacy" else ()
    return replace(_ipt("python-iptables", worker, variant), modules=modules, cannot=cannot, most=most, quick=quick)


def _neutron(worker: str, variant: str, *, most: int, quick: int) -> Contestant:
    made = _ipt("Neutron IptablesManager", f"peers_neutron:{worker}", variant)
    return replace(made, environment="neutron", most=most, quick=quick)


def of_iptables(variant: str, shares: Mapping[Profile, Share]) -> tuple[Scenario, ...]:
    """Scenarios of one variant of the programs, at the same scales each."""
    save, restore = f"iptables-{variant}-save -c", "iptables-restore, a line in two tables"
    return (
        Scenario(
            name="program",
            group=f"iptables-{variant}",
            about="so many EIPs, each with a limit and two counters, into a router without any; Neutron's rules are lists",
            unit="ms",
            per="all of them",
            contestants=(
                _ipt("vipnet", "Program", variant),
                _ipt("iptables-restore", "Restore", variant),
                _neutron("Program", variant, most=10 * _K, quick=_K),
            ),
            shares=shares,
            reference="iptables-restore",
            goals={"iptables-restore": 1.3},
        ),
        Scenario(
            name="change",
            group=f"iptables-{variant}",
            about="one EIP more where so many are, seven rules in two tables, the same for all but who adds a line in two tables "
            "(less: the measure of the goal) and Neutron (as many, in lists)",
            unit="ms",
            per="an EIP",
            contestants=(
                _ipt("vipnet", "Change", variant),
                _ipt(restore, "RestoreLine", variant),
                replace(_ipt("iptables-restore, the same rules", "peers_iptables:RestoreLines", variant), quick=_K),
                replace(_ipt("iptables, a call a rule", "peers_iptables:Calls", variant), quick=_K),
                _iptc("peers_iptables:Library", variant, quick=_K),
                _neutron("Change", variant, most=10 * _K, quick=_K),
            ),
            shares=shares,
            reference=restore,
            goals={restore: 1.2},
        ),
        Scenario(
            name="read",
            group=f"iptables-{variant}",
            about="all rules of a router, with what they have counted; the save program's text alone is less",
            unit="us",
            per="an EIP",
            contestants=(
                _ipt("vipnet", "reading_iptables:Parsed", variant),
                _ipt(save, "reading_iptables:Saved", variant),
                _iptc("reading_iptables:Library", variant, most=10 * _K),
            ),
            shares={**shares, "quick": Share((_K,), 3)},
        ),
        Scenario(
            name="audit",
            group=f"iptables-{variant}",
            about="everything read and compared",
            unit="us",
            per="an EIP",
            contestants=(_ipt("vipnet", "Audit", variant),),
            shares=shares,
        ),
    )
