"""The bridge over OpenFlow: what it has, and how it is changed in one bundle."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from vipnet.errors import DataplaneError
from vipnet.plan import TargetPlan
from vipnet_ovs import fields
from vipnet_ovs.agent import HOLDER, holder_match
from vipnet_ovs.asking import flows
from vipnet_ovs.blanks import Numbers, blanked, filled, number_in
from vipnet_ovs.entries import Bucket, Entry
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow, load
from vipnet_ovs.metering import COUNTING, burst_of, kbps_of, rate_of, told_of_loss
from vipnet_ovs.names import LOST, OURS
from vipnet_ovs.pipeline import NUMBERS, TABLES, by_number
from vipnet_ovs.wire import actions, messages, oxm
from vipnet_ovs.wire.connection import Connection
from vipnet_ovs.wire.messages import FlowCommand, GroupCommand, MeterCommand, Multipart, flow_mod, group_mod, meter_mod
from vipnet_ovs.wire.replies import FlowRow, group_rows, meter_rows, table_counts

__all__ = ["PATIENCE", "Installed", "Switch", "poke"]

_DYNAMIC: Final = {(NUMBERS["uplink_neighbour"], 100), (NUMBERS["neighbour"], HOLDER), (NUMBERS["watched"], 0)}
"""Tables and priorities of flows that come and go by themselves: learned neighbours, holders of VIPs."""

_VOLATILE: Final = frozenset({table for table, _ in _DYNAMIC})
PATIENCE: Final = 5.0
"""Seconds in which a switch that was just started has made the bridge that its database says."""

_NEIGHBOUR: Final = NUMBERS["neighbour"]
_MARKER: Final = NUMBERS["marker"]
_MARKED: Final = oxm.match({oxm.METADATA: 1})
_KEYSTONES: Final = frozenset({NUMBERS["flood"], NUMBERS["uplink_out"]})
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
        connection = self.connection()
        marker = next((row.cookie for row in self._rows(table="marker", match=_MARKED)), 0)
        (part,) = connection.ask(messages.tables_request(xid=0))
        counts = {table: count for table, count in table_counts(part).items() if table < _MARKER and table not in _VOLATILE}
        return State(marker, counts)

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
        segments = {group.id: segment for segment, group in self._groups.items()}
        ports = {number: device for device, number in devices.items()}
        numbers = Numbers(ports, segments, meters)
        found = (blanked(row, numbers) for row in rows.values() if (row.table, row.priority) not in _DYNAMIC and row.table != _MARKER)
        entries: dict[str, Entry] = {flow.key: flow for flow in map(self._marked, found)}
        entries.update((bucket.key, bucket) for bucket in self._buckets(ports))
        self.state = self.looked()
        return Installed(entries, self._intact)

    def apply(self, step: TargetPlan[Entry], devices: Mapping[str, int]) -> dict[str, str]:
        """Carry a step out in one bundle; return what was refused, by key."""
        self.connection()  # what was known of a bridge that has gone is forgotten
        change = _Change(self, devices)
        refused = change.carry_out(told_of_loss(step))
        if refused:
            self._groups = self._meters = None
        return refused

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
        number = _lowest_free(self._taken)
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

    def took(self, marker: int) -> None:
        """Take notice that a bundle was carried out."""
        self._intact = True
        self.state = None if marker == 0 else self.looked()

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
            if row.table == NUMBERS["flood"] and (number := number_in(row.table, row.instructions)) is not None:
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


class _Change:
    """One step on its way: what is sent before the bundle, in it and after it."""

    def __init__(self, switch: Switch, devices: Mapping[str, int]) -> None:
        self._switch, self._devices = switch, devices
        self._sent: list[bytes] = []
        self._keys: list[str] = []
        self._meters_to_add: list[tuple[int, int]] = []
        self._meters_to_delete: list[int] = []
        self._doomed: list[int] = []
        self._refused: dict[str, str] = {}

    def carry_out(self, step: TargetPlan[Entry]) -> dict[str, str]:
        comes = [*step.create, *(new for _, new in step.replace)]
        if comes and not self._switch.is_intact():
            self._put_fixed()
        replaced = {new.key: old for old, new in step.replace}
        # what goes first: a port that was made anew may have the number of the one that its old flows are about
        for entry in sorted(step.delete, key=_order, reverse=True):
            self._drop(entry)
        for entry in sorted(comes, key=_order):
            self._put(entry, replaced.get(entry.key))
        if self._refused:
            return self._refused
        return self._sent_out()

    def _put_fixed(self) -> None:
        for flow in fixed_flows():
            self._add("", flow_mod(FlowCommand.ADD, table=flow.table, priority=flow.priority, match=flow.match, instructions=flow.instructions, cookie=flow.cookie))

    def _put(self, entry: Entry, old: Entry | None) -> None:
        match entry:
            case Flow():
                self._put_flow(entry, old if isinstance(old, Flow) else None)
            case Bucket():
                self._put_bucket(entry)
            case _:
                raise TypeError(f"{entry.key} is no entry of the switch's tables")

    def _put_flow(self, flow: Flow, old: Flow | None) -> None:
        number = 0
        if flow.blank is not None:
            found = self._number(flow, old)
            if found is None:
                self._refused[flow.key] = f"{flow.blank.of} is no port of the bridge"
                return
            number = found
        elif old is not None and old.blank is not None and old.blank.kind == "meter":
            self._meters_to_delete.append(self._meter_of(old))
        self._forget_holder(flow, unless_copied=old is not None)
        match, instructions = filled(flow, number) if flow.blank is not None else (flow.match, flow.instructions)
        reset = old is not None and old.cookie != flow.cookie
        self._add(
            flow.key,
            flow_mod(
                FlowCommand.ADD, table=flow.table, priority=flow.priority, match=match, instructions=instructions, cookie=flow.cookie, reset=reset
            ),
        )

    def _number(self, flow: Flow, old: Flow | None) -> int | None:
        assert flow.blank is not None
        kind, of = flow.blank
        if kind == "port":
            return self._port(str(of))
        if kind == "group":
            return self._group(int(of), flow.key)
        return self._meter(int(of), old)

    def _port(self, device: str) -> int | None:
        return int(device[1:]) if device.startswith("#") else self._devices.get(device)

    def _group(self, segment: int, key: str) -> int:
        groups = self._switch.groups()
        if segment not in groups:
            number = self._switch.free_group()
            groups[segment] = Group(number)
            self._add(key, group_mod(GroupCommand.ADD, number))
        return groups[segment].id

    def _meter(self, rate: int, old: Flow | None) -> int:
        meters = self._switch.meters()
        if old is not None and old.blank is not None and old.blank.kind == "meter" and (number := self._meter_of(old)):
            if meters.get(number) != rate:
                self._meters_to_add.append((number, rate))
            return number
        taken = {*meters, *(number for number, _ in self._meters_to_add)}
        number = _lowest_free(taken)
        self._meters_to_add.append((number, rate))
        return number

    def _meter_of(self, flow: Flow) -> int:
        """The number of the meter that an installed flow has; 0: it is not there."""
        for row in self._switch.rows(table=by_number(flow.table) or "", match=flow.match):
            if (row.priority, row.match) == (flow.priority, flow.match):
                return number_in(row.table, row.instructions) or 0
        return 0

    def _put_bucket(self, bucket: Bucket) -> None:
        number, group = self._port(bucket.device), self._switch.groups().get(bucket.segment)
        if number is None or group is None:
            self._refused[bucket.key] = f"{bucket.device} is no port of the bridge" if number is None else "its segment is not there"
            return
        wire = _bucket_actions(number, bucket.vlan)
        if number in group.ports:
            if group.ports[number] == wire:
                return
            self._add(bucket.key, group_mod(GroupCommand.REMOVE_BUCKET, group.id, bucket_id=number))
        group.ports[number] = wire
        self._add(bucket.key, group_mod(GroupCommand.INSERT_BUCKET, group.id, buckets=messages.bucket(number, wire)))

    def _drop(self, entry: Entry) -> None:
        match entry:
            case Flow():
                self._drop_flow(entry)
            case Bucket():
                number, group = self._port(entry.device), self._switch.groups().get(entry.segment)
                if group is not None and number is not None and group.ports.pop(number, None) is not None:
                    self._add(entry.key, group_mod(GroupCommand.REMOVE_BUCKET, group.id, bucket_id=number))
            case _:
                raise TypeError(f"{entry.key} is no entry of the switch's tables")

    def _drop_flow(self, flow: Flow) -> None:
        match = flow.match
        if flow.blank is not None:
            if flow.blank.kind == "port" and flow.table == 0:
                number = self._port(str(flow.blank.of))
                if number is None:
                    return  # its port has gone, and the number with it
                match, _ = filled(flow, number)
            elif flow.blank.kind == "meter" and (meter := self._meter_of(flow)):
                self._meters_to_delete.append(meter)
        self._forget_holder(flow)
        self._add(flow.key, flow_mod(FlowCommand.DELETE_STRICT, table=flow.table, priority=flow.priority, match=match))
        if flow.blank is not None and flow.blank.kind == "group":
            group = self._switch.groups().pop(int(flow.blank.of), None)
            if group is not None:
                self._add(flow.key, group_mod(GroupCommand.DELETE, group.id))

    def _forget_holder(self, flow: Flow, *, unless_copied: bool = False) -> None:
        """When an address's flow changes or goes, its holder is known no more; unless it still is one that gets a copy."""
        if flow.table != _NEIGHBOUR:
            return
        match = holder_match(flow.match)
        if unless_copied and any(_way(row.instructions) in flow.instructions for row in self._switch.rows(table="neighbour", match=match)):
            return
        self._add(flow.key, flow_mod(FlowCommand.DELETE_STRICT, table=flow.table, priority=HOLDER, match=match))

    def _add(self, key: str, message: bytes) -> None:
        self._keys.append(key)
        self._sent.append(message)

    def _sent_out(self) -> dict[str, str]:
        marker = secrets.randbits(47) | OURS
        self._add("", _marker(marker))
        connection = self._switch.connection()
        try:
            refused = self._set_meters(connection) or self._named(connection.bundle(self._sent))
            if not refused:
                connection.transact([meter_mod(MeterCommand.DELETE, number) for number in self._meters_to_delete if number])
                for number in self._meters_to_delete:
                    self._switch.meters().pop(number, None)
        except DataplaneError:
            self._switch.close()
            raise
        if not refused:
            self._switch.took(marker)
        return refused

    def _set_meters(self, connection: Connection) -> dict[str, str]:
        meters = self._switch.meters()
        sent: list[bytes] = []
        for number, rate in self._meters_to_add:
            command = MeterCommand.MODIFY if number in meters else MeterCommand.ADD
            sent.append(meter_mod(command, number, kbps=kbps_of(rate), burst=burst_of(rate)))
        refused = connection.transact(sent) if sent else []
        if refused:
            return {"": f"the switch refused a meter: {refused[0].reason}"}
        meters.update(dict(self._meters_to_add))
        return {}

    def _named(self, refused: Sequence[object]) -> dict[str, str]:
        named: dict[str, str] = {}
        for one in refused:
            index, reason = one  # type: ignore[misc]
            key = self._keys[index] if 0 <= index < len(self._keys) else ""
            named.setdefault(key, reason)
        if "" in named:
            raise DataplaneError(f"the switch refused a bundle: {named['']}")
        return named


