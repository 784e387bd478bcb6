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
