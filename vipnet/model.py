"""The nouns: frozen, flat, one field a scalar, references by id.

Flat on purpose: a table of the store is a class here, column by column, and an object is shared between snapshots
without a deep copy. Addresses are ints (`Ip4`, `Ip6`); prefixes are canonical text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NewType

from vipnet.errors import InputParameterError

__all__ = [
    "DEFAULT_VPC",
    "DEVICE_NAME",
    "AccessMode",
    "Address",
    "AddressState",
    "AllocDir",
    "ChargeType",
    "Eip",
    "Host",
    "InstanceGroup",
    "Ip4",
    "Ip6",
    "Membership",
    "Network",
    "Nic",
    "OwnerType",
    "Server",
    "ServerType",
    "Thing",
    "Vip",
    "Vpc",
    "check_name",
    "check_notes",
    "mac_of",
    "short_id",
]

Ip4 = NewType("Ip4", int)
Ip6 = NewType("Ip6", int)

AccessMode = Literal["eip", "distgw", "eip-distgw", "none"]
AllocDir = Literal["stepdown", "stepup", "random", "none"]
ServerType = Literal["guest", "eip"]
ChargeType = Literal["bandwidth", "traffic"]
OwnerType = Literal["servers", "instancegroups", "elasticips", "reserved"]
AddressState = Literal["used", "leaving", "reserved", "resting"]

DEFAULT_VPC = "default"
"""Id and name of the built-in classic VPC."""

DEVICE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,15}")
"""What may name a network interface here: within the kernel's IFNAMSIZ, and safe in every tool."""

_NAME = re.compile(r"[^\W_][\w.\-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A private address space. `tag` is its small number, unique among VPCs, lowest free first (0: the classic VPC)."""

    id: str
    name: str
    cidr: str
    cidr6: str | None
    external_access_mode: AccessMode
    tag: int

    @property
    def has_eip(self) -> bool:
        """Whether VIPs of this VPC may have EIPs."""
        return self.external_access_mode in ("eip", "eip-distgw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A subnet: one layer-2 segment, an IPv4 prefix and perhaps an IPv6 one. `start`..`end` is the range, inclusive."""

    id: str
    name: str
    project: str
    shared: bool
    vpc_id: str
    zone: str
    server_type: ServerType
    bgp_type: str
    vlan_id: int
    prefix: str
    start: Ip4
    end: Ip4
    gateway: Ip4 | None
    prefix6: str | None
    start6: Ip6 | None
    end6: Ip6 | None
    gateway6: Ip6 | None
    alloc_policy: AllocDir
    alloc_timeout_seconds: int

    @property
    def length(self) -> int:
        """Prefix length of the IPv4 prefix."""
        return int(self.prefix.rpartition("/")[2])

    @property
    def length6(self) -> int | None:
        """Prefix length of the IPv6 prefix."""
        return None if self.prefix6 is None else int(self.prefix6.rpartition("/")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that servers run on."""

    id: str
    name: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A virtual machine."""

    id: str
    name: str
    project: str
    host_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A server's interface in one network; `position` orders the NICs of a server; `device` is its port on the host."""

    id: str
    server_id: str
    network_id: str
    position: int
    mac: str
    device: str
    ip: Ip4
    ip6: Ip6 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """An anti-affinity group. `vrid` is the one wished for, None: any; the one in force belongs to the VIP."""

    id: str
    name: str
    project: str
    zone: str
    enabled: bool
    frozen: bool
    granularity: int
    force_dispersion: bool
    service_type: str
    parent_id: str
    sched_strategy: str
    vrid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A server in a group; `position` is the order of joining, which is the order of keepalived's priorities."""

    id: str
    group_id: str
    server_id: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vip:
    """A virtual IP of a group: an IPv4 address, perhaps with an IPv6 one. `vrid` None: no VRID was free."""

    id: str
    group_id: str
    network_id: str
    ip: Ip4
    ip6: Ip6 | None
    vrid: int | None

    @property
    def vrid_key(self) -> tuple[str, int] | None:
        """What must be unique: the VRID within the network."""
        return None if self.vrid is None else (self.network_id, self.vrid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eip:
    """An elastic IP; mapped 1:1 to a VIP while `vip_id` is set. `bandwidth` in 10^6 bit/s, None: unlimited."""

    id: str
    name: str
    project: str
    network_id: str
    ip: Ip4
    bandwidth: int | None
    bgp_type: str
    charge_type: ChargeType
    auto_dellocate: bool
    vip_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of one network that is not plainly free: the single place where ownership of addresses is kept.

    `state` is `used` (by `owner_id`), `leaving` (released, but the data plane has not been seen without it),
    `reserved` (until `until`, None: for ever) or `resting` (free, but the automatic choice passes it over until `until`).
    `until` is in seconds of the epoch.
    """

    network_id: str
    version: int
    ip: int
    state: AddressState
    owner_type: OwnerType
    owner_id: str
    notes: str
    until: float | None

    @property
    def address(self) -> tuple[int, int]:
        """IP version and address, which several networks may have."""
        return self.version, self.ip

    @property
    def id(self) -> str:
        """The key: network and address."""
        return f"{self.network_id}/{self.version}/{self.ip}"


Thing = Vpc | Network | Host | Server | Nic | InstanceGroup | Membership | Vip | Eip | Address


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may name an object of `kind`, else raise InputParameterError.

    1-128 characters: Unicode letters and digits, `.`, `_`, `-`, beginning with a letter or digit.
    """
    if _NAME.fullmatch(name) is None:
        raise InputParameterError(
            f"{kind} name {name!r} is not accepted; use 1-128 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return name


def check_notes(text: str) -> str:
    """Return `text` if it is at most 256 printable characters, else raise InputParameterError."""
    if len(text) > 256 or any(unicodedata.category(character)[0] == "C" for character in text):
        raise InputParameterError(f"notes {text[:40]!r} are not accepted; use up to 256 printable characters")
    return text


def short_id(id: str) -> str:
    """The first twelve hex digits of a UUID: what native names are made of, within the kernel's 15 characters."""
    return id.replace("-", "")[:12]


def mac_of(id: str) -> str:
    """A locally administered unicast MAC address derived from a UUID."""
    digits = id.replace("-", "")[:10]
    return "02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))
