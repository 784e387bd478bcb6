"""Links, addresses and settings as entries; each knows the commands that make and unmake it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from vipnet_kernel.handles import Noun
from vipnet_kernel.requests import (
    Device,
    MakeNamespace,
    NamespaceOf,
    RemoveNamespace,
    Request,
    RouteRequest,
    SwitchOffIpv6,
    WriteSetting,
)

__all__ = [
    "Address",
    "Bridge",
    "Command",
    "Namespace",
    "OfLinks",
    "Sysctl",
    "Veth",
    "Vlan",
    "command",
    "without_ipv6",
]

_NO_PREFIX_ROUTE: Final = 0x200  # IFA_F_NOPREFIXROUTE, <linux/if_addr.h>

_SCOPE_LINK: Final = 253

_LEAST_GSO: Final = 321
"""More than any kernel's MAX_TCP_HEADER, which is the least it takes (rtnetlink.c). A virtual machine does not say of how many
segments it has merged a packet; by its size it is taken apart all the same."""

_ANY_GSO: Final = 65535, 65536
"""What a new interface has."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request to the kernel in a namespace ("": the host's). Commands run in the order of their phases."""

    phase: int
    where: str
    request: Request


def command(phase: int, where: str, noun: Noun, verb: str, **values: Any) -> Command:
    """A command to pyroute2's IPRoute: `noun(verb, **values)`."""
    return Command(phase, where, RouteRequest(noun, verb, values))


def without_ipv6(phase: int, where: str, device: str) -> Command:
    """Take an interface off IPv6 before it comes up.

    To have no address is not enough: a host that forwards IPv6 tells everybody on it which groups it listens to.
    """
    return Command(phase, where, SwitchOffIpv6(device))


class OfLinks:
    """What belongs to the target `links`."""

    __slots__ = ()

    @property
    def target(self) -> str:
        return "links"


@dataclass(frozen=True, slots=True)
class Namespace(OfLinks):
    """A namespace of ours, marked on its loopback interface with whose it is."""

    name: str
    owner: str

    @property
    def key(self) -> str:
        return f"namespace {self.name}"

    @property
    def text(self) -> str:
        return f"netns add {self.name}"

    @property
    def alias(self) -> str:
        return f"vipnet {self.owner}"

    def making(self) -> tuple[Command, ...]:
        return (
            Command(0, "", MakeNamespace(self.name)),
            command(1, self.name, "link", "set", ifname="lo", ifalias=self.alias, state="up"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(9, "", RemoveNamespace(self.name)),)


@dataclass(frozen=True, slots=True)
class Bridge(OfLinks):
    """A segment; made down, set up by an entry of its own when its rules are in."""

    name: str

    @property
    def key(self) -> str:
        return f"bridge {self.name}"

    @property
    def text(self) -> str:
        return f"link add name {self.name} type bridge"

    def making(self) -> tuple[Command, ...]:
        settings = {"br_stp_state": 0, "br_mcast_snooping": 0}  # VRRP must reach members though nobody asks for its group
        return (command(2, "", "link", "add", ifname=self.name, kind="bridge", **settings),)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(8, "", "link", "del", ifname=self.name),)


@dataclass(frozen=True, slots=True)
class Vlan(OfLinks):
    """The interface of one VLAN on a physical leg."""

    name: str
    leg: str
    vlan_id: int

    @property
    def key(self) -> str:
        return f"vlan {self.name}"

    @property
    def text(self) -> str:
        return f"link add link {self.leg} name {self.name} type vlan id {self.vlan_id}"

    def making(self) -> tuple[Command, ...]:
        return (command(2, "", "link", "add", ifname=self.name, kind="vlan", link=Device(self.leg), vlan_id=self.vlan_id),)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(8, "", "link", "del", ifname=self.name),)


