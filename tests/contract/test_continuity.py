"""The promises about time, of the nftables backend."""

from __future__ import annotations

import pytest
from systems import NftablesSystem

from vipnet.testing import SystemTests
from vipnet.testing.continuity import ContinuityPromises


@pytest.mark.root
class TestContinuity(ContinuityPromises, SystemTests):
    system = NftablesSystem
