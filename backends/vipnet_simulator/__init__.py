"""The simulator: holds entries, answers packet questions about them. No data plane, no root, no library but the core."""

from __future__ import annotations

from vipnet.packets import Delivered, Dropped, Packet, Reason, Stage, Step, Verdict
from vipnet_simulator.driver import SimulatorBackend
from vipnet_simulator.entry import DamagedLine, Installed, SimulatorEntry
from vipnet_simulator.world import World

__all__ = [
    "DamagedLine",
    "Delivered",
    "Dropped",
    "Installed",
    "Packet",
    "Reason",
    "SimulatorBackend",
    "SimulatorEntry",
    "Stage",
    "Step",
    "Verdict",
    "World",
]
