"""Options of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["vipnet.testing.plugin", "alone", "differential_run", "shell"]

settings.register_profile("sample", derandomize=True)  # the same examples every time
if os.environ.get("CI"):
    settings.load_profile("sample")

pytest.register_assert_rewrite("snippets")

_LONGEST = (
    "test_conformance.py",
    "test_iptables.py",
    "test_ovs.py",
    "test_nftables.py",
    "test_differential_too.py",
    "test_differential.py",
    "test_demo.py",
    "test_differential_finds.py",
    "test_faults_of_links.py",
    "test_watch.py",
    "test_faults_of_mappings.py",
)
"""Files that take more than a minute come first, so that at the end no process is left alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))
