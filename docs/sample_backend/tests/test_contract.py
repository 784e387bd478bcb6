"""The contract, of the sample backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plane_probe import PlaneProbe
from vipnet.backend import Backend
from vipnet.testing import BackendContract, Scene, System, VerbsContract
from vipnet_sample.compiler import TABLES
from vipnet_sample.plane import Plane


class SampleSystem(System):
    """A folder of files, in which others have lines, too."""

    name = "sample"

    def probe(self, backend: Backend[Any], scene: Scene) -> PlaneProbe:
        return PlaneProbe(Plane(self.folder / "state"), scene)

    def plant(self) -> None:
        (self.folder / "state").mkdir()
        for table in (*TABLES, "vipnet"):
            self._file(table).write_text(f"# vipnet is not the first word here\n#vipnet other-{table} of somebody else\n")

    def others(self) -> frozenset[str]:
        files: list[Path] = sorted((self.folder / "state").iterdir())
        return frozenset(f"{file.name}: {line}" for file in files for line in file.read_text().splitlines())

    def _file(self, table: str) -> Path:
        return self.folder / "state" / f"{table}.table"


class TestSample(BackendContract):
    system = SampleSystem
    exempt = {
        "P12": "it has no limits: an EIP with a bandwidth is refused",
        "P13": "it counts nothing",
        "P14": "no packet passes it in time",
        "P15": "no packet passes it in time",
        "P17": "no packet passes it while vipnet is dead",
        "P18": "it knows no IPv6: a network with an IPv6 prefix is refused",
    }


class TestSampleByVerbs(VerbsContract):
    system = SampleSystem
