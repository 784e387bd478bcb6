"""Native names, all derived from ids; which names are ours when read back; and what may be handed to the kernel as a name."""

from __future__ import annotations

import re
from hashlib import sha256

from vipnet.errors import DataplaneError
from vipnet.model import short_id

__all__ = [
    "BRIDGE",
    "FAR_END",
    "GATEWAY",
    "HOST",
    "NAMESPACE",
    "SUBNET_LEG",
    "TRANSIT",
    "TRANSIT_END",
    "VLAN",
    "bridge",
    "check_device",
    "far_end",
    "gateway_mac",
    "gateway_namespace",
    "mark_of_network",
    "owner_mark",
    "router_namespace",
    "subnet_leg",
    "transit_end",
    "trunk",
    "trunk_bridge",
    "uplink_bridge",
    "uplink_leg",
]

NAMESPACE = re.compile(r"vng?-[0-9a-f]{12}")
GATEWAY = re.compile(r"vng-[0-9a-f]{12}")
BRIDGE = re.compile(r"vnb[0-9a-f]{12}|vnu\d{1,3}")
FAR_END = re.compile(r"vn[rl][0-9a-f]{12}")
VLAN = re.compile(r"vnc[0-9a-f]{12}")
SUBNET_LEG = re.compile(r"vns([0-9a-f]{12})")
TRANSIT = "tr0"
TRANSIT_END = re.compile(r"vt[0-9a-f]{12}")
_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
HOST = "host"
"""The place, in a watch, that is the host's namespace; the others are called as their namespaces are."""


def owner_mark(identity: str) -> str:
    """Twelve hex digits for the vipnet that programs the namespace of this identity; its namespaces carry them."""
    return sha256(identity.encode()).hexdigest()[:12]


def router_namespace(vpc_id: str) -> str:
    """The namespace of a VPC's router."""
    return f"vn-{short_id(vpc_id)}"


def gateway_namespace(owner: str) -> str:
    """The namespace that masquerades for all VPCs of one vipnet."""
    return f"vng-{owner}"


def gateway_mac(owner: str) -> str:
    """The MAC of the gateway's leg: the same after a rebuild, so that the upstream's ARP entry stays right."""
    return "02:" + ":".join(owner[i : i + 2] for i in range(0, 10, 2))


def bridge(network_id: str) -> str:
    """The bridge of a subnet."""
    return f"vnb{short_id(network_id)}"


def uplink_bridge(index: int) -> str:
    """The bridge of an uplink."""
    return f"vnu{index}"


def subnet_leg(network_id: str) -> str:
    """The router's leg in a subnet."""
    return f"vns{short_id(network_id)}"


def uplink_leg(index: int) -> str:
    """The router's leg on an uplink."""
    return f"up{index}"


def trunk(network_id: str) -> str:
    """The VLAN interface of a classic network on its physical leg."""
    return f"vnc{short_id(network_id)}"


def trunk_bridge(trunk: str) -> str:
    """The bridge that a VLAN interface of ours belongs to."""
    return f"vnb{trunk[3:]}"


def far_end(namespace: str, leg: str) -> str:
    """The other end of a leg, as the port of a bridge is called: unique among all namespaces."""
    subnet = SUBNET_LEG.fullmatch(leg)
    return f"vnr{subnet[1]}" if subnet else f"vnl{sha256(f'{namespace} {leg}'.encode()).hexdigest()[:12]}"


def transit_end(namespace: str) -> str:
    """The gateway's end of a router's transit link."""
    return f"vt{namespace.rpartition('-')[2]}"


def mark_of_network(network_id: str) -> int:
    """A number for a network, never 0, by which a frame remembers the physical leg that it came in by."""
    return int(short_id(network_id)[:8], 16) or 1


def check_device(name: str, *, of: str) -> str:
    """Return `name` if it can name an interface, else raise DataplaneError; `of` is the id of the intent that has it."""
    if _DEVICE.fullmatch(name) is None or name in (".", ".."):
        raise DataplaneError(f"{of} has the device {name!r}; a device name is 1-15 letters, digits, '.', '_' and '-'")
    return name
