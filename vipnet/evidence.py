"""What a packet on its way needs of a data plane's entries, and what is found of them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from vipnet.plan import Entry

__all__ = ["Finding", "Location", "Need", "Role", "State"]

E = TypeVar("E", bound=Entry)

Role = Literal["carries", "admits", "guards", "leads", "shows"]
"""What an entry is to a packet at one stage.

`carries`: without it the packet ends here. `guards`: without it nothing is checked. `leads`: without it the packet goes as if
what is decided here were not in force. `admits`: without it the packet ends here, as long as all that guards and leads is there.
`shows`: it makes no difference to where the packet goes, and is worth seeing (a counter, a limit).
"""

State = Literal["installed", "missing", "different", "absent", "changed"]
"""How an entry is found. `absent`: what it hangs on, an interface that others make, is not there yet. `changed`: rules that
belong to many entries are not as declared, and what they do to a packet is not known."""


@dataclass(frozen=True, slots=True)
class Need(Generic[E]):
    """An entry, and what it is to the packet; `instead`: the key of another one that takes its part while it is missing."""

    entry: E
    role: Role
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """How an entry is found; `detail` is what it has counted, or what is there instead, in the data plane's words."""

    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """Whom the network takes for the holder of a VIP: a MAC, and where that is known from, in the data plane's words."""

    mac: str
    words: str
