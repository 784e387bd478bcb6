"""The contract, of the Open vSwitch backend."""

from __future__ import annotations

import pytest
from systems import OvsSystem

from vipnet.testing import BackendContract


@pytest.mark.root
class TestOvs(BackendContract):
    system = OvsSystem
