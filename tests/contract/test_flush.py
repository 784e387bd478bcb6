"""Where the new mapping alone would let an old connection live: only `flush` cuts it."""

from __future__ import annotations

from vipnet.testing import Network, standard_scene
from vipnet.testing.probe import OUTSIDE, Answer
from vipnet.testing.promises import EIP, EIP_BLUE, SPARE, VIP, WORLD, settle

SECOND = "203.0.113.103"


def test_swapped_eips_take_no_connection_along(network: Network) -> None:  # P5
    """Both VIPs keep an EIP, so the answers of the old holders would still get out."""
    settle(network)
    network.become(standard_scene().with_eip(SECOND, "spare"))
    cut = [network.probe.connect(OUTSIDE, eip) for eip in (EIP, SECOND)]
    bystander = network.probe.connect(OUTSIDE, EIP_BLUE)
    network.become(standard_scene().with_eip(EIP, "spare").with_eip(SECOND, "red"))
    assert [one.alive() for one in cut] == [False, False]
    assert bystander.alive()
    assert network.probe.tcp(OUTSIDE, EIP) == Answer("e", WORLD)
    assert network.probe.udp("a", WORLD, src=VIP) == Answer(OUTSIDE, SECOND)
    assert network.probe.udp("e", WORLD, src=SPARE) == Answer(OUTSIDE, EIP)
