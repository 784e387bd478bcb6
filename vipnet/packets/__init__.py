"""What becomes of one packet, as the intents say: no data plane, no I/O. The heart of the simulator and of `trace`."""

from __future__ import annotations

from vipnet.packets.index import Index, IntentIndex, Place
from vipnet.packets.journey import VRRP_GROUP, Journey, owns
from vipnet.packets.words import (
    LEG,
    OUTSIDE,
    ROUTER,
    Delivered,
    Dropped,
    Packet,
    Protocol,
    Reason,
    Stage,
    Step,
    Verdict,
)

__all__ = [
    "LEG",
    "OUTSIDE",
    "ROUTER",
    "VRRP_GROUP",
    "Delivered",
    "Dropped",
    "Index",
    "IntentIndex",
    "Journey",
    "Packet",
    "Place",
    "Protocol",
    "Reason",
    "Stage",
    "Step",
    "Verdict",
    "owns",
]
