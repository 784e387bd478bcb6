"""The reader of frames: what it makes of bytes, and that no bytes are too much for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnet.addresses import ip_of
from vipnet.testing import frames, standard_scene
from vipnet.testing.frame_list import FRAMES, ends_of
from vipnet_simulator import Dropped, Installed, World
from vipnet_simulator.wire import Forbidden, Read, read_frame

SCENE = standard_scene()
ENDS = ends_of(SCENE)
MARK = b"\x80" * 8  # as the first byte of an echo request, where somebody should look behind the end of a packet
FORGED = frames.mac_bytes("02:00:00:00:00:66")


def _nd(message: bytes, *, src: str = ENDS.ip6, following: int = 58) -> bytes:
    packet = frames.ip6(following, src, frames.ALL_NODES, message, hop_limit=255)
    return frames.ethernet(frames.multicast_mac(frames.ALL_NODES), ENDS.mac, 0x86DD, packet) + MARK


def _advertisement(options: bytes = b"") -> bytes:
    return frames.advertisement(ENDS.ip6, frames.ALL_NODES, ENDS.ip6, options)


def test_an_advertisement_says_what_must_be_its_senders() -> None:
    read = read_frame(_nd(_advertisement(frames.link_layer_option("target", FORGED))))
    assert isinstance(read, Read)
    assert read.to_everyone
    assert read.packet.gratuitous
    assert set(read.packet.claims) == {ip_of(ENDS.ip6)}
    assert read.packet.named == ("02:00:00:00:00:66",)


def test_to_ask_whether_an_address_is_free_is_no_claim() -> None:
    read = read_frame(frames.neighbour_solicitation(ENDS.mac, "::", ENDS.ip6))
    assert isinstance(read, Read)
    assert read.packet.src == ip_of(ENDS.ip6)
    assert not read.packet.gratuitous


NONCE = b"\x0e\x01" + bytes(6)
FORBIDDEN = {
    "two options": _nd(_advertisement(frames.link_layer_option("target", ENDS.mac) * 2)),
    "an option of another length": _nd(_advertisement(b"\x02\x02" + ENDS.mac)),
    "a nonce in an advertisement": _nd(_advertisement(NONCE)),
    "behind options": _nd(frames.destination_options(58, _advertisement()), following=60),
    "in one fragment": _nd(frames.fragment(58, _advertisement()), following=44),
    "behind a fragment's options": _nd(frames.fragment(60, frames.destination_options(17, bytes(8))), following=44),
    "a fragment in a fragment": _nd(frames.fragment(44, frames.fragment(17, bytes(8))), following=44),
    "cut short": _nd(_advertisement()[:20]),
    "options that go on": _nd(b"\x3a\x09" + bytes(6), following=60),
    "a question whether free with a MAC": frames.neighbour_solicitation(
        ENDS.mac, "::", ENDS.ip6, options=frames.link_layer_option("source", ENDS.mac)
    ),
    "a report of listeners from nowhere": _nd(frames.icmp6("::", frames.ALL_NODES, 143, bytes(4)), src="::"),
    "a query of listeners": _nd(frames.icmp6(ENDS.ip6, frames.ALL_NODES, 130, bytes(20))),
    "an answer of DHCP": _nd(frames.udp(ENDS.ip6, frames.ALL_NODES, b"", sport=547), following=17),
    "shorter than it says": frames.ethernet(ENDS.peer_mac, ENDS.mac, 0x86DD, frames.ip6(17, ENDS.ip6, ENDS.peer6, bytes(8))[:-1]),
    "ARP of another kind": frames.arp(1, ENDS.mac, ENDS.ip, ENDS.ip).replace(b"\x08\0\x06\x04", b"\x08\0\x08\x04"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_no_port_may_send(name: str) -> None:
    assert isinstance(read_frame(FORBIDDEN[name]), Forbidden)
    verdict = World([Installed(intent) for intent in SCENE.intents()]).send_frame(FORBIDDEN[name], from_=SCENE.server("c").nic_id)
    assert isinstance(verdict, Dropped)
    assert [step.action for step in verdict.steps][-1] == f"dropped: {verdict.reason}" == "dropped: forbidden-frame"


def test_further_fragments_are_known_by_their_header() -> None:
    read = read_frame(_nd(frames.fragment(112, bytes(8), offset=8), following=44))
    assert isinstance(read, Read)
    assert read.packet.proto == "vrrp"


def test_the_list_has_twenty_one_tricks() -> None:
    assert len({listed.name for listed in FRAMES}) == len({listed.make for listed in FRAMES}) == 21
    assert 4 <= sum(bool(listed.heard) for listed in FRAMES) < 10


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x08\x06", b"\x86\xdd\x60\0\0\0", b"\x86\xdd"]))
def test_no_bytes_are_too_much(tail: bytes, kind: bytes) -> None:
    read_frame(bytes(12) + kind + tail)


@given(st.sampled_from(FRAMES), st.data())
def test_no_change_of_a_frame_is_too_much(listed: object, data: st.DataObject) -> None:
    (frame, *_) = next(one for one in FRAMES if one is listed).make(ENDS, MARK)
    at = data.draw(st.integers(0, len(frame) - 1))
    changed = frame[:at] + bytes([data.draw(st.integers(0, 255))]) + frame[at + 1 :]
    read_frame(changed[: data.draw(st.integers(0, len(changed)))])
