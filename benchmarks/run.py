"""Measure vipnet beside what people use today, on this machine: tables, pictures and raw data.

    python benchmarks/run.py                          the quick profile, under ten minutes
    python benchmarks/run.py --profile full           every scale; hours
    python benchmarks/run.py --only nftables.program --peer "nft -f"
    python benchmarks/run.py --compare OLD.jsonl      what got slower since
    python benchmarks/run.py --list                   what there is, who is missing, and how to get them

Records are lines of JSON in the file of --json; a run that was interrupted goes on there, and the file of one that was not is
kept beside it as NAME.previous.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import scale
from runner.catalogue import SCENARIOS
from runner.contest import NO_TIME, Plan, held
from runner.judge import compared
from runner.page import write_report
from runner.presence import absence
from runner.records import COMPLETE, Absence, Key, Series, environment, is_complete, read, series_of
from runner.scenario import PROFILES, Contestant, Profile, Scenario
from runner.tables import tables

_MINUTES: Final = {"quick": 9.0, "full": 600.0}
_SEED: Final = 1
_BARS: Final = 24
_NO_FAILURES: Final = ("not installed", "does no more", NO_TIME, "cannot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status: 1 where something got slower, or a contestant failed."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(_listed(options)))
        return 0
    if os.geteuid() != 0 and any(one.group != "pure" for one in _scenarios(options)):
        print("it makes network namespaces: run it as root, or name --backend pure", file=sys.stderr)
        return 2
    failed = _measured(options)
    machine, records, absences = read(options.json)
    series = series_of(records)
    print(tables(SCENARIOS, series, absences))
    report = write_report(options.report, SCENARIOS, machine, series, absences)
    print(f"records: {options.json}\nreport:  {report}")
    return max(int(failed), _compared(options.compare, series_of(records)) if options.compare else 0)


def _listed(options: argparse.Namespace) -> Iterator[str]:
    for scenario in _scenarios(options):
        yield f"{scenario.id}: {scenario.about}; {scenario.unit} for {scenario.per}"
        for one in _contestants(scenario, options.peer):
            yield f"    {one.name}" + (f" ({reason})" if (reason := absence(one, 0)) else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="how much of it: scales and rounds")
    parser.add_argument("--only", type=_names, action="extend", help=f"scenarios, by commas, of {', '.join(SCENARIOS)}")
    parser.add_argument("--scale", type=scale, action="append", help="scales of those of the profile, as 10k; may be repeated")
    parser.add_argument("--backend", action="append", help="pure, nftables, iptables, ovs, packets or failover; may be repeated")
    parser.add_argument("--peer", type=_peer, action="append", help="contestants beside vipnet, by name, repeated; default: all")
    parser.add_argument("--json", type=Path, default=Path("build/bench/records.jsonl"), help="where records are kept")
    parser.add_argument("--report", type=Path, default=Path("build/bench"), help="folder of the report and its pictures")
    parser.add_argument("--minutes", type=float, help="how long it may take: 9 for the quick profile, 600 for the full one")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="records of an earlier run, to be compared with")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return names


def _peer(text: str) -> str:
    names = {one.name for scenario in SCENARIOS.values() for one in scenario.contestants}
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text}; there are {'; '.join(sorted(names))}")
    return text


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    chosen = [SCENARIOS[name] for name in options.only or SCENARIOS]
    return [one for one in chosen if not options.backend or {one.group, one.group.partition("-")[0]} & {*options.backend}]


def _contestants(scenario: Scenario, peers: Sequence[str] | None) -> list[Contestant]:
    """vipnet, what it is divided by, and the peers that are wanted."""
    return [
        one
        for one in scenario.contestants
        if not peers or one.name.startswith("vipnet") or one.name in (scenario.reference, *peers)
    ]


def _plans(options: argparse.Namespace, until: float) -> Iterator[Plan]:
    profile: Profile = options.profile
    for scenario in _scenarios(options):
        share = scenario.shares[profile]
        for size in (one for one in share.scales if not options.scale or one in options.scale):
            contestants = [one.within(profile) for one in _contestants(scenario, options.peer)]
            yield Plan(scenario=scenario, scale=size, contestants=contestants, rounds=share.rounds, seed=_SEED, until=until)


def _measured(options: argparse.Namespace) -> bool:
    """Hold all contests that the file has no records of; whether somebody failed in one."""
    until = time.monotonic() + 60 * (options.minutes or _MINUTES[options.profile])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    done = _begun(options.json)
    plans, failed = list(_plans(options, until)), False
    with options.json.open("a") as file:
        for number, plan in enumerate(plans):
            where = partial(_tell, number, len(plans), f"{plan.scenario.id} {plan.scale}: ")
            for one in held(plan, done, where):
                file.write(one.line() + "\n")
                file.flush()
                if isinstance(one, Absence) and not one.reason.startswith(_NO_FAILURES):
                    failed = True
                    where(f"{one.key.contestant}: {one.reason}\n")
        file.write(COMPLETE + "\n")
    _tell(len(plans), len(plans), "", "done\n")
    return failed


def _begun(path: Path) -> set[Key]:
    """Who has records in a file already; a new file begins with what machine this is."""
    if path.exists() and is_complete(path):
        path.replace(path.with_name(f"{path.name}.previous"))
    elif path.exists() and path.stat().st_size:
        text = path.read_text()
        path.write_text(text[: text.rfind("\n") + 1])  # without the line in whose middle somebody was killed
        _, records, _ = read(path)
        return {record.key for record in records}
    path.write_text(environment() + "\n")
    return set()


def _tell(number: int, of: int, where: str, what: str) -> None:
    if sys.stderr.isatty() or what.endswith("\n"):
        full = _BARS * number // max(1, of)
        print(f"\r\033[K[{'#' * full}{'.' * (_BARS - full)}] {where}{what}", end="", file=sys.stderr, flush=True)


def _compared(old: Path, after: Mapping[Key, Series]) -> int:
    _, records, _ = read(old)
    verdicts = list(compared(SCENARIOS, series_of(records), after))
    for verdict in verdicts:
        print(verdict.text())
    return int(any(verdict.word == "slower" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
