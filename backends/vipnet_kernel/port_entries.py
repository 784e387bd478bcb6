"""What connects: entries of the target `ports`, which come after the rules and go before them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vipnet_kernel.link_entries import Command, command, without_ipv6
from vipnet_kernel.requests import Device

__all__ = ["Attachment", "Up"]


class _OfPorts:
    __slots__ = ()

    @property
    def target(self) -> str:
        return "ports"


@dataclass(frozen=True, slots=True)
class Attachment(_OfPorts):
    """An interface that somebody else made is a port of a bridge of ours, and up.

    It can be there only while `needs` exists in the host's namespace.
    """

    device: str
    bridge: str
    up: bool = True
    needs: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        return f"attachment {self.device}"

    @property
    def text(self) -> str:
        return f"link set dev {self.device} master {self.bridge} {'up' if self.up else 'down'}"

    def making(self) -> tuple[Command, ...]:
        return (
            without_ipv6(3, "", self.device),
            command(3, "", "link", "set", ifname=self.device, master=Device(self.bridge)),
            command(3, "", "link", "set", ifname=self.device, state="up"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (
            command(6, "", "link", "set", ifname=self.device, state="down"),
            command(6, "", "link", "set", ifname=self.device, master=0),
        )


@dataclass(frozen=True, slots=True)
class Up(_OfPorts):
    """An interface of ours is up: a bridge, or the far end of a leg."""

    namespace: str
    device: str

    @property
    def key(self) -> str:
        return f"up {self.namespace} {self.device}"

    @property
    def text(self) -> str:
        return f"link set dev {self.device} up"

    def making(self) -> tuple[Command, ...]:
        return (
            without_ipv6(4, self.namespace, self.device),
            command(4, self.namespace, "link", "set", ifname=self.device, state="up"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (command(5, self.namespace, "link", "set", ifname=self.device, state="down"),)
