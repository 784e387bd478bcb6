"""What proves a backend: packet promises as questions that every network can be asked, and faults on demand.

`BackendContract` is all of it, for a backend's own tests to inherit; [Promises](../promises.md) says how. It needs pytest and
hypothesis (`pip install 'vipnet[testing]'`), everything else here does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vipnet.testing.contract import BackendContract, SystemTests, VerbsContract
    from vipnet.testing.faults import Faults, FaultyBackend
    from vipnet.testing.host import HostSystem
    from vipnet.testing.injector import Injector, Seam, core_seams
    from vipnet.testing.network import Network, NetworkUnderTest, clear, converge
    from vipnet.testing.probe import Answer, Connection, Frame, IcmpError, Probe
    from vipnet.testing.promises import PacketPromises
    from vipnet.testing.promises6 import Ipv6Promises
    from vipnet.testing.scene import Group, Scene, SceneEip, Segment, Server, Vpc, standard_scene
    from vipnet.testing.system import System, SystemNetwork

__all__ = [
    "Answer",
    "BackendContract",
    "Connection",
    "Faults",
    "FaultyBackend",
    "Frame",
    "Group",
    "HostSystem",
    "IcmpError",
    "Injector",
    "Ipv6Promises",
    "Network",
    "NetworkUnderTest",
    "PacketPromises",
    "Probe",
    "Scene",
    "SceneEip",
    "Seam",
    "Segment",
    "Server",
    "System",
    "SystemNetwork",
    "SystemTests",
    "VerbsContract",
    "Vpc",
    "clear",
    "converge",
    "core_seams",
    "standard_scene",
]

_HOMES = {
    "contract": ("BackendContract", "SystemTests", "VerbsContract"),
    "faults": ("Faults", "FaultyBackend"),
    "injector": ("Injector", "Seam", "core_seams"),
    "host": ("HostSystem",),
    "network": ("Network", "NetworkUnderTest", "clear", "converge"),
    "probe": ("Answer", "Connection", "Frame", "IcmpError", "Probe"),
    "promises": ("PacketPromises",),
    "promises6": ("Ipv6Promises",),
    "scene": ("Group", "Scene", "SceneEip", "Segment", "Server", "Vpc", "standard_scene"),
    "system": ("System", "SystemNetwork"),
}


def __getattr__(name: str) -> object:
    for home, held in _HOMES.items():  # on demand: pytest is to see the modules before their first import, and rewrite asserts
        if name in held:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