@dataclass(frozen=True, slots=True)
class Veth(OfLinks):
    """A leg `name` in `namespace`; its far end, in `far_namespace`, is down until an entry of its own sets it up.

    `mac` "": any. `master`: the bridge of the far end, "" for none. `up`: whether the leg is. `single`: the
    far end takes apart what it hands to the leg. Senders and network cards merge packets of a connection (GSO, GRO), which
    would be limited and counted as one.
    """

    name: str
    namespace: str
    mac: str
    far: str
    far_namespace: str
    master: str
    up: bool = True
    single: bool = False

    @property
    def key(self) -> str:
        return f"veth {self.far}"

    @property
    def text(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        state = "" if self.up else " (down)"
        state += " gso_max_segs 1" if self.single else ""
        return f"link add name {self.far} type veth peer name {self.name}{mac} netns {self.namespace}{state}"

    @property
    def _mac(self) -> dict[str, str]:
        return {"address": self.mac} if self.mac else {}

    def making(self) -> tuple[Command, ...]:
        there = self.far_namespace
        peer = {"ifname": self.name, **self._mac, "net_ns_fd": NamespaceOf(self.namespace)}
        return (
            command(3, there, "link", "add", ifname=self.far, kind="veth", peer=peer),
            *self.adjusting(),
        )

    def adjusting(self) -> tuple[Command, ...]:
        """Put right what can be without making it anew."""
        master = Device(self.master) if self.master else 0
        segments, size = (1, _LEAST_GSO) if self.single else _ANY_GSO
        merging = {"gso_max_segs": segments, "gso_max_size": size}
        return (
            command(4, self.far_namespace, "link", "set", ifname=self.far, master=master, **merging),
            command(4, self.namespace, "link", "set", ifname=self.name, **self._mac, state="up"),
        )

    def is_adjustable(self, old: Veth) -> bool:
        """Whether it is the same pair as `old`."""
        return (self.name, self.namespace, self.far_namespace) == (old.name, old.namespace, old.far_namespace)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(7, self.far_namespace, "link", "del", ifname=self.far),)


@dataclass(frozen=True, slots=True)
class Address(OfLinks):
    """An address of an interface. `routes`: the kernel makes a route to its prefix, which comes and goes with it.

    `inner`: it is of scope link, so that the kernel never takes it for a sender on another interface.
    """

    namespace: str
    device: str
    address: str
    routes: bool = field(default=True, compare=False)
    inner: bool = field(default=False, compare=False)

    @property
    def key(self) -> str:
        return f"address {self.namespace} {self.device} {self.address}"

    @property
    def text(self) -> str:
        return f"-n {self.namespace} address replace {self.address} dev {self.device}"

    @property
    def _values(self) -> dict[str, Any]:
        address, _, length = self.address.partition("/")
        return {"index": Device(self.device), "address": address, "prefixlen": int(length)}

    def making(self) -> tuple[Command, ...]:
        flags = {} if self.routes else {"IFA_FLAGS": _NO_PREFIX_ROUTE}
        flags |= {"scope": _SCOPE_LINK} if self.inner else {}
        return (command(5, self.namespace, "addr", "replace", **self._values, **flags),)

    def unmaking(self) -> tuple[Command, ...]:
        return (command(6, self.namespace, "addr", "del", **self._values),)


@dataclass(frozen=True, slots=True)
class Sysctl(OfLinks):
    """A setting of a namespace; `device` is the interface that it belongs to, if any."""

    namespace: str
    name: str
    value: str
    device: str = ""

    @property
    def key(self) -> str:
        return f"sysctl {self.namespace} {self.name}"

    @property
    def text(self) -> str:
        return f"netns exec {self.namespace} sysctl net/{self.name}={self.value}"

    def making(self) -> tuple[Command, ...]:
        return (Command(4 if self.device else 1, self.namespace, WriteSetting(self.name, self.value)),)

    def unmaking(self) -> tuple[Command, ...]:
        return ()  # it goes with its namespace or interface
