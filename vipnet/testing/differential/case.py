"""A differential case as data: verbs, announcements and packets, which run anywhere and print as Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from vipnet.testing.probe import OUTSIDE, VRRP_GROUP, VRRP_GROUP6, Announcement

__all__ = [
    "BEYOND",
    "OUTSIDE",
    "Announce",
    "Ask",
    "Case",
    "Question",
    "QuestionProtocol",
    "Setting",
    "Step",
    "Together",
    "Verb",
    "script",
]

BEYOND = "beyond"
"""The machine beyond the leg of the classic network."""

Setting: TypeAlias = Literal["plain", "nameless", "islands"]
"""The configuration: an uplink with an address and a classic leg; an uplink without an address; no uplink at all."""

QuestionProtocol: TypeAlias = Literal["tcp", "udp", "icmp", "vrrp", "arp-request", "arp-reply", "ns", "na", "ra", "tagged"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of a Controller, by its path ("groups.create_eip"), with its arguments."""

    path: str
    args: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def run(self, session: Any) -> Any:
        """Run it on a Controller or a Transaction and return what it returns."""
        target = session
        for name in self.path.split("."):
            target = getattr(target, name)
        return target(*self.args, **dict(self.options))

    def text(self, on: str) -> str:
        """The call as Python."""
        words = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.options)]
        return f"{on}.{self.path}({', '.join(words)})"

    def lines(self) -> Iterator[str]:
        yield self.text("cloud")


@dataclass(frozen=True, slots=True)
class Together:
    """Verbs of one transaction."""

    verbs: tuple[Verb, ...]

    def run(self, session: Any) -> Any:
        with session.transaction() as tx:
            return [verb.run(tx) for verb in self.verbs]

    def lines(self) -> Iterator[str]:
        yield "with cloud.transaction() as tx:"
        for verb in self.verbs:
            yield f"    {verb.text('tx')}"


@dataclass(frozen=True, slots=True)
class Announce:
    """The machine at a port begins to answer for an address and announces it, may it or not."""

    device: str
    ip: str
    form: Announcement = "request"

    def lines(self) -> Iterator[str]:
        yield f"cloud.announce({self.device!r}, {self.ip!r}, {self.form!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One packet of a new flow, of the family of its addresses. `sender` is the device of a port, OUTSIDE or BEYOND.

    `ns` and `na` are a neighbour solicitation and an unsolicited advertisement; their `dst` is the target, `ra` a
    router advertisement, and `tagged` a datagram to all in VLAN 5.
    `onto` is the device to whose MAC it goes; `via` the address to whose MAC it goes, if nobody answers for `dst`; with
    neither it goes where a host would send it. `mac` is a forged source MAC, also inside ARP and ND.
    """

    sender: str
    proto: QuestionProtocol
    src: str
    dst: str
    mac: str | None = None
    onto: str | None = None
    via: str | None = None

    @property
    def version(self) -> Literal[4, 6]:
        return 6 if ":" in self.dst else 4

    @property
    def is_resolution(self) -> bool:
        """Whether it is ARP or neighbour discovery."""
        return self.proto in ("arp-request", "arp-reply", "ns", "na")

    @property
    def is_for_all(self) -> bool:
        """Whether it goes to no machine's MAC."""
        return self.is_resolution or self.proto in ("ra", "tagged") or self.dst in (VRRP_GROUP, VRRP_GROUP6)

    @property
    def asks(self) -> bool:
        """Whether it asks who has an address."""
        return self.proto in ("arp-request", "ns")

    @property
    def is_gratuitous(self) -> bool:
        """Whether it announces its own sender."""
        return self.is_resolution and self.src == self.dst

    def __repr__(self) -> str:
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return f"Question({', '.join(f'{name}={value!r}' for name, value in given if value is not None)})"


@dataclass(frozen=True, slots=True)
class Ask:
    """Packets that are sent together."""

    questions: tuple[Question, ...]

    def lines(self) -> Iterator[str]:
        for question in self.questions:
            yield f"cloud.ask({question!r})"


Step: TypeAlias = Verb | Together | Announce | Ask


@dataclass(frozen=True, slots=True)
class Case:
    """Steps from an empty cloud."""

    setting: Setting
    steps: tuple[Step, ...]

    def with_steps(self, steps: Iterable[Step]) -> Case:
        return Case(self.setting, tuple(steps))


def script(case: Case, backend: str) -> str:
    """A test that runs a case alone, to be pasted into a file."""
    body = [line for step in case.steps for line in step.lines()] or ["pass"]
    return "\n".join(
        (
            "from vipnet.testing.differential import Arena, Question",
            "",
            "",
            "def test_the_backend_agrees_with_the_simulator() -> None:",
            f"    with Arena({backend!r}) as arena, arena.case({case.setting!r}) as cloud:",
            *(f"        {line}" for line in body),
            "",
            "",
            'if __name__ == "__main__":',
            "    test_the_backend_agrees_with_the_simulator()",
            "",
        )
    )
