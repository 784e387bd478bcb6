"""The packet promises of the nftables backend, by a Controller's verbs."""

from __future__ import annotations

import pytest
from systems import NftablesSystem

from vipnet.testing import VerbsContract


@pytest.mark.root
class TestNftablesByVerbs(VerbsContract):
    system = NftablesSystem
