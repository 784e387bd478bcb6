"""One step carried out on the bridge: meters first, then flows and groups in one bundle, then the meters that have gone."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
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
from vipnet_ovs.switch import Group, Switch, lowest_free, marker_flow
from vipnet_ovs.wire import actions, messages, oxm
from vipnet_ovs.wire.connection import Connection, Refusal
from vipnet_ovs.wire.messages import FlowCommand, GroupCommand, MeterCommand, flow_mod, group_mod, meter_mod

__all__ = ["carry_out", "touches_ports"]

_OF_EIPS: Final = frozenset(NUMBERS[name] for name in ("uplink_arp", "public", "hairpin", "leave", "count_out", "arrived"))
_MOST_METERS: Final = 262_144
"""The highest number of a meter that the userspace datapath takes."""
_NEIGHBOUR: Final = NUMBERS["neighbour"]


def carry_out(switch: Switch, step: TargetPlan[Entry], devices: Mapping[str, int]) -> dict[str, str]:
    """Change flows and groups, all or none; return what was refused, by key. `devices` are the numbers of ports."""
    switch.connection()  # what was known of a bridge that has gone is forgotten
    refused = _Change(switch, devices).carry_out(told_of_loss(step))
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
            self._add("", _added(flow, flow.match, flow.instructions))

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
        self._add(flow.key, _added(flow, match, instructions, reset=old is not None and old.cookie != flow.cookie))

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
        number = self._free_meter(meters)
        self._meters_to_add.append((number, rate))
        return number

    def _free_meter(self, meters: Mapping[int, int]) -> int:
        """The one after the last; when numbers run out, the lowest that is free."""
        last = self._meters_to_add[-1][0] if self._meters_to_add else max(meters, default=0)
        if last < _MOST_METERS:
            return last + 1
        return lowest_free({*meters, *(number for number, _ in self._meters_to_add)})

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
        holders = self._switch.rows(table="neighbour", match=match) if unless_copied else ()
        if any(_way(row.instructions) in flow.instructions for row in holders):
            return
        self._add(flow.key, flow_mod(FlowCommand.DELETE_STRICT, table=flow.table, priority=HOLDER, match=match))

    def _add(self, key: str, message: bytes) -> None:
        self._keys.append(key)
        self._sent.append(message)

    def _sent_out(self) -> dict[str, str]:
        marker = secrets.randbits(47) | OURS
        self._add("", marker_flow(marker))
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

    def _named(self, refused: Sequence[Refusal]) -> dict[str, str]:
        named: dict[str, str] = {}
        for index, reason in refused:
            key = self._keys[index] if 0 <= index < len(self._keys) else ""
            named.setdefault(key, reason)
        if "" in named:
            raise DataplaneError(f"the switch refused a bundle: {named['']}")
        return named


def _added(flow: Flow, match: bytes, instructions: bytes, *, reset: bool = False) -> bytes:
    where = {"table": flow.table, "priority": flow.priority, "cookie": flow.cookie}
    return flow_mod(FlowCommand.ADD, match=match, instructions=instructions, reset=reset, **where)


def _order(entry: Entry) -> tuple[int, int]:
    """Groups before their buckets."""
    return (0, 0) if isinstance(entry, Flow) and entry.blank is not None and entry.blank.kind == "group" else (1, 0)


def _way(instructions: bytes) -> bytes:
    """The actions of a holder's flow by which a packet goes to its port."""
    return instructions[_WAY_FROM:_WAY_TO]


_WAY_FROM: Final = 8
_WAY_TO: Final = _WAY_FROM + len(load(fields.TO, 0).wire) + len(load(oxm.ETH_DST, 0).wire)


def _bucket_actions(number: int, vlan: int) -> bytes:
    tag = actions.push_vlan() + actions.set_field(oxm.VLAN_VID, 0x1000 | vlan) if vlan else b""
    return tag + actions.output(number)
