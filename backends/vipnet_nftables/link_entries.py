"""Links, addresses, routes, rules and settings as entries; each knows the commands that make and unmake it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "PROTOCOL",
    "Address",
    "Bridge",
    "Command",
    "Namespace",
    "Route",
    "Rule",
    "Sysctl",
    "Veth",
    "Vlan",
]

PROTOCOL = "86"
"""The number of our routes, as `proto` of iproute2."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line for `ip -batch` in a namespace ("": the host's), or with `sysctl` a setting `name=value` to be written there.

    Commands run in the order of their phases.
    """

    phase: int
    where: str
    line: str
    sysctl: bool = False


class _OfLinks:
    __slots__ = ()

    @property
    def target(self) -> str:
        return "links"


@dataclass(frozen=True, slots=True)
class Namespace(_OfLinks):
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
            Command(0, "", self.text),
            Command(1, self.name, f'link set lo alias "{self.alias}"'),
            Command(1, self.name, "link set lo up"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(9, "", f"netns del {self.name}"),)


@dataclass(frozen=True, slots=True)
class Bridge(_OfLinks):
    """A segment; made down, set up by an entry of its own when its rules are in."""

    name: str

    @property
    def key(self) -> str:
        return f"bridge {self.name}"

    @property
    def text(self) -> str:
        return f"link add name {self.name} type bridge"

    def making(self) -> tuple[Command, ...]:
        settings = "stp_state 0 mcast_snooping 0"  # VRRP must reach members though nobody asks for its group
        return (
            Command(2, "", f"{self.text} {settings}"),
            Command(2, "", f"link set dev {self.name} addrgenmode none"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(8, "", f"link del dev {self.name}"),)


@dataclass(frozen=True, slots=True)
class Vlan(_OfLinks):
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
        return (Command(2, "", self.text),)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(8, "", f"link del dev {self.name}"),)


@dataclass(frozen=True, slots=True)
class Veth(_OfLinks):
    """A leg `name` in `namespace`; its far end, in `far_namespace`, is down until an entry of its own sets it up.

    `mac` "": any. `master`: the bridge of the far end, "" for none. `up`: whether the leg is.
    """

    name: str
    namespace: str
    mac: str
    far: str
    far_namespace: str
    master: str
    up: bool = True

    @property
    def key(self) -> str:
        return f"veth {self.far}"

    @property
    def text(self) -> str:
        state = "" if self.up else " (down)"
        return f"link add name {self.far} type veth peer name {self.name}{self._mac} netns {self.namespace}{state}"

    @property
    def _mac(self) -> str:
        return f" address {self.mac}" if self.mac else ""

    def making(self) -> tuple[Command, ...]:
        add = f"link add name {self.far} type veth peer name {self.name}{self._mac} netns {self.namespace}"
        there = self.far_namespace
        return Command(3, there, add), Command(3, there, f"link set dev {self.far} addrgenmode none"), *self.adjusting()

    def adjusting(self) -> tuple[Command, ...]:
        """Put right what can be without making it anew."""
        master = f"master {self.master}" if self.master else "nomaster"
        return (
            Command(4, self.far_namespace, f"link set dev {self.far} {master}"),
            Command(4, self.namespace, f"link set dev {self.name}{self._mac} up"),
        )

    def is_adjustable(self, old: Veth) -> bool:
        """Whether it is the same pair as `old`."""
        return (self.name, self.namespace, self.far_namespace) == (old.name, old.namespace, old.far_namespace)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(7, self.far_namespace, f"link del dev {self.far}"),)


@dataclass(frozen=True, slots=True)
class Address(_OfLinks):
    """An address of an interface."""

    namespace: str
    device: str
    address: str

    @property
    def key(self) -> str:
        return f"address {self.namespace} {self.device} {self.address}"

    @property
    def text(self) -> str:
        return f"-n {self.namespace} address replace {self.address} dev {self.device}"

    def making(self) -> tuple[Command, ...]:
        return (Command(5, self.namespace, f"address replace {self.address} dev {self.device}"),)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(6, self.namespace, f"address del {self.address} dev {self.device}"),)


@dataclass(frozen=True, slots=True)
class Route(_OfLinks):
    """A route with our protocol number; `route` begins with its destination."""

    namespace: str
    table: str
    route: str

    @property
    def key(self) -> str:
        return f"route {self.namespace} {self.table} {self._destination}"

    @property
    def text(self) -> str:
        return f"-n {self.namespace} route replace {self.route} table {self.table}"

    @property
    def _destination(self) -> str:
        return self.route.removeprefix("local ").partition(" ")[0]

    def making(self) -> tuple[Command, ...]:
        return (Command(6, self.namespace, f"route replace {self.route} table {self.table} proto {PROTOCOL}"),)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(5, self.namespace, f"route del {self.route} table {self.table} proto {PROTOCOL}"),)


@dataclass(frozen=True, slots=True)
class Rule(_OfLinks):
    """A routing rule."""

    namespace: str
    pref: int
    rule: str

    @property
    def key(self) -> str:
        return f"rule {self.namespace} {self.pref} {self.rule}"

    @property
    def text(self) -> str:
        return f"-n {self.namespace} rule add pref {self.pref} {self.rule}"

    def making(self) -> tuple[Command, ...]:
        return (Command(6, self.namespace, f"rule add pref {self.pref} {self.rule}"),)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(5, self.namespace, f"rule del pref {self.pref} {self.rule}"),)


@dataclass(frozen=True, slots=True)
class Sysctl(_OfLinks):
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
        return (Command(4 if self.device else 1, self.namespace, f"{self.name}={self.value}", sysctl=True),)

    def unmaking(self) -> tuple[Command, ...]:
        return ()  # it goes with its namespace or interface
