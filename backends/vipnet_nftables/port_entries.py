"""What connects: entries of the target `ports`, which come after the rules and go before them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vipnet_nftables.link_entries import Command

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
            Command(3, "", f"link set dev {self.device} addrgenmode none"),
            Command(3, "", f"link set dev {self.device} master {self.bridge}"),
            Command(3, "", f"link set dev {self.device} up"),
        )

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(6, "", f"link set dev {self.device} down"), Command(6, "", f"link set dev {self.device} nomaster"))


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
        return (Command(4, self.namespace, self.text),)

    def unmaking(self) -> tuple[Command, ...]:
        return (Command(5, self.namespace, f"link set dev {self.device} down"),)
