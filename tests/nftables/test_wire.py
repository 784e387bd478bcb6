"""The codec: what it sends is what nft lists, what the kernel says is what was sent, and no bytes confuse it."""

from __future__ import annotations

import errno
import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnet_kernel.namespaces import entered
from vipnet_kernel.netlink import attributes, ruleset_generation
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.ruleset import TABLES, Kind, declaration, kinds
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import each
from vipnet_nftables.wire.batch import Fault, Message, encoded, transacted, which
from vipnet_nftables.wire.elements import (
    Limit,
    SetElement,
    adding,
    by_key,
    decoded_whole,
    deleting,
    dumped_elements,
    element_bytes,
    filling,
    key_bytes,
    replies,
)
from vipnet_nftables.wire.fields import layouts, packed, unpacked
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.making import created, deleted, rebuilt
from vipnet_nftables.wire.objects import kind_of, read_declared, template

needs_root = pytest.mark.root
ROUTER: Kind = "router-eip"
MAP = "ip", "vn_eip_vip"


def ip(number: int) -> bytes:
    return (0xCB007100 + number).to_bytes(4, "big")


def nft(space: str, *words: str) -> str:
    with entered(space):
        return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def listed(space: str) -> list[str]:
    """What nft lists, but for the kernel's numbers, in no order of chains and sets."""

    def bare(found: Any) -> Any:
        match found:
            case {**members}:
                return {name: bare(value) for name, value in members.items() if name not in ("handle", "index")}
            case [*items]:
                return [bare(item) for item in items]
            case _:
                return found

    rows = json.loads(nft(space, "-j", "list", "ruleset"))["nftables"]
    return sorted(json.dumps(bare(row), sort_keys=True) for row in rows if "metainfo" not in row)


@pytest.fixture
def link(space: str, sockets: Sockets) -> Iterator[socket.socket]:
    with linked(sockets, space) as found:
        yield found


@pytest.fixture
def router(link: socket.socket) -> socket.socket:
    assert transacted(link, created(template(ROUTER))) == []
    return link


def add(link: socket.socket, where: tuple[str, str], *elements: SetElement) -> list[Fault]:
    return transacted(link, [message for message, _ in adding(*where, [element_bytes(one) for one in elements])])


# --------------------------------------------------------------------------------------------------- elements


elements = st.builds(
    SetElement,
    st.binary(min_size=4, max_size=20),
    st.binary(max_size=16),
    st.none() | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    st.none(),
    st.text("abc0123 -", max_size=40),
) | st.builds(
    SetElement,
    st.binary(min_size=4, max_size=4),
    limit=st.builds(Limit, st.integers(1, 2**63), st.integers(1, 2**40), st.integers(0, 2**32 - 1), st.booleans()),
)


@given(elements)
def test_an_element_is_read_as_it_was_written(one: SetElement) -> None:
    assert decoded_whole(element_bytes(one)) == one
    assert decoded_whole(key_bytes(one.key)) == SetElement(one.key)


@given(elements, st.data())
def test_damaged_elements_are_values_or_errors(one: SetElement, data: st.DataObject) -> None:
    whole = bytearray(element_bytes(one))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(4, len(whole)))])
    try:
        found = decoded_whole(damaged)
    except (KeyError, ValueError, struct.error):
        return
    assert isinstance(found, SetElement)


@given(st.binary(max_size=64))
def test_any_bytes_are_attributes_or_an_error(data: bytes) -> None:
    try:
        found = list(each(data))
    except ValueError:
        return
    assert sum(4 + len(body) for _, body in found) <= len(data)


words = {
    "ifname": st.from_regex(r'"[a-z][a-z0-9.-]{0,13}"', fullmatch=True),
    "ether_addr": st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":")),
    "ipv4_addr": st.ip_addresses(v=4).map(str),
    "ipv6_addr": st.ip_addresses(v=6).map(str),
    "mark": st.integers(0, 2**32 - 1).map(str),
}


@given(st.sampled_from(sorted(layouts())), st.data())
def test_keys_in_words_are_read_as_they_were_written(where: tuple[str, str], data: st.DataObject) -> None:
    layout = layouts()[where]
    bits = {kind: st.integers(0, 2 ** int(kind.rpartition(",")[2]) - 1).map(hex) for kind in layout.key if kind.startswith("@")}
    key = " . ".join(data.draw((words | bits)[kind]) for kind in layout.key)
    assert unpacked(packed(key, layout.key), layout.key) == key
    with pytest.raises(ValueError, match=r"parts|too"):
        unpacked(packed(key, layout.key) + bytes(4), layout.key)


def test_words_of_other_types_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 parts"):
        packed('"up0" . 203.0.113.1', ("ipv4_addr",))


