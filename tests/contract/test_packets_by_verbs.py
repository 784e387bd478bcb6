"""The packet promises again, with a Controller's verbs bringing each scene about."""

from __future__ import annotations

import pytest

from vipnet.testing import Ipv6Promises, PacketPromises
from vipnet.testing.controlled import ControlledNetwork


@pytest.fixture(scope="module")
def network(controlled: ControlledNetwork) -> ControlledNetwork:
    return controlled


class TestPacketsByVerbs(PacketPromises):
    """See `conftest.controlled` for the systems."""


class TestPackets6ByVerbs(Ipv6Promises):
    """The same systems over IPv6."""


def test_nothing_is_left_to_do(controlled: ControlledNetwork) -> None:
    assert not controlled.cloud.plan()
