"""What the backend installs: rows of the switch's database, flows, and buckets of the groups that copy to a segment."""

from __future__ import annotations

from typing import NamedTuple

from vipnet_ovs.flows import Flow

__all__ = ["FLOWS", "PORTS", "Bucket", "Entry", "Plug"]

PORTS = "ports"
"""The target of rows of the switch's database: one transaction of OVSDB."""

FLOWS = "flows"
"""The target of flows and groups: one bundle of OpenFlow."""


class Plug(NamedTuple):
    """A device of the host as a port of the bridge, and up, for an object of ours, `user`; there may be several of one device."""

    device: str
    user: str
    up: bool = True

    @property
    def target(self) -> str:
        return PORTS

    @property
    def key(self) -> str:
        return f"port {self.device} {self.user}"

    @property
    def text(self) -> str:
        return f"add-port {self.device}{'' if self.up else ' (down)'}"


class Bucket(NamedTuple):
    """A port among those that get a copy of what is for all of a segment; `vlan` 0: untagged."""

    segment: int
    device: str
    vlan: int = 0

    @property
    def target(self) -> str:
        return FLOWS

    @property
    def key(self) -> str:
        return f"bucket {self.segment:x} {self.device}"

    @property
    def text(self) -> str:
        tag = f"push_vlan:0x8100,set_field:{0x1000 | self.vlan}->vlan_vid," if self.vlan else ""
        return f"insert-buckets segment={self.segment:#x},bucket=actions={tag}output:{self.device}"


Entry = Plug | Flow | Bucket