@needs_root
def test_what_is_sent_is_what_nft_lists(space: str, router: socket.socket) -> None:
    limit = Limit(125_000, 1, 1, over=True)
    assert not add(router, MAP, SetElement(ip(1), ip(2)))
    assert not add(router, ("ip", "vn_rx_limit"), SetElement(ip(1), limit=limit))
    assert not add(router, ("ip", "vn_rx_count"), SetElement(ip(1), counted=(7, 700), comment="0123456789ab"))
    assert not add(router, ("arp", "vn_eips"), SetElement(packed('"up0" . 203.0.113.1', ("ifname", "ipv4_addr"))))
    text = nft(space, "list", "ruleset")
    assert "elements = { 203.0.113.1 : 203.0.113.2 }" in text
    assert "203.0.113.1 limit rate over 125000 bytes/second burst 1 bytes" in text
    assert '203.0.113.1 counter packets 7 bytes 700 comment "0123456789ab"' in text
    assert 'elements = { "up0" . 203.0.113.1 }' in text


@needs_root
def test_what_the_kernel_says_is_what_was_sent(router: socket.socket) -> None:
    some = [element_bytes(SetElement(ip(number), ip(number + 1))) for number in range(250)]
    assert transacted(router, [message for message, _ in adding(*MAP, some)]) == []
    absent = [key_bytes(ip(number)) for number in (300, 301)]
    asked = [absent[0], *some[:130], absent[1], *some[130:], absent[0]]
    found = list(replies(router, *MAP, asked))
    assert [reply is None for reply in found] == [element in absent for element in asked]
    assert all(reply.endswith(element) for reply, element in zip(found, asked, strict=True) if reply is not None)
    assert sorted(map(decoded_whole, some), key=lambda one: one.key) == sorted(
        by_key(router, *MAP, [decoded_whole(element).key for element in asked]).values(), key=lambda one: one.key
    )
    assert set(dumped_elements(router, *MAP)) == {element[4:] for element in some}
    assert filling(router, *MAP) in ((0, None), (0, 250))


@needs_root
def test_of_a_set_that_is_not_there_nothing_is(router: socket.socket) -> None:
    assert list(replies(router, "ip", "none", [key_bytes(ip(1))] * 3)) == [None] * 3
    assert list(dumped_elements(router, "ip", "none")) == []
    with pytest.raises(FileNotFoundError):
        filling(router, "ip", "none")


# --------------------------------------------------------------------------------------------------- batches


@given(st.lists(st.integers(1, 5), min_size=1), st.integers(-4, 60))
def test_a_fault_is_in_the_part_where_it_points(lengths: list[int], offset: int) -> None:
    parts = [bytes(length) for length in lengths]
    begins = [7 + sum(lengths[:at]) for at in range(len(lengths) + 1)]
    found = which(Message(0, 0, bytes(7) + b"".join(parts)), parts, Fault(0, 1, "", offset))
    if found is None:
        assert not begins[0] <= offset < begins[-1]
    else:
        assert begins[found] <= offset < begins[found + 1]


@needs_root
@pytest.mark.parametrize("bad", [0, 1, 2499, 3999])
def test_a_fault_names_the_element_and_nothing_is_done(router: socket.socket, bad: int) -> None:
    assert not add(router, MAP, SetElement(ip(bad), ip(9)))
    some = [element_bytes(SetElement(ip(number), ip(10))) for number in range(4000)]
    found = list(adding(*MAP, some))
    assert len(found) > 1
    (fault,) = transacted(router, [message for message, _ in found])
    before = sum(len(elements) for _, elements in found[: fault.at])
    place = which(*found[fault.at], fault)
    assert place is not None
    assert (fault.reason, before + place) == ("File exists", bad)
    assert filling(router, *MAP) in ((0, None), (0, 1))


@needs_root
def test_all_faults_are_told(router: socket.socket) -> None:
    gone = [message for number in (1, 2) for message, _ in deleting(*MAP, [key_bytes(ip(number))])]
    good = [message for message, _ in adding(*MAP, [element_bytes(SetElement(ip(5), ip(6)))])]
    assert [(fault.at, fault.code) for fault in transacted(router, [gone[0], *good, gone[1]])] == [(0, 2), (2, 2)]
    assert list(dumped_elements(router, *MAP)) == []


@needs_root
def test_a_batch_of_another_generation_is_put_off(space: str, router: socket.socket) -> None:
    messages = [message for message, _ in adding(*MAP, [element_bytes(SetElement(ip(5), ip(6)))])]
    generation = ruleset_generation(router)
    nft(space, "add", "table", "ip", "foreign")
    (fault,) = transacted(router, messages, generation=generation)
    assert (fault.at, fault.code) == (-1, errno.ERESTART)
    assert list(dumped_elements(router, *MAP)) == []
    assert transacted(router, messages, generation=generation + 1) == []


