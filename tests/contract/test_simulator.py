"""The contract, of the simulator."""

from __future__ import annotations

from systems import SimulatorSystem

from vipnet.testing import BackendContract, VerbsContract


class TestSimulator(BackendContract):
    system = SimulatorSystem
    exempt = {
        "P12": "no packet passes it in time",
        "P13": "no packet passes it that could be counted",
        "P14": "no packet passes it in time",
        "P15": "no packet passes it in time",
        "P17": "no packet passes it while vipnet is dead",
    }


class TestSimulatorByVerbs(VerbsContract):
    system = SimulatorSystem
