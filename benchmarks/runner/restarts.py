"""A fresh process that opens a store with so many EIPs, where its predecessor's data plane survived, and where nothing is."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bench_topology import Shape, fill
from nft_clouds import programmed
from nft_scene import Host, in_words, nft, without_state
from ovs_switch import SwitchHost

from runner.pure import mapped
from runner.scenes import Staged
from vipnet.controller import Controller
from vipnet_nftables.entries import NativeEntry

__all__ = ["OvsRestart", "Restart"]

_HERE: Final = Path(__file__).resolve().parent.parent
_KEYS: Final = 1_000
_AT_ONCE: Final = 50
"""Elements that nft is asked for in one command: 1.0.6 crashes on 1,000."""


class _Restarting(Staged):
    """Has the cloud of `bench_topology` in SQLite, programmed. Option `onto`: surviving or empty; `how`: whole or by-key."""

    def begin(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.config = self.place(folder, f"sqlite:///{folder}/vipnet.db")
        with programmed(self.config, lambda tx: fill(tx, Shape(self.scale))) as (cloud, _):
            self.remember(cloud)
        self.expected = self.found()

    def once(self) -> Sequence[float]:
        if self.options["onto"] == "empty":
            self.wipe()
        words = [sys.executable, "-W", "ignore", "-m", "runner.starting", str(self.config), self.options.get("how", "whole")]
        begun = time.monotonic()
        done = subprocess.run(words, cwd=_HERE, check=True, stdout=subprocess.PIPE)
        self._said = json.loads(done.stdout)
        return [self._said["done"] - begun]

    def check(self) -> str:
        found = self.found()
        assert found == self.expected, f"{found} there, {self.expected} expected"
        assert not self._said["audited"], f"{self._said['audited']} entries were missed when everything was read back"
        return f"{found}, {self.verified()}"

    @abstractmethod
    def place(self, folder: Path, store: str) -> Path:
        """Make a host; the configuration by which it is programmed."""

    @abstractmethod
    def wipe(self) -> None:
        """Lose the data plane."""

    @abstractmethod
    def found(self) -> int:
        """How much is installed."""

    def remember(self, cloud: Controller) -> None:
        """Keep what is asked for in the end."""

    def verified(self) -> str:
        """Ask for it. Exits where it is not there."""
        return "and nothing was missed"


class Restart(_Restarting):
    """vipnet on nftables: elements are counted, and nft is asked for 1,000 EIPs by key."""

    def place(self, folder: Path, store: str) -> Path:
        self._host = self.stack.enter_context(Host())
        return self._host.configuration(folder, store=store)

    def wipe(self) -> None:
        self._host.wipe()

    def found(self) -> int:
        return self._host.elements()

    def remember(self, cloud: Controller) -> None:
        some = random.Random(3).sample([*mapped(cloud)], min(self.scale, _KEYS))
        entries: dict[str, NativeEntry] = cloud.backend.compile(some)
        self._keys = entries.values()

    def verified(self) -> str:
        for router in {entry.target for entry in self._keys}:
            some = (entry for entry in self._keys if entry.target == router)
            _ask(router.removeprefix("nft:"), some)
        return f"those of {min(self.scale, _KEYS)} EIPs by key"


def _ask(router: str, entries: Iterable[NativeEntry]) -> None:
    """By one nft, which lists all that there is before it asks."""
    words = without_state(in_words(entries)).items()
    rows = ((place, some[at : at + _AT_ONCE]) for place, some in words for at in range(0, len(some), _AT_ONCE))
    nft(router, "-f", "-", text="".join(f"get element {place} {{ {', '.join(row)} }}\n" for place, row in rows))


class OvsRestart(_Restarting):
    """vipnet on Open vSwitch: flows are counted. Where nothing is, the switch has been started anew."""

    def place(self, folder: Path, store: str) -> Path:
        self._host = self.stack.enter_context(SwitchHost())
        return self._host.configuration(folder, store=store)

    def wipe(self) -> None:
        self._host.wipe()

    def found(self) -> int:
        return self._host.flows()
