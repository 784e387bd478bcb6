"""docs/promises.md says what the classes say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.contract.test_iptables import TestIptablesNft as Iptables
from tests.contract.test_nftables import TestNftables as Nftables
from tests.contract.test_ovs import TestOvs as Ovs
from tests.contract.test_simulator import TestSimulator as Simulator
from vipnet.testing import SystemTests
from vipnet.testing.table import PROMISES

PAGE = Path(__file__).parent.parent.parent / "docs/promises.md"
COLUMNS: tuple[type[SystemTests], ...] = (Simulator, Nftables, Iptables, Ovs)


def _lines() -> Iterator[str]:
    yield f"| | what holds | {' | '.join(f'`{tests.system.name}`' for tests in COLUMNS)} |"
    yield "| --- | --- |" + " --- |" * len(COLUMNS)
    for promise, words in PROMISES.items():
        cells = (f"exempt: {tests.exempt[promise]}" if promise in tests.exempt else "required" for tests in COLUMNS)
        yield f"| {promise} | {words} | {' | '.join(cells)} |"


def test_the_table_is_that_of_the_classes() -> None:
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert shown == list(_lines())
