"""Intents to entries: pure. Each entry follows from one intent alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    UplinkSwitching,
    VipBinding,
    VpcRouting,
)
from vipnet_ovs.eips import Templates
from vipnet_ovs.entries import Entry
from vipnet_ovs.mappings import vip_binding
from vipnet_ovs.ports import port_security
from vipnet_ovs.routers import uplink_switching, vpc_routing
from vipnet_ovs.segments import subnet_routing, subnet_switching

__all__ = ["compile_intents"]

_Other = SubnetSwitching | SubnetRouting | VpcRouting | UplinkSwitching | PortSecurity | VipBinding
"""Intents but for mappings."""


def compile_intents(intents: Iterable[Intent]) -> dict[str, Entry]:
    """Translate intents. Raises DataplaneError for one that cannot be kept."""
    templates, found = Templates(), dict[str, Entry]()
    for intent in intents:
        if isinstance(intent, EipMapping):
            found.update(templates.flows(intent))
        else:
            found.update((entry.key, entry) for entry in _entries(intent))
    return found


def _entries(intent: _Other) -> Iterator[Entry]:
    match intent:
        case SubnetSwitching():
            return subnet_switching(intent)
        case SubnetRouting():
            return subnet_routing(intent)
        case VpcRouting():
            return vpc_routing(intent)
        case UplinkSwitching():
            return uplink_switching(intent)
        case PortSecurity():
            return port_security(intent)
        case VipBinding():
            return vip_binding(intent)
        case _:
            assert_never(intent)
