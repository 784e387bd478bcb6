"""The packet promises again, of the Open vSwitch backend, each scene brought about by verbs."""

from __future__ import annotations

import pytest
from systems import OvsSystem

from vipnet.testing import VerbsContract


@pytest.mark.root
class TestOvsByVerbs(VerbsContract):
    system = OvsSystem
