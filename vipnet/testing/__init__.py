"""What proves a backend: packet promises as questions that every network can be asked, and faults on demand.

A backend's own tests need three lines: a fixture `network` that yields a `Network`, and

    class TestPackets(PacketPromises):
        pass
"""

from __future__ import annotations

from vipnet.testing.faults import Faults, FaultyBackend
from vipnet.testing.network import Network, NetworkUnderTest, clear, converge
from vipnet.testing.probe import Answer, Connection, Frame, Probe
from vipnet.testing.promises import PacketPromises
from vipnet.testing.promises6 import Ipv6Promises
from vipnet.testing.scene import Group, Scene, SceneEip, Segment, Server, Vpc, standard_scene

__all__ = [
    "Answer",
    "Connection",
    "Faults",
    "FaultyBackend",
    "Frame",
    "Group",
    "Ipv6Promises",
    "Network",
    "NetworkUnderTest",
    "PacketPromises",
    "Probe",
    "Scene",
    "SceneEip",
    "Segment",
    "Server",
    "Vpc",
    "clear",
    "converge",
    "standard_scene",
]
