"""The contract, of the iptables backend, for both variants of its programs."""

from __future__ import annotations

import pytest
from systems import IptablesLegacySystem, IptablesSystem

from vipnet.testing import BackendContract


@pytest.mark.root
class TestIptablesNft(BackendContract):
    system = IptablesSystem


@pytest.mark.root
class TestIptablesLegacy(BackendContract):
    system = IptablesLegacySystem
