"""The codec beside the switch itself and beside ovs-ofctl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnet.errors import DataplaneError
from vipnet.lab import Lab
from vipnet.lab.switch import LabSwitch
from vipnet.process import run
from vipnet.testing import standard_scene
from vipnet_ovs.asking import flows as dumped
from vipnet_ovs.blanks import Numbers, blanked, filled
from vipnet_ovs.compiler import compile_intents
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow
from vipnet_ovs.names import OURS
from vipnet_ovs.wire import actions, messages, oxm, replies
from vipnet_ovs.wire.bundle import Bundle
from vipnet_ovs.wire.connection import Connection, Refusal
from vipnet_ovs.wire.messages import FlowCommand, GroupCommand, MeterCommand, Multipart, flow_mod, group_mod, meter_mod

Sent = dict[tuple[int, int, bytes], tuple[bytes, int]]


@pytest.fixture(scope="module")
def switch() -> Iterator[LabSwitch]:
    with Lab(prefix="wire") as lab:
        one = lab.add_switch()
        make = ["--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure"]
        run(["ovs-vsctl", f"--db={one.database}", "add-br", "br0", *make])
        yield one


@pytest.fixture
def connection(switch: LabSwitch) -> Iterator[Connection]:
    with Connection(switch.rundir / "br0.mgmt", patience=5) as opened:
        opened.transact([flow_mod(FlowCommand.DELETE, table=0xFF), group_mod(GroupCommand.DELETE, 0xFFFFFFFC)])
        opened.transact([group_mod(GroupCommand.ADD, 5), meter_mod(MeterCommand.ADD, 5, kbps=1000, burst=200)])
        yield opened
        opened.transact([meter_mod(MeterCommand.DELETE, 5)])


def _ofctl(switch: LabSwitch, verb: str, *arguments: str, stdin: str | None = None) -> str:
    return run(["ovs-ofctl", "-O", "OpenFlow15", verb, f"unix:{switch.rundir}/br0.mgmt", *arguments], stdin=stdin).stdout


def _everything() -> Sent:
    """Every kind of flow there is."""
    scene = standard_scene().intents()
    made = [one for one in compile_intents(scene).values() if isinstance(one, Flow)]
    found: Sent = {}
    for one in (*made, *fixed_flows()):
        match, instructions = (one.match, one.instructions) if one.blank is None else filled(one, 5)
        found[one.table, one.priority, match] = instructions, one.cookie
    return found


def _there(connection: Connection) -> Sent:
    return {(row.table, row.priority, row.match): (row.instructions, row.cookie) for row in dumped(connection)}


def _mods(sent: Sent) -> list[bytes]:
    return [
        flow_mod(FlowCommand.ADD, table=table, priority=priority, match=match, instructions=instructions, cookie=cookie)
        for (table, priority, match), (instructions, cookie) in sent.items()
    ]


def _bundled(connection: Connection, sent: Sequence[bytes]) -> list[Refusal]:
    bundle = Bundle(connection, len(sent))
    for message in sent:
        bundle.add(message)
    return bundle.commit()


@pytest.mark.root
def test_the_switch_reports_flows_byte_by_byte_as_they_were_sent(connection: Connection) -> None:
    sent = _everything()
    assert len(sent) > 200
    assert _bundled(connection, _mods(sent)) == []
    assert _there(connection) == sent


@pytest.mark.root
def test_what_ovs_ofctl_makes_of_its_own_listing_are_the_same_bytes(connection: Connection, switch: LabSwitch) -> None:
    """Its parser and ours agree on every flow."""
    sent = _everything()
    _bundled(connection, _mods(sent))
    listed = _ofctl(switch, "dump-flows", "--no-stats")
    lines = [line.strip().replace(" actions=", ",actions=") for line in listed.splitlines() if "priority" in line]
    connection.transact([flow_mod(FlowCommand.DELETE, table=0xFF)])
    _ofctl(switch, "add-flows", "-", stdin="\n".join(lines))
    assert _there(connection) == sent


@pytest.mark.parametrize("number", [5, 16, 0x160008, 0x1D0008, 65279])
def test_what_was_filled_in_is_found_again(number: int) -> None:
    """Also a number that is, in octets, what an action begins with."""
    made = (one for one in compile_intents(standard_scene().intents()).values() if isinstance(one, Flow))
    for one in made:
        if one.blank is None:
            continue
        of, match_and_instructions = {number: one.blank.of}, filled(one, number)
        row = replies.FlowRow(one.table, one.priority, one.cookie, *match_and_instructions, 0, 0, 0)
        assert blanked(row, Numbers(ports=of, groups=of, meters=of)) == one  # type: ignore[arg-type]


@pytest.mark.root
def test_a_bundle_is_all_or_nothing_and_names_what_is_wrong(connection: Connection) -> None:
    good = _mods(_everything())[:10]
    bad = flow_mod(FlowCommand.ADD, table=1, instructions=actions.apply(actions.group(77)))
    (refused,) = _bundled(connection, [*good[:5], bad, *good[5:]])
    assert (refused.message, refused.reason) == (5, "the group does not exist")
    assert _there(connection) == {}


@pytest.mark.root
def test_buckets_come_and_go_one_by_one(connection: Connection) -> None:
    def buckets() -> dict[int, bytes]:
        parts = connection.ask(messages.groups_request(xid=0))
        return {id: wire for part in parts for row in replies.group_rows(part) for id, wire in row.buckets}

    for number in (3, 4):
        bucket = messages.bucket(number, actions.output(number))
        assert _bundled(connection, [group_mod(GroupCommand.INSERT_BUCKET, 5, buckets=bucket)]) == []
    assert buckets() == {number: actions.output(number) for number in (3, 4)}
    assert _bundled(connection, [group_mod(GroupCommand.REMOVE_BUCKET, 5, bucket_id=3)]) == []
    assert buckets() == {4: actions.output(4)}


@pytest.mark.root
def test_a_meter_is_changed_in_place(connection: Connection) -> None:
    assert connection.transact([meter_mod(MeterCommand.MODIFY, 5, kbps=3000, burst=600)]) == []
    parts = connection.ask(messages.meters_request(Multipart.METER_DESC, xid=0))
    assert [row for part in parts for row in replies.meter_rows(part)] == [replies.MeterRow(5, 3000, 600)]


@pytest.mark.root
def test_twenty_thousand_flows_in_one_bundle(connection: Connection) -> None:
    mods = [
        flow_mod(FlowCommand.ADD, table=1, match=oxm.match({oxm.METADATA: number}), cookie=OURS) for number in range(20_000)
    ]
    assert _bundled(connection, mods) == []
    (part,) = connection.ask(messages.tables_request(xid=0))
    assert replies.table_counts(part, 254) == {1: 20_000}


@pytest.mark.root
def test_a_switch_that_dies_is_noticed(switch: LabSwitch) -> None:
    with Connection(switch.rundir / "br0.mgmt", patience=5) as opened:
        assert opened.is_alive()
        switch.kill_vswitchd()
        assert not opened.is_alive()
        with pytest.raises(DataplaneError, match=r"closed the connection|is lost"):
            opened.transact([])
    switch.start_vswitchd()


@given(st.binary(max_size=120))
def test_what_is_no_message_does_no_harm(octets: bytes) -> None:
    with suppress(ValueError):
        oxm.fields_of(octets)
    with suppress(ValueError):
        replies.packet_in(bytes(8) + b"\0\0\x23\x20\0\0\0\x1e" + octets)


def test_long_paths(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(DataplaneError, match="does not answer: No such file"):
        Connection(folder / "br0.mgmt")
