"""The contract, of the nftables backend."""

from __future__ import annotations

import pytest
from systems import NftablesSystem

from vipnet.testing import BackendContract


@pytest.mark.root
class TestNftables(BackendContract):
    system = NftablesSystem
    exempt = dict.fromkeys(("P14", "P15"), "not asked yet")
