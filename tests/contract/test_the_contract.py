"""The contract itself: who may be exempt from what, and that whatever is missing is red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from systems import SimulatorSystem

from tests.contract.test_iptables import TestIptablesLegacy as IptablesLegacy
from tests.contract.test_iptables import TestIptablesNft as IptablesNft
from tests.contract.test_nftables import TestNftables as Nftables
from tests.contract.test_nftables_by_verbs import TestNftablesByVerbs as NftablesByVerbs
from tests.contract.test_simulator import TestSimulator as Simulator
from tests.contract.test_simulator import TestSimulatorByVerbs as SimulatorByVerbs
from vipnet.testing import BackendContract, PacketPromises, SystemTests

ALLOWED: dict[type[SystemTests], set[str]] = {
    Simulator: {"P12", "P13", "P14", "P15", "P17"},
    SimulatorByVerbs: set(),
    Nftables: set(),
    NftablesByVerbs: set(),
    IptablesNft: set(),
    IptablesLegacy: set(),
}


@pytest.mark.parametrize("tests", ALLOWED, ids=lambda tests: tests.__name__)
def test_our_own_are_exempt_from_what_the_design_says_and_nothing_else(tests: type[SystemTests]) -> None:
    assert set(tests.exempt) == ALLOWED[tests]


class Less(PacketPromises, SystemTests):
    """Not all of it."""

    system = SimulatorSystem
    exempt = {"P12": "a reason"}


class Without(Simulator):
    test_p3_hairpin = None  # type: ignore[assignment]


class Wrong(Simulator):
    exempt = {**Simulator.exempt, "P99": "no such promise"}


class Mute(Simulator):
    exempt = {**Simulator.exempt, "P17": " "}


def test_what_nobody_asks_about_is_red() -> None:
    with pytest.raises(AssertionError, match=r"no test asks about it: P11, P13\b"):
        BackendContract.test_every_promise_is_asked_for_or_exempt(Less())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_question_that_is_taken_out_is_red() -> None:
    with pytest.raises(AssertionError, match="test_p3_hairpin"):
        Without().test_the_questions_are_those_of_every_backend()


@pytest.mark.parametrize(("tests", "says"), [(Wrong, "P99"), (Mute, "needs a reason")])
def test_an_exemption_that_says_nothing_is_red(tests: type[Simulator], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        tests().test_every_promise_is_asked_for_or_exempt()


RUN = """
import pytest
from systems import SimulatorSystem
from vipnet.testing import SystemTests

class Absent(SimulatorSystem):
    name = "absent"

class TestOne(SystemTests):
    system = SimulatorSystem
    exempt = {"P2": "a reason"}
    def test_p1_kept(self, network): assert network.probe.ping("c", "192.168.4.1")
    def test_p2_exempt(self, network): raise AssertionError
    def test_p3_broken(self, network): assert network.probe.ping("c", "192.168.4.1", src="192.168.7.246")
    def test_p4_skips_itself(self): pytest.skip("not today")
    def test_other(self): pass

class TestTwo(SystemTests):
    system = Absent
    def test_p1_cannot_run(self, network): raise AssertionError
"""


def _run(folder: Path, *options: str) -> tuple[str, dict[str, list[str]]]:
    """What pytest says last of such tests, and the rows of its table."""
    (folder / "conftest.py").write_text('pytest_plugins = ["vipnet.testing.plugin"]\n')
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    (folder / "test_it.py").write_text(RUN)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "support")}
    said = subprocess.run(argv, cwd=folder, env=here, capture_output=True, text=True, check=False).stdout
    rows = re.findall(r"^(P\d+) +(.*?) *$", said, re.MULTILINE)
    return said, {promise: re.split("  +", cells) for promise, cells in rows}


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "spread"])
def test_the_table_says_how_it_stands(tmp_path: Path, options: Sequence[str]) -> None:
    said, table = _run(tmp_path, *options)
    assert table == {"P1": ["kept (1)", "skipped"], "P2": ["exempt", "-"], "P3": ["1/1 RED", "-"], "P4": ["skipped", "-"]}, said


def test_what_is_required_may_not_be_skipped(tmp_path: Path) -> None:
    said, table = _run(tmp_path, "--require-backend", "simulator", "--require-backend", "absent")
    assert table == {"P1": ["kept (1)", "1/1 RED"], "P2": ["exempt", "-"], "P3": ["1/1 RED", "-"], "P4": ["1/1 RED", "-"]}, said
    assert "backend absent is required" in said
