"""The conformance cases, in process; the ones that wait for a command are named, and cannot be forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance.cases import Case, load
from conformance.runner import Bench, run_case

from vipnet.cli import main
from vipnet.cli.verbs import SECTIONS

_CASES = load(Path(__file__).parent / "support" / "conformance" / "cases")
_VERBS = frozenset(verb.name for section in SECTIONS for verb in section.verbs)

# Case -> the commands that it needs and that do not exist yet.
WAITING = {
    "A06": "network-update",
    "A56": "network-update",
    "A59": "network-update",
    "V14": "instancegroup-freeze instancegroup-unfreeze",
    "V18": "server-attach-network",
    "V55": "server-join-groups",
    "D24": "network-update",
    "X13": "network-update",
    "X21": "instancegroup-freeze",
    "X22": "instancegroup-disable",
    "E29": "eip-change-bandwidth",
    "E34": "instancegroup-disable instancegroup-freeze instancegroup-unfreeze",
    "E36": "network-update",
    "E63": "eip-change-bandwidth",
    "E64": "network-update",
    "C08": "instancegroup-update",
    "C27": "instancegroup-update",
    "C28": "instancegroup-disable instancegroup-enable",
    "C29": "instancegroup-freeze",
    "C30": "instancegroup-update",
    "C52": "server-leave-groups",
    "M08": "instancegroup-disable",
    "M09": "server-join-groups",
    "M12": "server-join-groups",
    "M16": "instancegroup-disable server-join-groups server-leave-groups",
    "M22": "server-attach-network server-detach-network",
    "M23": "server-attach-network server-detach-network",
    "M24": "server-join-groups",
    "S10": "instancegroup-update",
    "M57": "server-attach-network server-detach-network",
    "R24": "server-detach-network",
    "Q56": "instancegroup-disable instancegroup-enable instancegroup-freeze instancegroup-unfreeze",
}


def _missing(case: Case) -> str:
    wanted = {step.verb for step in (*case.setup, *case.steps) if step.then != {"exit": 2}}
    return " ".join(sorted(wanted - _VERBS))


def test_the_waiting_cases_are_exactly_those_whose_commands_are_missing() -> None:
    assert {case.id: _missing(case) for case in _CASES if _missing(case)} == WAITING


@pytest.mark.parametrize("case", [case for case in _CASES if case.id not in WAITING], ids=lambda case: case.id)
def test_case(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIPNET_CONFIG", "VIPNET_STORE", "VIPNET_BACKEND", "VIPNET_OUTPUT", "VIPNET_DRY_RUN", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    problems = run_case(Bench(main, tmp_path), case)
    if problems:
        pytest.fail("\n".join([f"{case.id} ({case.file}): {case.title}", *problems]), pytrace=False)
