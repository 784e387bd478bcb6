"""Every entry of links and of ports: what netfilter backends have in common."""

from __future__ import annotations

from vipnet_kernel.link_entries import Address, Bridge, Namespace, Sysctl, Veth, Vlan
from vipnet_kernel.port_entries import Attachment, Up
from vipnet_kernel.route_entries import Route, Rule

__all__ = ["LinkEntry"]

LinkEntry = Namespace | Bridge | Vlan | Veth | Address | Route | Rule | Sysctl | Attachment | Up
