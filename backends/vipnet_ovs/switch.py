"""The bridge over OpenFlow: what it has, and what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from vipnet_ovs.agent import HOLDER
from vipnet_ovs.asking import flows
from vipnet_ovs.blanks import NUMBERED, Numbers, blanked, number_in
from vipnet_ovs.entries import Bucket, Entry
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow
from vipnet_ovs.metering import COUNTING, rate_of
from vipnet_ovs.names import LOST, OURS
from vipnet_ovs.pipeline import NUMBERS, TABLES
from vipnet_ovs.wire import messages, oxm
from vipnet_ovs.wire.bundle import Bundle
from vipnet_ovs.wire.connection import Connection
from vipnet_ovs.wire.messages import FlowCommand, GroupCommand, MeterCommand, Multipart, flow_mod, group_mod, meter_mod
from vipnet_ovs.wire.replies import FlowRow, flow_rows, group_rows, meter_rows, modified_flows, table_counts

__all__ = ["PATIENCE", "Group", "Installed", "State", "Switch", "lowest_free", "mark", "poke"]

_DYNAMIC: Final = {(NUMBERS["uplink_neighbour"], 100), (NUMBERS["neighbour"], HOLDER), (NUMBERS["watched"], 0)}
"""Tables and priorities of flows that come and go by themselves: learned neighbours, holders of VIPs."""

_VOLATILE: Final = frozenset({table for table, _ in _DYNAMIC})
PATIENCE: Final = 5.0
"""Seconds in which a switch that was just started has made the bridge that its database says."""

_MARKER: Final = NUMBERS["marker"]
_FLOOD: Final = NUMBERS["flood"]
_MARKED: Final = oxm.match({oxm.METADATA: 1})
_KEYSTONES: Final = frozenset({_FLOOD, NUMBERS["uplink_out"]})
"""Tables whose flows say, as entries, whether the fixed flows are as declared."""


@dataclass(slots=True)
class Group:
    """A group of copies: its number, and which ports it has, by number."""

    id: int
    ports: dict[int, bytes] = field(default_factory=dict[int, bytes])


class Installed(NamedTuple):
    """What the bridge has: entries of ours and of others in our tables."""

    entries: dict[str, Entry]
    intact: bool


class State(NamedTuple):
    """Cheap to ask: the mark of who programmed last, and the number of flows of each table that only changes by programming."""

    marker: int
    counts: Mapping[int, int]


class Switch:
    """The bridge at a socket. Not for two threads at once.

    Methods raise DataplaneError when it cannot be reached or does not answer: then the outcome is unknown, and all that was
    known of it is forgotten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._groups: dict[int, Group] | None = None
        self._taken: set[int] = set()
        self._monitored: Connection | None = None
        self._orphans: list[bytes] = []
        self._meters: dict[int, int] | None = None
        self._intact = False
        self.state: State | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._groups = self._meters = self.state = None
        self._intact = False

    def connection(self) -> Connection:
        """The connection, a new one if the switch has closed the old."""
        if self._connection is not None and not self._connection.is_alive():
            self.close()
        if self._connection is None:
            self._connection = Connection(self._path, patience=PATIENCE)
        return self._connection

    def looked(self) -> State:
        """How it is now: two short questions."""
        marked = messages.flows_request(xid=0, table=_MARKER, match=_MARKED)
        markers, (part,) = self.connection().ask_all(marked, messages.tables_request(xid=0))
        marker = next((row.cookie for row in chain.from_iterable(map(flow_rows, markers))), 0)
        counts = {table: count for table, count in table_counts(part, _MARKER).items() if table not in _VOLATILE}
        return State(marker, counts)

    def modified(self) -> bool:
        """Whether others than vipnet have modified flows of ours in place, as the switch says it since the first call.

        What vipnet modifies comes in one message with its mark; what is learned, and who holds a VIP, come and go by themselves.
        """
        connection = self.connection()
        if connection is not self._monitored:
            list(connection.ask(messages.monitor_request(xid=0)))
            self._monitored = connection
        found = False
        while (message := connection.receive(0)) is not None:
            flows = modified_flows(message) if message[1] == messages.Kind.MULTIPART_REPLY else []
            ours = any(table < _MARKER and (table, priority) not in _DYNAMIC for table, priority in flows)
            found |= ours and all(table != _MARKER for table, _ in flows)
        return found

    def is_bare(self) -> bool:
        """Whether there is nothing in our tables but what belongs to no object."""
        return self.looked().counts.items() <= Counter(flow.table for flow in fixed_flows()).items()

    def clear(self) -> None:
        """Take away what belongs to no object, and what was learned."""
        tables = [flow_mod(FlowCommand.DELETE, table=number) for number in range(len(TABLES))]
        self.connection().transact(tables)
        self.forget()

    def read(self, devices: Mapping[str, int]) -> Installed:
        """Everything in our tables, and the groups; `devices` are the numbers of ports."""
        meters = self._learn_meters()
        rows = {(row.table, row.priority, row.match): row for row in self._rows() if row.table < len(TABLES)}
        self._intact = self._without_fixed(rows)
        self._groups = self._learn_groups(rows.values())
        self._orphans = self._unused(rows.values(), meters)
        segments = {group.id: segment for segment, group in self._groups.items()}
        ports = {number: device for device, number in devices.items()}
        numbers = Numbers(ports, segments, meters)
        lasting = (row for row in rows.values() if (row.table, row.priority) not in _DYNAMIC and row.table != _MARKER)
        found = (blanked(row, numbers) for row in lasting)
        entries: dict[str, Entry] = {flow.key: flow for flow in map(self._marked, found)}
        entries.update((bucket.key, bucket) for bucket in self._buckets(ports))
        self.state = self.looked()
        return Installed(entries, self._intact)

    def rows(self, *, table: str, match: bytes = b"") -> Iterator[FlowRow]:
        """The flows of a table that match no less than this."""
        return self._rows(table=table, match=match)

    def groups(self) -> dict[int, Group]:
        """The groups of segments."""
        if self._groups is None:
            self._groups = self._learn_groups(self._rows(table="flood"))
        return self._groups

    def free_group(self) -> int:
        """A number that no group has; it has one from now on."""
        number = lowest_free(self._taken)
        self._taken.add(number)
        return number

    def meters(self) -> dict[int, int]:
        """The meters in use, by number, with their rate in Mbit/s."""
        if self._meters is None:
            self._meters = self._learn_meters()
        return self._meters

    def is_intact(self) -> bool:
        """Whether the fixed flows are as declared, as far as is known."""
        if not self._intact:
            self._intact = self._without_fixed({(row.table, row.priority, row.match): row for row in self._rows(cookie=OURS)})
        return self._intact

    def trust(self, state: State | None) -> None:
        """Take it for known that it is whole, being in a state that somebody left it in."""
        self._intact, self.state = state is not None, state

    def took(self, marker: int, gained: Mapping[int, int] | None) -> None:
        """Take notice that a bundle was carried out, by which tables gained so many flows; None: look."""
        self._intact = True
        if self.state is None or gained is None:
            self.state = self.looked()
            return
        counts = Counter(self.state.counts)
        counts.update({table: count for table, count in gained.items() if table not in _VOLATILE})
        self.state = State(marker, {table: count for table, count in counts.items() if count})

    @property
    def has_orphans(self) -> bool:
        """Whether groups or meters were there, when all was read last, that no flow uses: left by who died in the middle."""
        return bool(self._orphans)

    def sweep(self) -> None:
        """Take away groups and meters that no flow uses."""
        self.connection().transact(self._orphans)
        self._orphans = []
        self.forget_numbers()

    def _unused(self, rows: Iterable[FlowRow], meters: Iterable[int]) -> list[bytes]:
        used = {(row.table == _FLOOD, number_in(row.table, row.instructions)) for row in rows if row.table in NUMBERED}
        groups = [group_mod(GroupCommand.DELETE, number) for number in sorted(self._taken) if (True, number) not in used]
        return groups + [meter_mod(MeterCommand.DELETE, number) for number in sorted(meters) if (False, number) not in used]

    def forget_numbers(self) -> None:
        """Take the numbers of groups and meters for unknown."""
        self._groups = self._meters = None

    def forget(self) -> None:
        """Take nothing for known."""
        self._groups = self._meters = self.state = None
        self._intact = False

    def _rows(self, *, table: str = "", match: bytes = b"", cookie: int = 0) -> Iterator[FlowRow]:
        return flows(self.connection(), table=table, match=match, cookie=cookie)

    def _without_fixed(self, rows: dict[tuple[int, int, bytes], FlowRow]) -> bool:
        """Take the fixed flows out; whether they were all there and as declared."""
        intact = True
        for flow in fixed_flows():
            row = rows.get((flow.table, flow.priority, flow.match))
            intact &= row is not None and (row.instructions, row.cookie) == (flow.instructions, flow.cookie)
            rows.pop((flow.table, flow.priority, flow.match), None)
        return intact

    def _marked(self, flow: Flow) -> Flow:
        if flow.table in COUNTING:
            return flow._replace(cookie=flow.cookie & ~LOST)
        return flow._replace(intact=False) if flow.table in _KEYSTONES and not self._intact else flow

    def _learn_groups(self, rows: Iterable[FlowRow]) -> dict[int, Group]:
        """The groups of segments, each found by the flow that uses it."""
        parts = self.connection().ask(messages.groups_request(xid=0))
        by_number = {row.id: Group(row.id, dict(row.buckets)) for part in parts for row in group_rows(part)}
        self._taken = set(by_number)
        return {segment: by_number.get(number) or Group(number) for segment, number in self._segments(rows).items()}

    def _segments(self, rows: Iterable[FlowRow]) -> dict[int, int]:
        """The numbers of the groups of segments, by what their flows match."""
        found: dict[int, int] = {}
        for row in rows:
            if row.table == _FLOOD and (number := number_in(row.table, row.instructions)) is not None:
                found[oxm.fields_of(row.match)[oxm.XREG0.header][0]] = number
        return found

    def _learn_meters(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for part in self.connection().ask(messages.meters_request(Multipart.METER_DESC, xid=0)):
            found.update((row.id, rate_of(row.kbps, row.burst)) for row in meter_rows(part))
        self._meters = dict(found)
        return found

    def _buckets(self, ports: Mapping[int, str]) -> Iterator[Bucket]:
        for segment, group in (self._groups or {}).items():
            for number, wire in group.ports.items():
                yield Bucket(segment, ports.get(number, f"#{number}"), _vlan(wire))


def poke() -> bytes:
    """A change of flows that changes nothing."""
    return flow_mod(FlowCommand.ADD, table=_MARKER, match=oxm.match({oxm.METADATA: 2}), cookie=OURS)


def mark(bundle: Bundle, marker: int) -> None:
    """Say in a bundle who programs."""
    bundle.flow(FlowCommand.ADD, _MARKER, 0, _MARKED, cookie=marker)


def lowest_free(taken: set[int]) -> int:
    """The lowest number from 1 on that is not taken."""
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _vlan(wire: bytes) -> int:
    return 0 if len(wire) <= 16 else int.from_bytes(wire[16:18]) & 0xFFF
