"""One step carried out on the bridge: meters first, then flows and groups in one bundle, then the meters that have gone."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.plan import TargetPlan
from vipnet_ovs import fields
from vipnet_ovs.agent import HOLDER, holder_match
from vipnet_ovs.blanks import filled, number_in
from vipnet_ovs.entries import Bucket, Entry
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow, load
from vipnet_ovs.metering import burst_of, kbps_of, told_of_loss
from vipnet_ovs.names import OURS
from vipnet_ovs.pipeline import NUMBERS, by_number
from vipnet_ovs.switch import Group, Switch, lowest_free, mark
from vipnet_ovs.wire import actions, messages, oxm
from vipnet_ovs.wire.bundle import Bundle
from vipnet_ovs.wire.connection import Connection, Refusal
from vipnet_ovs.wire.messages import FlowCommand, GroupCommand, MeterCommand, group_mod, meter_mod

__all__ = ["carry_out", "touches_ports"]

_OF_EIPS: Final = frozenset(NUMBERS[name] for name in ("uplink_arp", "public", "hairpin", "leave", "count_out", "arrived"))
_MOST_METERS: Final = 262_144
"""The highest number of a meter that the userspace datapath takes."""
_NEIGHBOUR: Final = NUMBERS["neighbour"]
_EACH: Final = 4
"""Messages that one entry takes, at most: a group, a meter, a holder forgotten, itself."""

_FIXED: Final = 1000
"""Messages that no entry takes, at most."""


def carry_out(switch: Switch, step: TargetPlan[Entry], devices: Mapping[str, int]) -> dict[str, str]:
    """Change flows and groups, all or none; return what was refused, by key. `devices` are the numbers of ports."""
    connection = switch.connection()  # what was known of a bridge that has gone is forgotten
    try:
        refused = _Change(switch, devices, connection, len(step)).carry_out(told_of_loss(step))
    except DataplaneError:
        switch.close()
        raise
    if refused:
        switch.forget_numbers()
    return refused


def touches_ports(step: TargetPlan[Entry]) -> bool:
    """Whether flows change that the datapath may have cached for packets between servers: such a verdict is to count at once.

    What is about EIPs alone is not waited for: where it ends, `flush` waits; where it begins, some milliseconds are no harm.
    """
    entries = (*step.create, *step.delete, *(new for _, new in step.replace))
    return any(isinstance(entry, Flow) and entry.table not in _OF_EIPS for entry in entries)


class _Change:
    """One step on its way: meters and the bundle, sent as it is made, then the meters that have gone."""

    def __init__(self, switch: Switch, devices: Mapping[str, int], connection: Connection, size: int) -> None:
        self._switch, self._devices, self._connection = switch, devices, connection
        self._bundle = Bundle(connection, _EACH * size + _FIXED)
        self._sent: list[Entry | None] = []
        self._gained: Counter[int] | None = Counter()
        self._last_meter: int | None = None
        self._meters_before: dict[int, int | None] = {}
        self._meters_to_delete: list[int] = []
        self._refused: dict[str, str] = {}

    def carry_out(self, step: TargetPlan[Entry]) -> dict[str, str]:
        comes = [*step.create, *(new for _, new in step.replace)]
        if comes and not self._switch.is_intact():
            self._put_fixed()
        replaced = {new.key: old for old, new in step.replace}
        # what goes first: a port that was made anew may have the number of the one that its old flows are about
        for entry in sorted(step.delete, key=_is_early):
            self._drop(entry)
        for entry in sorted(comes, key=_is_early, reverse=True):
            self._put(entry, replaced.get(entry.key) if replaced else None)
        return self._committed()

    def _put_fixed(self) -> None:
        self._gained = None  # some of them may be there
        for flow in fixed_flows():
            self._sent.append(None)
            self._bundle.flow(FlowCommand.ADD, flow.table, flow.priority, flow.match, flow.instructions, flow.cookie)

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
        self._sent.append(flow)
        reset = old is not None and old.cookie != flow.cookie
        self._bundle.flow(FlowCommand.ADD, flow.table, flow.priority, match, instructions, flow.cookie, reset=reset)
        if old is None:
            self._gain(flow.table, 1)

    def _number(self, flow: Flow, old: Flow | None) -> int | None:
        assert flow.blank is not None
        kind, of = flow.blank
        if kind == "port":
            return self._port(str(of))
        if kind == "group":
            return self._group(int(of), flow)
        return self._meter(int(of), flow, old)

    def _port(self, device: str) -> int | None:
        return int(device[1:]) if device.startswith("#") else self._devices.get(device)

    def _group(self, segment: int, flow: Flow) -> int:
        groups = self._switch.groups()
        if segment not in groups:
            number = self._switch.free_group()
            groups[segment] = Group(number)
            self._add(flow, group_mod(GroupCommand.ADD, number))
        return groups[segment].id

    def _meter(self, rate: int, flow: Flow, old: Flow | None) -> int:
        """The number of a flow's meter, which is set before the flow is: a bundle holds none."""
        meters = self._switch.meters()
        number = self._meter_of(old) if old is not None and old.blank is not None and old.blank.kind == "meter" else 0
        number = number or self._free_meter(meters)
        if (before := meters.get(number)) != rate:
            self._meters_before[number] = before
            self._sent.append(flow)
            self._bundle.beside(_meter(MeterCommand.ADD if before is None else MeterCommand.MODIFY, number, rate))
            meters[number] = rate
        return number

    def _free_meter(self, meters: Mapping[int, int]) -> int:
        """The one after the last; when numbers run out, the lowest that is free."""
        if self._last_meter is None:
            self._last_meter = max(meters, default=0)
        self._last_meter += 1
        return self._last_meter if self._last_meter <= _MOST_METERS else lowest_free({*meters})

    def _meter_of(self, flow: Flow) -> int:
        """The number of the meter that an installed flow has; 0: it is not there."""
        for row in self._switch.rows(table=by_number(flow.table) or "", match=flow.match):
            if (row.priority, row.match) == (flow.priority, flow.match):
                return number_in(row.table, row.instructions) or 0
        return 0

    def _put_bucket(self, bucket: Bucket) -> None:
        number, group = self._port(bucket.device), self._switch.groups().get(bucket.segment)
        if number is None or group is None:
            self._refused[bucket.key] = "its segment is not there" if number is not None else f"{bucket.device} is no port"
            return
        wire = _bucket_actions(number, bucket.vlan)
        if number in group.ports:
            if group.ports[number] == wire:
                return
            self._add(bucket, group_mod(GroupCommand.REMOVE_BUCKET, group.id, bucket_id=number))
        group.ports[number] = wire
        self._add(bucket, group_mod(GroupCommand.INSERT_BUCKET, group.id, buckets=messages.bucket(number, wire)))

    def _drop(self, entry: Entry) -> None:
        match entry:
            case Flow():
                self._drop_flow(entry)
            case Bucket():
                number, group = self._port(entry.device), self._switch.groups().get(entry.segment)
                if group is not None and number is not None and group.ports.pop(number, None) is not None:
                    self._add(entry, group_mod(GroupCommand.REMOVE_BUCKET, group.id, bucket_id=number))
            case _:
                raise TypeError(f"{entry.key} is no entry of the switch's tables")

    def _drop_flow(self, flow: Flow) -> None:
        match = flow.match
        if flow.blank is not None:
            if flow.blank.kind == "port" and flow.table == 0:
                number = self._port(str(flow.blank.of))
                if number is None:
                    self._gained = None
                    return  # its port has gone, and the number with it
                match, _ = filled(flow, number)
            elif flow.blank.kind == "meter" and (meter := self._meter_of(flow)):
                self._meters_to_delete.append(meter)
        self._forget_holder(flow)
        self._sent.append(flow)
        self._bundle.flow(FlowCommand.DELETE_STRICT, flow.table, flow.priority, match)
        self._gain(flow.table, -1)
        if flow.blank is not None and flow.blank.kind == "group":
            group = self._switch.groups().pop(int(flow.blank.of), None)
            if group is not None:
                self._add(flow, group_mod(GroupCommand.DELETE, group.id))

    def _forget_holder(self, flow: Flow, *, unless_copied: bool = False) -> None:
        """When an address's flow changes or goes, its holder is known no more; unless it still is one that gets a copy."""
        if flow.table != _NEIGHBOUR:
            return
        match = holder_match(flow.match)
        holders = self._switch.rows(table="neighbour", match=match) if unless_copied else ()
        if any(_way(row.instructions) in flow.instructions for row in holders):
            return
        self._sent.append(flow)
        self._bundle.flow(FlowCommand.DELETE_STRICT, flow.table, HOLDER, match)

    def _add(self, entry: Entry, message: bytes) -> None:
        self._sent.append(entry)
        self._bundle.add(message)

    def _gain(self, table: int, count: int) -> None:
        if self._gained is not None:
            self._gained[table] += count

    def _committed(self) -> dict[str, str]:
        if self._refused:
            self._bundle.discard()
            self._take_meters_back()
            return self._refused
        marker = secrets.randbits(47) | OURS
        mark(self._bundle, marker)
        refused = self._bundle.commit()
        if refused:
            self._take_meters_back()
            return self._named(refused)
        self._delete_meters(self._meters_to_delete)
        self._switch.took(marker, self._gained)
        return {}

    def _take_meters_back(self) -> None:
        changed = {number: rate for number, rate in self._meters_before.items() if rate is not None and rate > 0}
        if changed:
            self._connection.transact([_meter(MeterCommand.MODIFY, number, rate) for number, rate in changed.items()])
            self._switch.meters().update(changed)
        self._delete_meters([number for number, rate in self._meters_before.items() if rate is None])

    def _delete_meters(self, numbers: Iterable[int]) -> None:
        if there := [number for number in numbers if number]:
            self._connection.transact([meter_mod(MeterCommand.DELETE, number) for number in there])
            for number in there:
                self._switch.meters().pop(number, None)

    def _named(self, refused: Sequence[Refusal]) -> dict[str, str]:
        named: dict[str, str] = {}
        for index, reason in refused:
            entry = self._sent[index] if 0 <= index < len(self._sent) else None
            if entry is None:
                raise DataplaneError(f"the switch refused a bundle: {reason}")
            named.setdefault(entry.key, reason)
        return named


def _meter(command: MeterCommand, number: int, rate: int) -> bytes:
    return meter_mod(command, number, kbps=kbps_of(rate), burst=burst_of(rate))


def _is_early(entry: Entry) -> bool:
    """Whether others need it: groups come before their buckets."""
    return isinstance(entry, Flow) and entry.blank is not None and entry.blank.kind == "group"


def _way(instructions: bytes) -> bytes:
    """The actions of a holder's flow by which a packet goes to its port."""
    return instructions[_WAY_FROM:_WAY_TO]


_WAY_FROM: Final = 8
_WAY_TO: Final = _WAY_FROM + len(load(fields.TO, 0).wire) + len(load(oxm.ETH_DST, 0).wire)


def _bucket_actions(number: int, vlan: int) -> bytes:
    tag = actions.push_vlan() + actions.set_field(oxm.VLAN_VID, 0x1000 | vlan) if vlan else b""
    return tag + actions.output(number)
