"""The scenarios of iptables: see `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runner.entrants import K, ipt
from runner.scenario import Contestant, Profile, Scenario, Share

__all__ = ["LINE", "of_iptables"]

LINE: Final = "iptables-restore, a line in two tables"
"""By which the goal of a change is measured."""

def _iptc(worker: str, variant: str, *, most: int | None = None, quick: int | None = None) -> Contestant:
    """python-iptables, which knows no rules of iptables-nft."""
    cannot = "" if variant == "legacy" else "python-iptables knows the rules of iptables-legacy alone"
    modules = ("pyroute2", "iptc") if variant == "legacy" else ()
    return replace(ipt("python-iptables", worker, variant), modules=modules, cannot=cannot, most=most, quick=quick)


def _neutron(worker: str, variant: str, *, most: int, quick: int) -> Contestant:
    made = ipt("Neutron IptablesManager", f"peers_neutron:{worker}", variant)
    return replace(made, environment="neutron", most=most, quick=quick)


def of_iptables(variant: str, shares: Mapping[Profile, Share]) -> tuple[Scenario, ...]:
    """Scenarios of one variant of the programs, at the same scales each."""
    save = f"iptables-{variant}-save -c"
    return (
        Scenario(
            name="program",
            group=f"iptables-{variant}",
            about="so many EIPs, each with a limit and two counters, into a router without any; Neutron's rules are lists",
            unit="ms",
            per="all of them",
            contestants=(
                ipt("vipnet", "Program", variant),
                ipt("iptables-restore", "Restore", variant),
                _neutron("Program", variant, most=10 * K, quick=K),
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
                ipt("vipnet", "Change", variant),
                ipt(LINE, "RestoreLine", variant),
                replace(ipt("iptables-restore, the same rules", "peers_iptables:RestoreLines", variant), quick=K),
                replace(ipt("iptables, a call a rule", "peers_iptables:Calls", variant), most=10 * K, quick=K),
                _iptc("peers_iptables:Library", variant, most=10 * K, quick=K),
                _neutron("Change", variant, most=10 * K, quick=K),
            ),
            shares=shares,
            reference=LINE,
            goals={LINE: 1.2},
        ),
        Scenario(
            name="read",
            group=f"iptables-{variant}",
            about="all rules of a router, with what they have counted; the save program's text alone is less",
            unit="us",
            per="an EIP",
            contestants=(
                ipt("vipnet", "reading_iptables:Parsed", variant),
                ipt(save, "reading_iptables:Saved", variant),
                _iptc("reading_iptables:Library", variant, most=10 * K),
            ),
            shares={**shares, "quick": Share((K,), 3)},
        ),
        Scenario(
            name="audit",
            group=f"iptables-{variant}",
            about="everything read and compared",
            unit="us",
            per="an EIP",
            contestants=(ipt("vipnet", "Audit", variant),),
            shares=shares,
        ),
    )
