"""A fault at each step of changes that make and unmake links, and the oracle after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nftables.ordeal import endure_all, endure_many

pytestmark = pytest.mark.root

VERBS = (
    "vpc-create", "network-create", "gateway", "vpc-delete", "server-create", "server-delete", "vpc-create", "server-create",
)  # fmt: skip


@pytest.mark.timeout(900)
def test_a_change_of_links_is_old_or_new(tmp_path: Path) -> None:
    endure_all(tmp_path, VERBS)


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_hundred_changes_at_every_step(tmp_path: Path) -> None:
    endure_many(tmp_path, 100, seed=1)
