"""The packet promises, of every system."""

from __future__ import annotations

from vipnet.testing import PacketPromises


class TestPackets(PacketPromises):
    """See `conftest.network` for the systems."""
