"""Packets sent, watched, and compared with what the simulator says of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vipnet.testing import frames
from vipnet.testing.differential.case import Question, QuestionProtocol
from vipnet.testing.differential.disagreement import DisagreementError
from vipnet.testing.differential.oracle import Expectation, Oracle, Sighting
from vipnet.testing.differential.packets import Heard, ask, build, mark_of
from vipnet.testing.differential.tally import Tally
from vipnet.testing.differential.wire import Machine, Wire
from vipnet.testing.probe import Announcement

__all__ = ["Traffic"]

_SILENCE = 0.006
"""Seconds without any frame after which nothing more is under way: between namespaces a frame takes microseconds."""

_PAUSES = (0.03, 0.1, 0.3, 0.6, 1.0, 1.5)
"""What should have been seen is sent again after these: a link just made may take a second to carry anything."""

_ANYBODY = bytes.fromhex("0200000000fd")


@dataclass(slots=True, eq=False)
class _Flight:
    """A question under way."""

    question: Question
    expected: Expectation
    seen: set[Sighting] = field(default_factory=set[Sighting])
    is_over: bool = False

    @property
    def is_complete(self) -> bool:
        return self.expected.seen <= self.seen

    @property
    def is_right(self) -> bool:
        return self.expected.seen <= self.seen <= self.expected.seen | self.expected.tolerated


class Traffic:
    """What the machines of a case send. Unless `patient`, what does not arrive is not waited for."""

    def __init__(self, wire: Wire, oracle: Oracle, tally: Tally, *, backend: str, patient: bool) -> None:
        self._wire, self._asked, self._tally, self._backend = wire, oracle, tally, backend
        self._pauses = _PAUSES if patient else _PAUSES[:2]
        self._flights: dict[bytes, _Flight] = {}
        self._resolutions: dict[tuple[str, str, str], _Flight] = {}
        self._macs: dict[tuple[str, str], bytes] = {}
        self._late: list[_Flight] = []
        self._claims: set[tuple[str, str]] = set()
        self._present: dict[str, str] = {}
        self._names = {machine.mac: name for name, machine in wire.machines.items()}

    def announce(self, device: str, ip: str, form: Announcement) -> None:
        """Let a machine answer for an address from now on, and announce it. Raises DisagreementError."""
        self._prepare()
        self._claims.add((device, ip))
        proto: QuestionProtocol = "na" if ":" in ip else "arp-request" if form == "request" else "arp-reply"
        question = Question(sender=device, proto=proto, src=ip, dst=ip)
        flight = _Flight(question, self._asked.expectation(question))
        self._give_addresses()
        self._fly([flight])

    def ask(self, questions: Sequence[Question]) -> None:
        """Send packets that can be compared. Raises DisagreementError."""
        self._prepare()
        known, flights = set[object](), list[_Flight]()
        for question in questions:
            # An answer does not say which of two questions it is to.
            key = (question.sender, question.src, question.dst) if question.asks else question
            if key in known or not self._asked.is_comparable(question):
                self._tally.restricted += 1
            else:
                known.add(key)
                flights.append(_Flight(question, self._asked.expectation(question)))
        self._resolve(flights)
        self._fly(flights)

    def _prepare(self) -> None:
        """Bring the machines to what the model says: who has a port is there, and who is new announces itself."""
        self._wire.wait_for_carriers(self._asked.nics, 1.5)
        self._give_addresses()
        for device, nic in self._asked.nics.items():
            if self._present.get(device) != nic.id:
                self._claims = {claim for claim in self._claims if claim[0] != device}
                for ip in sorted(self._asked.own_ips(device)):
                    self._wire.machines[device].announce(ip)
        self._present = {device: nic.id for device, nic in self._asked.nics.items()}
        self._listen(_SILENCE)

    def _give_addresses(self) -> None:
        """Each machine has its own address, VIPs that it holds, and what it has taken without being a member."""
        for name, machine in self._wire.machines.items():
            machine.answers = self._asked.own_ips(name)
        for device, ip in self._asked.held():
            self._wire.machines[device].answers.add(ip)
        for device, ip in self._claims:
            if device in self._asked.nics and not self._asked.is_member(device, ip):
                self._wire.machines[device].answers.add(ip)

    def _resolve(self, flights: Sequence[_Flight]) -> None:
        """Let the senders ask for their next hops, as hosts do: again, where an answer should come."""
        self._macs.clear()
        wanted = {(one.question.sender, hop) for one in flights if (hop := self._asked.next_hop(one.question)) is not None}
        wanted |= {(one.question.sender, one.question.via) for one in flights if one.question.via is not None}
        asked = {pair: self._is_answered(*pair) for pair in sorted(wanted)}
        for pause in (0.0, *self._pauses):
            self._listen(pause)
            left = [pair for pair, is_answered in asked.items() if pair not in self._macs and (is_answered or not pause)]
            for sender, ip in left:
                machine = self._wire.machines[sender]
                machine.send(ask(machine.mac, self._asking(sender, ip), ip))
            self._listen(_SILENCE)
            if all(pair in self._macs for pair, is_answered in asked.items() if is_answered):
                return

    def _is_answered(self, sender: str, ip: str) -> bool:
        question = Question(sender=sender, proto="ns" if ":" in ip else "arp-request", src=self._asking(sender, ip), dst=ip)
        return any(sighting.who.startswith("answer") for sighting in self._asked.expectation(question).seen)

    def _asking(self, sender: str, ip: str) -> str:
        """As whom a machine asks for an address; one that has none of the family asks all the same, and in vain."""
        return self._asked.own_ip(sender, 6 if ":" in ip else 4) or "fe80::1"

    def _fly(self, flights: Sequence[_Flight]) -> None:
        self._resolutions = {
            (one.question.sender, one.question.dst, one.question.src): one
            for one in flights
            if one.question.asks
        }
        waiting = list(flights)
        for pause in (0.0, *self._pauses):
            self._listen(pause)
            waiting = [one for one in waiting if not (pause and one.is_complete)]
            self._tally.resent += len(waiting) * bool(pause)
            for one in waiting:
                self._launch(one)
            self._listen(_SILENCE)
            if all(one.is_complete for one in flights):
                break
            waiting = [one for one in waiting if not one.is_complete]
        self._resolutions = {}
        for one in flights:
            one.is_over = True
            self._tally.note_packet(one.question, one.expected)
        self._check([*flights, *self._late])

    def _launch(self, flight: _Flight) -> None:
        question, sender = flight.question, self._wire.machines[flight.question.sender]
        hop, target = self._asked.next_hop(question), None
        if question.onto is not None:
            target = self._wire.machines[question.onto].mac
        elif hop is not None:
            target = self._macs.get((question.sender, hop)) or self._macs.get((question.sender, question.via or hop))
            if target is None:
                return  # nobody answers: a host has nowhere to send it
        elif not question.is_for_all:
            target = _ANYBODY
        number = self._tally.next_number()
        self._flights[mark_of(number)] = flight
        source = sender.mac if question.mac is None else frames.mac_bytes(question.mac)
        sender.send(build(question, source=source, target=target, number=number))

    def _listen(self, silence: float) -> None:
        until = time.monotonic() + max(silence, 2.0)
        for machine, said in self._wire.heard(silence):
            self._note(machine, said)
            if time.monotonic() > until:
                return

    def _note(self, machine: Machine, said: Heard) -> None:
        if said.kind == "tells" and said.dst in machine.answers and said.src != said.dst:
            self._macs[machine.name, said.src] = said.mac
        if said.kind == "tells" and self._is_answer(machine, said):
            who = f"answer of {self._names.get(said.mac, 'router')}"
            self._see(self._resolutions.get((machine.name, said.src, said.dst)), Sighting(who, said.src, said.dst))
        elif said.kind == "echo-reply":
            self._see(self._flights.get(said.mark), Sighting("answer of router", said.src, said.dst))
        elif said.mark:
            self._see(self._flights.get(said.mark), Sighting(machine.name, said.src, said.dst))

    def _is_answer(self, machine: Machine, said: Heard) -> bool:
        """Whether it is nobody's question; a switch may make the answer of the question itself, with what is behind its end."""
        flight = self._flights.get(said.mark)
        return not said.mark or (flight is not None and flight.question.sender == machine.name)

    def _see(self, flight: _Flight | None, sighting: Sighting) -> None:
        if flight is None or sighting in flight.seen:
            return
        flight.seen.add(sighting)
        if flight.is_over and not (flight.is_right or flight.expected.may_come_late):
            self._late.append(flight)

    def _check(self, flights: Sequence[_Flight]) -> None:
        for one in flights:
            if not one.is_right:
                question = None if self._asked.is_announcement(one.question) else one.question
                raise DisagreementError("packet", _difference(one, self._backend), question)


def _difference(flight: _Flight, name: str) -> str:
    verdict = flight.expected.verdict
    way = "".join(f"\n    {step.stage}: {step.action}" for step in verdict.steps)
    return (
        f"{flight.question!r}\nsimulator: {_sightings(flight.expected.seen)}{way}\n{name}: {_sightings(flight.seen)}"
    )


def _sightings(seen: Iterable[Sighting]) -> str:
    return ", ".join(f"{who} {src} > {dst}" for who, src, dst in sorted(seen)) or "nobody"
