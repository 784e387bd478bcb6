"""What the tests of the lab share: two servers on a plain bridge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vipnet.lab import Lab, LabServer
from vipnet.lab.netns import ip


@pytest.fixture
def pair() -> Iterator[tuple[LabServer, LabServer]]:
    with Lab(prefix="tlab") as lab:
        a = lab.add_server("a", device="porta", mac="02:00:00:00:00:0a", address="192.168.7.247/22", gateway=None)
        b = lab.add_server("b", device="portb", mac="02:00:00:00:00:0b", address="192.168.7.248/22", gateway=None)
        ip(lab.host, ["link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up"])
        ip(lab.host, [f"link set {device} master br0 up" for device in ("porta", "portb")])
        assert a.ping("192.168.7.248", count=5)  # the kernel takes up to a second to notice that links came up
        yield a, b
