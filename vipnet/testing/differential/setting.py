"""What a case finds: the configuration, and the machines of the lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vipnet.config import ClassicConfig, Config, UplinkConfig
from vipnet.testing.differential.case import Setting

__all__ = [
    "BEYOND_IP",
    "BEYOND_IP6",
    "DEVICES",
    "LEGGED",
    "LEG_DEVICE",
    "MACS",
    "PUBLIC",
    "UPLINK",
    "UPLINK_DEVICE",
    "WORLD",
    "WORLD_IP6",
    "configured",
]

DEVICES = tuple(f"tap{number}" for number in range(10))
MACS = {device: f"02:00:00:00:00:{number + 16:02x}" for number, device in enumerate(DEVICES)}
"""The ports that there are for servers, and the MACs of the machines at them."""

PUBLIC, WORLD, UPLINK = "203.0.113.0/24", "203.0.113.1", "203.0.113.2"
UPLINK_DEVICE = "uplink0"

LEGGED, LEG_DEVICE = "office", "leg0"
BEYOND_IP, BEYOND_IP6 = "172.16.0.250", "fd00:16::250"
"""The classic network with a leg, and the addresses of the machine there."""

WORLD_IP6 = "2001:db8:ffff::1"
"""An address that the machine beyond the uplink gives itself; nothing leads there."""


def configured(setting: Setting, backend: str, options: Mapping[str, Any]) -> Config:
    """The configuration of a Controller."""
    uplink = UplinkConfig(
        name="pub",
        device=UPLINK_DEVICE,
        address=f"{UPLINK}/24" if setting == "plain" else None,
        gateway=WORLD,
    )
    return Config(
        store="memory:",
        backend=backend,
        uplinks={} if setting == "islands" else {"pub": uplink},
        classic={LEGGED: ClassicConfig(name=LEGGED, device=LEG_DEVICE)} if setting == "plain" else {},
        backends={backend: options},
    )