def test_a_batch_is_numbered_from_its_first_message() -> None:
    data = encoded([Message(header.NEWTABLE, 0, bytes(5)), Message(header.DELTABLE, 0, bytes(4))], generation=7)
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
        found.append((kind & 0xFF, flags & header.ACK, sequence))
        at += (length + 3) & ~3
    assert found == [(0x10, 0, 0), (0, 0, 1), (2, 4, 2), (0x11, 0, 3)]
    assert attributes(data, 20)[header.BATCH_GENID] == bytes((0, 0, 0, 7))


# --------------------------------------------------------------------------------------------------- objects


@needs_root
@pytest.mark.parametrize("kind", kinds())
def test_what_is_made_is_what_nft_makes(space: str, link: socket.socket, kind: Kind) -> None:
    assert transacted(link, created(template(kind))) == []
    ours = listed(space)
    assert kind_of(read_declared(link, TABLES[kind]), kinds()) == kind
    assert transacted(link, deleted(TABLES[kind])) == []
    assert listed(space) == []
    assert read_declared(link, TABLES[kind]).families == frozenset()
    with entered(space):
        subprocess.run(["nft", "-f", "-"], input=declaration(kind), check=True, text=True)
    assert listed(space) == ours
    assert transacted(link, deleted(("bridge", "ip", "ip6", "arp"))) == []


@needs_root
def test_a_size_that_is_asked_for_is_declared(space: str, link: socket.socket) -> None:
    assert transacted(link, created(template(ROUTER), sizes={MAP: 4096})) == []
    assert "size 4096" in nft(space, "list", "map", *MAP[:1], "vipnet", MAP[1])
    found = read_declared(link, TABLES[ROUTER])
    assert found == template(ROUTER)
    assert (found.sizes[MAP], found.sizes["ip", "vn_vip_eip"]) == (4096, 0)


DAMAGES = {
    "a rule more": "insert rule ip vipnet vn_forward accept",
    "a rule elsewhere": "add rule ip vipnet vn_forward drop",
    "no rules in a chain": "flush chain ip vipnet vn_leave",
    "no rules in a table": "flush table arp vipnet",
    "a chain more": "add chain ip vipnet more; add rule ip vipnet more accept",
    "a set more": "add set ip vipnet more { type ipv4_addr; }; add element ip vipnet more { 1.2.3.4 }",
    "a map to a chain more": (
        "add chain ip vipnet more; add map ip vipnet ways { type mark : verdict; elements = { 1 : jump more }; }"
    ),
    "another policy": "add chain ip vipnet vn_forward { policy accept; }",
    "a table less": "delete table ip6 vipnet",
    "a chain hooked": "add chain ip vipnet more { type filter hook output priority 0; policy drop; }",
}


@needs_root
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_put_right_around_the_elements(space: str, router: socket.socket, damage: str) -> None:
    counter = SetElement(ip(1), counted=(7, 700), comment="0123456789ab")
    assert not add(router, ("ip", "vn_rx_count"), counter)
    assert not add(router, MAP, SetElement(ip(1), ip(2)))
    good = listed(space)
    nft(space, DAMAGES[damage])
    found, wanted = read_declared(router, TABLES[ROUTER]), template(ROUTER)
    assert found != wanted
    messages = rebuilt(found, wanted)
    assert messages is not None
    assert transacted(router, messages) == []
    assert listed(space) == good
    assert read_declared(router, TABLES[ROUTER]) == wanted


@needs_root
@pytest.mark.parametrize(
    "damage",
    [
        (
            "flush chain ip vipnet vn_dstnat; delete map ip vipnet vn_eip_vip; "
            "add map ip vipnet vn_eip_vip { type mark : ipv4_addr; }"
        ),
        "delete chain ip vipnet vn_arrived; add chain ip vipnet vn_arrived { type filter hook prerouting priority -49; }",
    ],
)
def test_other_shapes_need_new_tables(space: str, router: socket.socket, damage: str) -> None:
    nft(space, damage)
    found, wanted = read_declared(router, TABLES[ROUTER]), template(ROUTER)
    assert rebuilt(found, wanted) is None
    assert transacted(router, [*deleted(TABLES[ROUTER]), *created(wanted)]) == []
    assert read_declared(router, TABLES[ROUTER]) == wanted


@needs_root
def test_no_two_kinds_are_alike() -> None:
    found = [template(kind) for kind in kinds()]
    assert not any(one == other for at, one in enumerate(found) for other in found[:at])
