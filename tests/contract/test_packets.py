"""The packet promises, of every system."""

from __future__ import annotations

from vipnet.testing import Ipv6Promises, PacketPromises


class TestPackets(PacketPromises):
    """See `conftest.network` for the systems."""


class TestPackets6(Ipv6Promises):
    """The same systems over IPv6."""
