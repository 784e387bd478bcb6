"""Open vSwitch: one bridge, one declared OpenFlow pipeline."""

from __future__ import annotations

from vipnet_ovs.driver import OvsBackend

__all__ = ["OvsBackend"]
