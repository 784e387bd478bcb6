"""Frames that vipnet sends itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vipnet.testing import frames as testing
from vipnet_ovs import frames

A, B = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000bb")
ROUTER = bytes([192, 168, 4, 1])


def _ip4(protocol: int, payload: bytes) -> bytes:
    return testing.ethernet(B, A, 0x0800, testing.ip4(protocol, "192.168.7.10", "203.0.113.9", payload, ttl=1))


def test_the_sender_is_told_and_its_packet_quoted() -> None:
    sent = _ip4(17, testing.udp("192.168.7.10", "203.0.113.9", b"12345678"))
    answer = frames.time_exceeded(sent, ROUTER)
    assert answer is not None
    assert (answer[:6], answer[6:12]) == (A, B)
    packet = answer[14:]
    assert (packet[9], packet[12:16], packet[16:20]) == (1, ROUTER, bytes([192, 168, 7, 10]))
    assert testing.checksum(packet[:20]) == 0
    assert testing.checksum(packet[20:]) == 0
    assert packet[20:22] == bytes([11, 0])
    assert packet[28:] == sent[14:]


def test_ipv6_too() -> None:
    ends = "fd00:4::10", "fd00:8::10"
    sent = testing.ethernet(B, A, 0x86DD, testing.ip6(17, *ends, testing.udp(*ends, b"12345678")))
    answer = frames.time_exceeded(sent, testing.address_bytes("fd00:4::1"))
    assert answer is not None
    packet = answer[14:]
    assert (packet[6], packet[8:40]) == (58, testing.address_bytes("fd00:4::1") + testing.address_bytes("fd00:4::10"))
    pseudo = packet[8:40] + len(packet[40:]).to_bytes(4) + bytes([0, 0, 0, 58])
    assert testing.checksum(pseudo + packet[40:]) == 0
    assert packet[48:] == sent[14:]


def test_no_error_about_an_error_a_fragment_or_many() -> None:
    assert frames.time_exceeded(_ip4(1, bytes([3, 1]) + bytes(30)), ROUTER) is None
    assert frames.time_exceeded(_ip4(1, bytes([8, 0]) + bytes(30)), ROUTER) is not None
    fragment = bytearray(_ip4(17, bytes(30)))
    fragment[20:22] = (185).to_bytes(2)
    assert frames.time_exceeded(bytes(fragment), ROUTER) is None


@given(st.binary(min_size=34, max_size=200), st.sampled_from([ROUTER, bytes(16)]))
def test_whatever_comes_does_no_harm(octets: bytes, source: bytes) -> None:
    frames.time_exceeded(octets, source)
