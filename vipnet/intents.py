"""What the network must do, in words of no particular data plane.

A closed union: a backend's compiler matches every kind and ends in `assert_never`, so a new kind is found by the type
checkers in each backend. Intents hold addresses, MACs, device names and ids; no name or text of a user.
Each native object follows from exactly one intent, so that deriving only what a change touched gives the same result as
deriving everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vipnet.model import AccessMode

__all__ = [
    "EipMapping",
    "Intent",
    "Member",
    "PortSecurity",
    "Released",
    "SubnetRouting",
    "SubnetSwitching",
    "Uplink",
    "UplinkSwitching",
    "VipBinding",
    "VpcRouting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """A way out. `index` is its place among the configured ones by name; `address`, its own, is (ip, prefix length)."""

    name: str
    index: int
    device: str
    address: tuple[int, int] | None
    gateway: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetSwitching:
    """One layer-2 segment. A classic network may have a physical leg, `leg`, and a VLAN there (0: untagged)."""

    network_id: str
    vpc_id: str
    leg: str | None
    vlan_id: int

    @property
    def id(self) -> str:
        return f"switch:{self.network_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetRouting:
    """The VPC's router has a leg in this subnet: it answers for the gateway and routes. Lengths are prefix lengths."""

    network_id: str
    vpc_id: str
    gateway: int
    length: int
    gateway6: int | None
    length6: int | None
    mac: str

    @property
    def id(self) -> str:
        return f"subnet:{self.network_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcRouting:
    """A router for one VPC.

    `mode` says what may cross an uplink: `eip` VIP traffic that has an EIP, as that EIP; `distgw` servers, masqueraded;
    `eip-distgw` both; `none` neither. `mac` answers for its EIPs. `tag` is unique among VPCs and at least 1.
    """

    vpc_id: str
    tag: int
    mode: AccessMode
    mac: str
    uplinks: tuple[Uplink, ...]

    @property
    def id(self) -> str:
        return f"vpc:{self.vpc_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkSwitching:
    """An uplink is in use: its device joins the segment on which routers answer for EIPs.

    `masquerade` is true on the one uplink by which `distgw` traffic leaves, with the uplink's own address.
    """

    uplink: Uplink
    masquerade: bool

    @property
    def id(self) -> str:
        return f"uplink:{self.uplink.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSecurity:
    """A server's port: the only MAC and addresses it may use, and the ports that its VRRP may reach.

    `ip` and `ip6` are the NIC's own addresses; `ips` and `ip6s`, sorted, add the VIPs of its server's groups in this
    network. A port with IPv6 addresses also has the link-local one of its MAC (`vipnet.addresses.link_local`).
    `vrrp_peers` are the devices of the other members of its groups here. Nothing else may come from the port, nor
    unicast IP go to it that is addressed to anybody else.
    """

    nic_id: str
    network_id: str
    vpc_id: str
    device: str
    mac: str
    ip: int
    ips: tuple[int, ...]
    ip6s: tuple[int, ...]
    vrrp_peers: tuple[str, ...]
    ip6: int | None = None

    @property
    def id(self) -> str:
        return f"port:{self.nic_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A port that may hold a VIP."""

    nic_id: str
    device: str
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VipBinding:
    """A VIP and the ports that may hold it, in the order of the group's members."""

    vip_id: str
    group_id: str
    network_id: str
    vpc_id: str
    ip: int
    ip6: int | None
    members: tuple[Member, ...]

    @property
    def id(self) -> str:
        return f"vip:{self.vip_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EipMapping:
    """A public address mapped 1:1 to a VIP of a VPC. `uplink` None: none is configured for the EIP's network, `network`.

    `bandwidth` in 10^6 bit/s each way, None: unlimited.
    """

    eip_id: str
    vpc_id: str
    network_id: str
    eip: int
    vip: int
    bandwidth: int | None
    uplink: Uplink | None

    @property
    def id(self) -> str:
        return f"eip:{self.eip_id}"


Intent = SubnetSwitching | SubnetRouting | VpcRouting | UplinkSwitching | PortSecurity | VipBinding | EipMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """An address whose old life has ended and must not leak: unmapped, moved to another VPC, or taken from a port.

    `eip` is the public address of a mapping that went (None: a private address left a port), `ip` the private one, of IP
    `version`. `eip_id` is set when the EIP left its VPC's router, where it was counted. `mac` is that of the port which the
    address was taken from: who else has it is not concerned. None: not known, so everybody is.
    """

    vpc_id: str
    network_id: str
    ip: int
    eip: int | None
    version: Literal[4, 6] = 4
    eip_id: str | None = None
    mac: str | None = None
