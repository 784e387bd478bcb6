"""Limits and counters, by a Controller's verbs, on every backend with real packets."""

from __future__ import annotations

import pytest

from vipnet.testing.metering import MeteringPromises


@pytest.mark.root
@pytest.mark.parametrize("controlled", ["nftables"], indirect=True)
class TestMetering(MeteringPromises):
    pass
