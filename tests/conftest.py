"""Options of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["promise_table", "shell"]

settings.register_profile("sample", derandomize=True)  # the same examples every time
if os.environ.get("CI"):
    settings.load_profile("sample")

pytest.register_assert_rewrite("snippets", "vipnet.testing.promises")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="fail, instead of skipping, where this backend cannot be run here (repeatable)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    if item.config.getoption("--require-backend"):
        pytest.fail("this test needs root", pytrace=False)
    pytest.skip("needs root: it makes network namespaces")
