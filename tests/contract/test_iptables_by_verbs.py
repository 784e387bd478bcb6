"""The packet promises of the iptables backend, by a Controller's verbs."""

from __future__ import annotations

import pytest
from systems import IptablesLegacySystem, IptablesSystem

from vipnet.testing import VerbsContract


@pytest.mark.root
class TestIptablesNftByVerbs(VerbsContract):
    system = IptablesSystem


@pytest.mark.root
class TestIptablesLegacyByVerbs(VerbsContract):
    system = IptablesLegacySystem
