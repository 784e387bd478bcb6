"""Frames at random, headers of IPv6 in any order before anything: who hears each is as the simulator works out of its bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from systems import NftablesSystem

from vipnet.backend import BackendContext
from vipnet.testing import Network, NetworkUnderTest, Scene, SystemTests, frames, standard_scene
from vipnet.testing.frame_list import SENDER, Ends, ends_of
from vipnet.testing.promises6 import VIP6, settle6
from vipnet_simulator import SimulatorBackend
from vipnet_simulator.probe import SimulatedProbe

_TYPES = (128, 130, 133, 134, 135, 135, 136, 136, 136, 137, 143)


def _fragment(chance: random.Random, following: int, payload: bytes) -> bytes:
    """The whole, or its first bytes, or further ones."""
    cut = chance.choice((None, 8, 16, 24))
    return frames.fragment(following, payload[:cut], offset=chance.choice((0, 0, 8)), more=cut is not None)


_HEADERS: dict[int, Callable[[random.Random, int, bytes], bytes]] = {
    0: lambda _, following, payload: frames.hop_by_hop(following, payload),
    43: lambda _, following, payload: frames.routing_header(following, payload),
    44: _fragment,
    51: lambda _, following, payload: frames.authentication(following, payload),
    60: lambda chance, following, payload: frames.destination_options(following, payload, length=chance.choice((8, 16, 32))),
}


def _options(chance: random.Random, ends: Ends) -> bytes:
    forged = frames.mac_bytes("02:00:00:00:00:66")
    some = [frames.link_layer_option(of, mac) for of in ("source", "target") for mac in (ends.mac, ends.mac, forged)]
    return b"".join(chance.choices([*some, b"\x0e\x01" + bytes(6), b"\x01\x02" + ends.mac], k=chance.choice((0, 0, 1, 1, 2))))


def _upper(chance: random.Random, ends: Ends, src: str, dst: str) -> tuple[int, bytes]:
    match chance.randrange(8):
        case 0:
            return 17, frames.udp(src, dst, bytes(8), sport=chance.choice((9, 547)))
        case 1:
            return 112, frames.vrrp(src, dst, bytes(8))
        case _:
            kind = chance.choice(_TYPES)
            about = chance.choice((ends.ip6, ends.ip6, ends.foreign6, VIP6))
            target = frames.address_bytes(about) if kind in (135, 136, 137) else b""
            return 58, frames.icmp6(src, dst, kind, bytes(4) + target + _options(chance, ends))


def _frame(chance: random.Random, scene: Scene) -> bytes:
    ends = ends_of(scene)
    src = chance.choice((ends.ip6, ends.ip6, ends.ip6, ends.foreign6, "::"))
    dst = chance.choice((ends.peer6, ends.foreign6, frames.ALL_NODES, frames.ALL_NODES, "ff02::12"))
    number, payload = _upper(chance, ends, src, dst)
    for header in chance.choices(list(_HEADERS), k=chance.choice((0, 0, 0, 1, 1, 2))):
        number, payload = header, _HEADERS[header](chance, number, payload)
    unicast = frames.mac_bytes(scene.server("b" if dst == ends.peer6 else "a").mac)
    to = frames.multicast_mac(dst) if dst.startswith("ff") else unicast
    # what pads the frame looks like an echo request to who reads on behind the packet's end
    return frames.ethernet(to, ends.mac, 0x86DD, frames.ip6(number, src, dst, payload, hop_limit=255)) + b"\x80\0\0\0"


def _differences(network: NetworkUnderTest, chance: random.Random, count: int) -> Iterator[str]:
    backend = SimulatorBackend(BackendContext())
    oracle = Network(backend, SimulatedProbe(backend, standard_scene()), standard_scene())
    settle6(network)
    settle6(oracle)
    for _ in range(count):
        frame = _frame(chance, network.scene)

        def marked(mark: bytes, frame: bytes = frame) -> list[bytes]:
            return [frame + mark]

        heard, expected = network.probe.carried(SENDER, marked), oracle.probe.carried(SENDER, marked)
        if heard != expected:
            yield f"{frame.hex()}: heard by {sorted(heard)}, by the bytes {sorted(expected)}"


@pytest.mark.root
class TestFrames(SystemTests):
    system = NftablesSystem

    def test_a_sample(self, network: NetworkUnderTest) -> None:
        assert not list(_differences(network, random.Random(18), 100))

    @pytest.mark.long
    @pytest.mark.timeout(900)
    def test_many(self, network: NetworkUnderTest) -> None:
        assert not list(_differences(network, random.Random(8), 3000))