def poke() -> bytes:
    """A change of flows that changes nothing."""
    return flow_mod(FlowCommand.ADD, table=_MARKER, match=oxm.match({oxm.METADATA: 2}), cookie=OURS)


def _marker(marker: int) -> bytes:
    return flow_mod(FlowCommand.ADD, table=_MARKER, match=_MARKED, cookie=marker)


def _order(entry: Entry) -> tuple[int, int]:
    """Groups before their buckets."""
    return (0, 0) if isinstance(entry, Flow) and entry.blank is not None and entry.blank.kind == "group" else (1, 0)


def _lowest_free(taken: set[int]) -> int:
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _way(instructions: bytes) -> bytes:
    """The actions of a holder's flow by which a packet goes to its port."""
    return instructions[_WAY_FROM:_WAY_TO]


_WAY_FROM: Final = 8
_WAY_TO: Final = _WAY_FROM + len(load(fields.TO, 0).wire) + len(load(oxm.ETH_DST, 0).wire)


def _bucket_actions(number: int, vlan: int) -> bytes:
    tag = actions.push_vlan() + actions.set_field(oxm.VLAN_VID, 0x1000 | vlan) if vlan else b""
    return tag + actions.output(number)


def _vlan(wire: bytes) -> int:
    return 0 if len(wire) <= 16 else int.from_bytes(wire[16:18]) & 0xFFF


