"""The conformance cases, in process."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance.cases import Case, load
from conformance.runner import Bench, run_case

from vipnet.cli import main

_CASES = load(Path(__file__).parent / "conformance" / "cases")


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.id)
def test_case(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIPNET_CONFIG", "VIPNET_STORE", "VIPNET_BACKEND", "VIPNET_OUTPUT", "VIPNET_DRY_RUN", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    problems = run_case(Bench(main, tmp_path), case)
    if problems:
        pytest.fail("\n".join([f"{case.id} ({case.file}): {case.title}", *problems]), pytrace=False)
