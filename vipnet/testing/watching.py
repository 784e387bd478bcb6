"""The promises of a watch: whatever somebody breaks is noticed, and whole again, within 2 s.

Asked of a system that says, by `damages`, what can be done to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar

from vipnet.events import EventWord, WatchEvent
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.probe import OUTSIDE, Answer, Frame
from vipnet.testing.promises import EIP, GATEWAY, VIP, WORLD, B, settle, within

__all__ = ["Noise", "Seen", "WatchingPromises", "seen_by_watch"]

WHOLE_WITHIN = 2.0
"""Seconds, with the machine's own noise taken out."""

_PATIENCE = 10.0
_TICK = 0.005


class Noise:
    """A context manager: for how long the machine kept a thread waiting that wanted to run every few milliseconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="noise", daemon=True)

    def __enter__(self) -> Noise:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_TICK):
            now = time.monotonic()
            self.seconds += max(0.0, now - last - 2 * _TICK)
            last = now


@dataclass(slots=True)
class Seen:
    """The events of a watch."""

    events: list[WatchEvent] = field(default_factory=list[WatchEvent])

    def words(self) -> list[EventWord]:
        return [event.event for event in self.events]

    def wait_for(self, word: EventWord, seconds: float = _PATIENCE) -> WatchEvent:
        """The first event of a word; AssertionError when none comes in time."""
        assert within(seconds, lambda: word in self.words()), f"no {word} within {seconds:g} s, but {self.events}"
        return next(event for event in self.events if event.event == word)


@contextmanager
def seen_by_watch(network: ControlledNetwork) -> Generator[Seen, None, None]:
    """Watch for the length of a `with` block; no repair may fail, and nothing may be repaired over and over."""
    seen = Seen()
    with network.cloud.watch(seen.events.append):
        seen.wait_for("watching")
        seen.events.clear()
        yield seen
    assert not {"repair-failed", "contested"} & set(seen.words()), seen.events


class WatchingPromises:
    """Promise P17 while watching."""

    needs: ClassVar[frozenset[str]] = frozenset({"time"})

    def test_p17_what_somebody_damages_is_whole_within_2_s_while_watching(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        damages = controlled.system.damages(controlled.cloud.backend)
        assert damages, "nobody knows how to damage this system"
        for what, damage in damages.items():
            with seen_by_watch(controlled) as seen:  # each time anew: so much damage to one thing would be a contest
                took = _time_to_be_whole(controlled, damage, what)
                if took > WHOLE_WITHIN:
                    took = _time_to_be_whole(controlled, damage, what)
                assert took <= WHOLE_WITHIN, f"{what}: whole after {took:.2f} s; {seen.events}"
                assert within(_PATIENCE, lambda: not controlled.cloud.plan()), f"{what}: {controlled.cloud.plan()}; {seen.events}"
                seen.wait_for("repaired")
                assert "drift" in seen.words(), what
                seen.events.clear()

    def test_a_verb_is_no_drift(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        with seen_by_watch(controlled) as seen:
            for group in ("spare", "red", "spare", "red"):
                controlled.become(controlled.scene.with_eip(EIP, group))
            controlled.become(controlled.scene.with_members("red", "a", "b", "c"))
            controlled.become(controlled.scene.with_members("red", "a", "b"))
            time.sleep(1.0)
            assert "drift" not in seen.words(), seen.events


def _is_whole(network: ControlledNetwork) -> bool:
    """Whether the EIP leads to its holder, and a stranger's packet from the VIP to nobody."""
    probe, stolen = network.probe, Frame(proto="udp", src=VIP, dst=B, onto="b")
    reached = probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
    try:
        return reached and probe.resolves("c", GATEWAY) and probe.heard("c", stolen) == frozenset()
    except AssertionError:  # a probe is sure of what it asks by; that may break between two questions: a namespace goes slowly
        return False


def _time_to_be_whole(network: ControlledNetwork, breaks: Callable[[], object], what: str) -> float:
    """Seconds from when somebody has broken it to the first answer by the EIP, without those that the machine took."""
    assert within(_PATIENCE, lambda: _is_whole(network)), f"not whole before: {what}"
    with Noise() as noise:
        breaks()
        began = time.monotonic()
        assert within(_PATIENCE, lambda: _is_whole(network)), f"not whole after {_PATIENCE:g} s: {what}"
        took = time.monotonic() - began
    return took - noise.seconds
