"""Entries looked for where they would be installed, and who holds a VIP as the switch sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vipnet.addresses import format_ip
from vipnet.evidence import Finding, Location
from vipnet.intents import VipBinding
from vipnet_ovs import fields
from vipnet_ovs.agent import HOLDER, holder_match
from vipnet_ovs.blanks import Numbers, blanked
from vipnet_ovs.database import Reading
from vipnet_ovs.entries import Bucket, Entry, Plug
from vipnet_ovs.flows import Flow, load
from vipnet_ovs.metering import COUNTING
from vipnet_ovs.names import LOST, digest
from vipnet_ovs.pipeline import by_number
from vipnet_ovs.switch import Switch
from vipnet_ovs.wire import oxm

__all__ = ["find", "held_by"]

Absent = Callable[[str], bool]
"""Whether a device that others make is not there yet."""


def find(switch: Switch, reading: Reading, entries: Iterable[Entry], absent: Absent) -> dict[str, Finding]:
    """Look for entries: flows by table and match, with what they have counted; buckets and ports by what is known of them."""
    numbers = Numbers(
        {number: device for device, number in reading.numbers.items()},
        {group.id: segment for segment, group in switch.groups().items()},
        switch.meters(),
    )
    return {entry.key: _found(switch, reading, numbers, entry, absent) for entry in entries}


def _found(switch: Switch, reading: Reading, numbers: Numbers, entry: Entry, absent: Absent) -> Finding:
    match entry:
        case Flow():
            return _flow(switch, numbers, reading.numbers, entry)
        case Bucket():
            group, number = switch.groups().get(entry.segment), reading.numbers.get(entry.device)
            return Finding("installed" if group is not None and number in group.ports else "missing")
        case Plug():
            if absent(entry.device):
                return Finding("absent")
            is_there = any((plug.device, plug.user) == (entry.device, entry.user) for plug in reading.plugs)
            return Finding("missing" if not is_there else "different" if entry.device in reading.down else "installed")


def _flow(switch: Switch, numbers: Numbers, devices: Mapping[str, int], flow: Flow) -> Finding:
    match = flow.match
    if flow.blank is not None and flow.blank.kind == "port" and flow.table == 0:
        number = devices.get(str(flow.blank.of))
        if number is None:
            return Finding("missing")
        match = match[:4] + number.to_bytes(4) + match[8:]
    for row in switch.rows(table=by_number(flow.table) or "", match=match):
        if (row.priority, row.match) == (flow.priority, match):
            found = blanked(row, numbers)
            found = found._replace(cookie=found.cookie & ~LOST) if flow.table in COUNTING else found
            counted = f"n_packets={row.packets},n_bytes={row.octets}"
            return Finding("installed", counted) if found == flow else Finding("different", found.text)
    return Finding("missing")


def held_by(switch: Switch, vip: VipBinding, version: int) -> Location | None:
    """Which member has last announced a VIP; None: none has, or no agent is there that would know."""
    ip = vip.ip if version == 4 else vip.ip6
    if ip is None or not any(True for _ in switch.rows(table="watched")):
        return None
    kind, where = (0x0800, oxm.IPV4_DST) if version == 4 else (0x86DD, oxm.IPV6_DST)
    match = holder_match(oxm.match({fields.SEGMENT.field: digest(vip.network_id), oxm.ETH_TYPE: kind, where: ip}))
    for row in switch.rows(table="neighbour", match=match):
        for member in vip.members:
            if row.priority == HOLDER and load(fields.TO, digest(member.device)).wire in row.instructions:
                return Location(member.mac, f"table=neighbour,{format_ip(version, ip)} output to {member.device} ({member.mac})")
    return None
