"""Contestants of nftables: vipnet, the program nft, and the bare kernel with the bytes that vipnet sends."""

from __future__ import annotations

import socket
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, Self

from nft_programs import recorded
from nft_scene import Scene, declared, grouped, in_words, nft, without_state
from raw_netfilter import element_count, linked, replay, unconditional

from runner import changes
from runner.changes import Changing, Churning, Drifting, timed
from runner.scenes import InScene
from runner.worker import Worker
from vipnet.intents import EipMapping
from vipnet_nftables.entries import NativeEntry

__all__ = [
    "Audit",
    "Change",
    "Churn",
    "Drifted",
    "NftChange",
    "NftProgram",
    "Program",
    "RawChange",
    "RawProgram",
    "Unchanged",
    "installed",
]

_ELEMENTS_EACH: Final = 9
"""What one mapped EIP with a limit is in the kernel."""


class _InScene(InScene[Scene]):
    """Has a host with a VPC, to which nothing else is done."""

    def begin(self) -> None:
        self.scene = self.stack.enter_context(Scene())
        self.mapped = self.scene.backend.compile(self.scene.mappings(0, self.scale)) if self.filled else {}
        self.scene.program(self.mapped)
        if self.filled:
            self.scene.reopen()
            self.scene.backend.read()

    def check(self) -> str:
        found, eips = element_count(self.scene.router), self.expected
        assert found >= _ELEMENTS_EACH * eips, f"{found} elements for {eips} EIPs"
        return f"{found} elements"


class _Anew(Worker):
    """Each round in a scene of its own, with nothing in it but the rules."""

    found = 0

    def once(self) -> Sequence[float]:
        with Scene() as scene:
            took = self.program(scene)
            self.found = element_count(scene.router)
            installed(scene, scene.backend.compile(scene.mappings(self.scale - 1, self.scale)))
        return [took]

    @abstractmethod
    def program(self, scene: Scene) -> float:
        """Program all EIPs; the seconds that it took."""

    def check(self) -> str:
        assert self.found >= _ELEMENTS_EACH * self.scale, f"{self.found} elements for {self.scale} EIPs"
        return f"{self.found} elements"


class Program(_Anew):
    """vipnet: from intents to the acknowledgement of one transaction."""

    def program(self, scene: Scene) -> float:
        mappings, begun = scene.mappings(0, self.scale), time.perf_counter()
        scene.program(scene.backend.compile(mappings))
        return time.perf_counter() - begun


class RawProgram(_Anew):
    """The kernel with the bytes that vipnet sent: no Python in it but one `send`."""

    def __enter__(self) -> Self:
        with Scene() as scene, recorded() as sent:
            scene.program(scene.backend.compile(scene.mappings(0, self.scale)))
            self._sent = [unconditional(one) for one in sent]
        return self

    def program(self, scene: Scene) -> float:
        with linked(scene.router) as link:
            begun = time.perf_counter()
            replay(link, *self._sent)
            return time.perf_counter() - begun


class NftProgram(_Anew):
    """`nft -f` of a file with the same content."""

    def program(self, scene: Scene) -> float:
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            entries = scene.backend.compile(scene.mappings(0, self.scale))
            file.write(declared(scene.router, self.scale) + grouped(in_words(entries.values())))
            file.flush()
            return self.load(scene.router, file.name)

    def load(self, router: str, path: str) -> float:
        """Have a file carried out; the seconds that it took."""
        return timed(lambda: nft(router, "-f", path))


class Change(_InScene, Changing[Scene]):
    """vipnet."""


class RawChange(Change):
    """The kernel with the bytes that vipnet sends for such a change."""

    def prepare(self) -> None:
        self._sent = [(change, self._bytes_of(change)) for change in self.changes()]
        self._link: socket.socket = self.stack.enter_context(linked(self.scene.router))

    def once(self) -> Sequence[float]:
        return [self._one(change, sent) for change, sent in self._sent]

    def _bytes_of(self, change: changes.Change) -> list[bytes]:
        with recorded() as sent:
            change.carry_out(self.scene)
        change.undone.carry_out(self.scene)
        return [unconditional(one) for one in sent]

    def _one(self, change: changes.Change, sent: Sequence[bytes]) -> float:
        took = timed(lambda: replay(self._link, *sent))
        change.undone.carry_out(self.scene)
        return took


class NftChange(Change):
    """`nft -f -` with the elements that come and go. What it has put in is looked for by key each time."""

    most = 5

    def made(self, change: changes.Change) -> float:
        before, after = (self.scene.backend.compile(some) for some in (change.before, change.after))
        gone, come = (_words(one, beside=other) for one, other in ((before, after), (after, before)))
        took = timed(lambda: nft(self.scene.router, "-f", "-", text=_commands(gone, come)))
        installed(self.scene, after)
        nft(self.scene.router, "-f", "-", text=_commands(come, gone))
        return took


class Churn(_InScene, Churning[Scene]):
    """vipnet."""


class Drifted(_InScene, Drifting[Scene]):
    """vipnet; nft deletes the elements."""

    def lose(self, mappings: Sequence[EipMapping]) -> None:
        lost = _words(self.scene.backend.compile(mappings), beside={})
        nft(self.scene.router, "-f", "-", text=_commands(lost, {}))

    def check(self) -> str:
        return f"{super().check()}, {self.whole()}"


class Unchanged(_InScene):
    """Whether anything has changed, where nothing has."""

    def once(self) -> Sequence[float]:
        return [timed(self.scene.backend.changed) for _ in range(20)]


class Audit(_InScene):
    """Everything read back and compared; the time of each element."""

    def once(self) -> Sequence[float]:
        expected: dict[str, NativeEntry] = self.mapped
        return [timed(lambda: self.scene.backend.audit(expected)) / (_ELEMENTS_EACH * self.scale)]


def installed(scene: Scene, entries: Mapping[str, NativeEntry]) -> None:
    """Look for entries by key. Raises AssertionError where one is missing, or has another limit than it should."""
    found = scene.backend.evidence([*entries.values()])
    assert {finding.state for finding in found.values()} <= {"installed"}, found


def _words(entries: Mapping[str, NativeEntry], *, beside: Mapping[str, NativeEntry]) -> dict[str, list[str]]:
    """The elements of entries that are not beside them."""
    return in_words(entry for key, entry in entries.items() if beside.get(key) != entry)


def _commands(gone: Mapping[str, Sequence[str]], come: Mapping[str, Sequence[str]]) -> str:
    return grouped(without_state(gone), "delete") + grouped(come)
