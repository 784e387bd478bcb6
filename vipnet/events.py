"""What a watch reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["EVENTS", "EventWord", "WatchEvent"]

EventWord = Literal[
    "watching",
    "drift",
    "repaired",
    "repair-failed",
    "contested",
    "contested-over",
    "overrun",
    "port-appeared",
    "port-vanished",
    "holder-changed",
    "holder-silent",
    "holder-back",
    "split-brain",
    "split-brain-over",
    "flapping",
    "flapping-over",
]

EVENTS: Mapping[EventWord, str] = {
    "watching": "it has begun; what was adrift before is repaired",
    "drift": "somebody changed what is installed: how many entries, and who if the system says",
    "repaired": "a target is as it should be again",
    "repair-failed": "it could not be repaired; it is tried again, less and less often, and said once for each reason",
    "contested": "what is repaired is undone again and again; it is repaired less often from now on",
    "contested-over": "what was contested has been left alone for a while",
    "overrun": "more happened than could be seen; everything is compared",
    "port-appeared": "the interface of a server is there now, joined to its network",
    "port-vanished": "the interface of a server is gone",
    "holder-changed": "another member holds the VIP now: from -> to",
    "holder-silent": "the holder of a VIP does not advertise or answer any more, and nobody took over",
    "holder-back": "a silent holder is heard again",
    "split-brain": "several members have the VIP at once",
    "split-brain-over": "one member has the VIP again, or none",
    "flapping": "the VIP changes its holder too often; single changes are not reported any more",
    "flapping-over": "the VIP has stayed where it is for a while",
}
"""Every word of `WatchEvent.event`, and when it is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """Something that happened. `time`: ISO 8601, UTC; `object`: a target, a server, a VIP by its group; `detail`: a text."""

    time: str
    event: EventWord
    object: str
    detail: str
