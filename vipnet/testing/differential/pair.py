"""Two clouds that are given the same verbs, and are asked about the same packets."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from vipnet.controller import Controller
from vipnet.errors import RefusedError
from vipnet.intents import Intent
from vipnet.model import Eip, InstanceGroup, Membership, Network, Server, Vpc
from vipnet.operations.draft import World
from vipnet.reports import ApplyReport
from vipnet.testing.differential.case import Announce, Ask, Question, Step, Together, Verb
from vipnet.testing.differential.disagreement import DisagreementError
from vipnet.testing.differential.oracle import Oracle
from vipnet.testing.differential.tally import Tally
from vipnet.testing.differential.traffic import Traffic
from vipnet.testing.differential.wire import Wire
from vipnet.testing.probe import Announcement

__all__ = ["Pair", "worlds"]

_TICK = 11.0

class Pair:
    """The cloud of a case. Its nouns have the verbs of a Controller; both are given each, and must answer alike."""

    def __init__(self, oracle: Controller, tested: Controller, wire: Wire, tally: Tally, now: Clock, *, patient: bool) -> None:
        self.oracle, self.tested = oracle, tested
        self.steps: list[Step] = []
        self.refused: list[int] = []
        self._tally, self._clock, self._asked = tally, now, Oracle(oracle, copies=tested.backend.copies)
        self._traffic = Traffic(wire, self._asked, tally, backend=tested.backend.name, patient=patient)
        self.vpcs, self.networks, self.servers, self.groups, self.eips = map(
            partial(_Noun, self.run), ("vpcs", "networks", "servers", "groups", "eips")
        )

    def apply(self, *, audit: bool = False) -> None:
        """Apply on both; nothing is to be done."""
        self.run(Verb("apply", (), (("audit", True),) if audit else ()))

    @contextmanager
    def transaction(self) -> Generator[_Together, None, None]:
        """Collect verbs; both are given them in one transaction."""
        collected = _Together()
        yield collected
        self.run(Together(tuple(collected.verbs)))

    def run(self, step: Step) -> None:
        """Do one step of a case. Raises DisagreementError."""
        self.steps.append(step)
        match step:
            case Announce():
                self._traffic.announce(step.device, step.ip, step.form)
            case Ask():
                self._traffic.ask(step.questions)
            case _:
                self._do(step)

    def announce(self, device: str, ip: str, form: Announcement = "request") -> None:
        """Let the machine at a port answer for an address from now on, and announce it."""
        self.run(Announce(device, ip, form))

    def ask(self, *questions: Question) -> None:
        """Send packets; raise DisagreementError if one of them does not fare as in the simulator."""
        self.run(Ask(questions))

    @property
    def intents(self) -> Sequence[Intent]:
        """What is in force."""
        return self._asked.intents

    def refresh(self) -> None:
        """Take in what the simulator has installed, should anybody but a verb have changed it."""
        self._asked.refresh()

    def _do(self, step: Verb | Together) -> None:
        self._clock.now += _TICK
        expected, got = (_outcome(step, cloud) for cloud in (self.oracle, self.tested))
        if expected != got:
            text = f"{_text(step)}\nsimulator: {expected}\n{self.tested.backend.name}: {got}"
            raise DisagreementError("verb", text)
        if isinstance(expected, str):
            self.refused.append(len(self.steps) - 1)
        self._asked.refresh()
        self._tally.note_verb(step, self._asked.intents, refused=isinstance(expected, str))

    def clear(self) -> None:
        """Remove everything by verbs; raise DisagreementError if anything is left of it."""
        self._do(Together(tuple(_removal(self.oracle))))
        left = self.tested.backend.read()
        if left:
            raise DisagreementError("rest", "left: " + "\n".join(entry.text for entry in left.values()))


class Clock:
    """The same time for both; it passes between verbs."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def worlds(seed: str) -> tuple[Clock, World, World]:
    """Two worlds in which ids, time and chance are the same."""
    clock = Clock()
    return clock, _world(seed, clock), _world(seed, clock)


def _world(seed: str, clock: Clock) -> World:
    chance, ids = random.Random(seed), random.Random(f"ids {seed}")  # noqa: S311 -- to be the same in both
    return World(
        clock=clock, random=chance.randrange, new_id=lambda: str(UUID(int=ids.getrandbits(128), version=4))
    )


class _Noun:
    """The verbs of a noun, each a step of a Pair."""

    def __init__(self, run: Any, noun: str) -> None:
        self._run, self._noun = run, noun

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any, **options: Any) -> None:
            self._run(Verb(f"{self._noun}.{verb}", args, tuple(options.items())))

        return call


class _Together:
    """Verbs of a transaction that is being collected."""

    def __init__(self) -> None:
        self.verbs: list[Verb] = []
        self.vpcs, self.networks, self.servers, self.groups, self.eips = map(
            partial(_Noun, self.verbs.append), ("vpcs", "networks", "servers", "groups", "eips")
        )


def _outcome(step: Verb | Together, cloud: Controller) -> Any:
    """What a step answers, as text if it is refused or fails."""
    try:
        answer = step.run(cloud)
    except RefusedError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 -- whatever goes wrong in one of them alone is what we are after
        return f"{type(error).__name__}: {error!r}"
    return (answer.changed, answer.quarantined) if isinstance(answer, ApplyReport) else answer


def _text(step: Step) -> str:
    return "\n".join(step.lines())


def _removal(cloud: Controller) -> Iterator[Verb]:
    topology = cloud.topology
    for group in topology.all(InstanceGroup):
        if cloud.groups.show(group.id).vip_eip:
            yield Verb("groups.dissociate_eip", (group.id,))
    yield from (Verb("eips.delete", (eip.id,)) for eip in topology.all(Eip) if not (eip.auto_dellocate and eip.vip_id))
    members = {row.server_id for row in topology.all(Membership)}
    servers = sorted(topology.all(Server), key=lambda server: (server.id not in members, server.name))
    yield from (Verb("servers.delete", (server.id,)) for server in servers)
    yield from (Verb("groups.delete", (group.id,)) for group in topology.all(InstanceGroup))
    yield from (Verb("networks.delete", (network.id,)) for network in topology.all(Network))
    yield from (Verb("vpcs.delete", (vpc.id,)) for vpc in topology.all(Vpc) if vpc.tag)
