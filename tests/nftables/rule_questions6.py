"""Questions of packets over IPv6, each for one rule or more, like those of `rule_questions`."""

from __future__ import annotations

import secrets

from tests.nftables.conftest import mac_bytes, ping6
from tests.nftables.rule_questions import refuses_port
from tests.nftables.rule_scene import CLASSIC_VIP6, LEG_MAC, LEGS_IP6, NOBODY6, ROUTER6, SILENCE, Place, Scene, arrives, vrrp
from vipnet.testing import frames
from vipnet.testing.frames import ADVERTISEMENT, SOLICITATION

_IPV6 = 0x86DD
_UDP, _FRAGMENT, _ICMP6, _OPTIONS = 17, 44, 58, 60


def _frame(mac: str, to: str | None, following: int, src: str, dst: str, payload: bytes) -> bytes:
    """A frame to a MAC, or to the multicast address `dst`; it ends with 8 bytes of its own, behind the packet."""
    target = frames.multicast_mac(dst) if to is None else mac_bytes(to)
    packet = frames.ip6(following, src, dst, payload, hop_limit=255)
    return frames.ethernet(target, mac_bytes(mac), _IPV6, packet) + secrets.token_bytes(8)


def _c_says(scene: Scene, following: int, payload: bytes, *, src: str | None = None) -> bool:
    """Whether `b` hears what `c` says to all nodes."""
    frame = _frame(scene.c.mac, None, following, src or scene.c.ip6, frames.ALL_NODES, payload)
    return arrives(Place(scene.c.space), frame, Place(scene.b.space))


def _leg_says(scene: Scene, following: int, payload: bytes, *, src: str = LEGS_IP6) -> bool:
    frame = _frame(LEG_MAC, None, following, src, frames.ALL_NODES, payload)
    return arrives(Place(scene.leg), frame, Place(scene.here.space))


def _about(address: str, kind: int = ADVERTISEMENT, *, src: str, options: bytes = b"") -> bytes:
    return frames.icmp6(src, frames.ALL_NODES, kind, bytes(4) + frames.address_bytes(address) + options)


def own_datagram_arrives(scene: Scene) -> bool:
    datagram = frames.udp(scene.c.ip6, scene.b.ip6, b"?")
    frame = _frame(scene.c.mac, scene.b.mac, _UDP, scene.c.ip6, scene.b.ip6, datagram)
    return arrives(Place(scene.c.space), frame, Place(scene.b.space))


def flooded_datagram_is_heard(scene: Scene) -> bool:
    datagram = frames.udp(scene.c.ip6, NOBODY6, b"?")
    frame = _frame(scene.c.mac, "02:00:00:00:00:66", _UDP, scene.c.ip6, NOBODY6, datagram)
    return arrives(Place(scene.c.space), frame, Place(scene.b.space))


def asks_whether_its_own_is_free(scene: Scene) -> bool:
    return _c_says(scene, _ICMP6, _about(scene.c.ip6, SOLICITATION, src="::"), src="::")


def asks_with_a_nonce(scene: Scene) -> list[bool]:
    """With a nonce, and with another option of that length."""
    own = scene.c.ip6
    both = (b"\x0e\x01" + secrets.token_bytes(6), frames.link_layer_option("source", mac_bytes(scene.c.mac)))
    return [_c_says(scene, _ICMP6, _about(own, SOLICITATION, src="::", options=one), src="::") for one in both]


def own_echo_is_heard(scene: Scene) -> bool:
    return _c_says(scene, _ICMP6, frames.icmp6(scene.c.ip6, frames.ALL_NODES, 128, bytes(4)))


def echos_second_fragment_is_heard(scene: Scene) -> bool:
    return _c_says(scene, _FRAGMENT, frames.fragment(_ICMP6, bytes(8), offset=8))


def own_solicitation_is_heard(scene: Scene) -> bool:
    return _c_says(scene, _ICMP6, _about(scene.b.ip6, SOLICITATION, src=scene.c.ip6))


def own_option_is_heard(scene: Scene) -> list[bool]:
    """An advertisement with the port's MAC, and with another."""
    macs = (scene.c.mac, scene.b.mac)
    options = [frames.link_layer_option("target", mac_bytes(mac)) for mac in macs]
    return [_c_says(scene, _ICMP6, _about(scene.c.ip6, src=scene.c.ip6, options=option)) for option in options]


def other_target_is_heard(scene: Scene) -> bool:
    return _c_says(scene, _ICMP6, _about(scene.b.ip6, src=scene.c.ip6))


def router_solicitation_with_option_is_heard(scene: Scene) -> list[bool]:
    macs = (scene.c.mac, scene.b.mac)
    options = [frames.link_layer_option("source", mac_bytes(mac)) for mac in macs]
    return [_c_says(scene, _ICMP6, frames.icmp6(scene.c.ip6, frames.ALL_NODES, 133, bytes(4) + option)) for option in options]


def dhcp_answer_is_heard(scene: Scene) -> bool:
    return _c_says(scene, _UDP, frames.udp(scene.c.ip6, frames.ALL_NODES, b"?", sport=547, dport=546))


def legs_vrrp_is_heard(scene: Scene) -> list[bool]:
    over6 = _leg_says(scene, 112, bytes(8))
    return [arrives(Place(scene.leg), vrrp(LEG_MAC, "10.1.0.254"), Place(scene.here.space)), over6]


def leg_sends_from_vip(scene: Scene) -> bool:
    return _leg_says(scene, _UDP, frames.udp(CLASSIC_VIP6, frames.ALL_NODES, b"?"), src=CLASSIC_VIP6)


def leg_advertises_vip(scene: Scene) -> bool:
    return _leg_says(scene, _ICMP6, _about(CLASSIC_VIP6, src=LEGS_IP6))


def leg_asks_whether_vip_is_free(scene: Scene) -> bool:
    return _leg_says(scene, _ICMP6, _about(CLASSIC_VIP6, SOLICITATION, src="::"), src="::")


def leg_advertises_in_fragments(scene: Scene) -> bool:
    message = _about(CLASSIC_VIP6, src=LEGS_IP6)
    return _leg_says(scene, _FRAGMENT, frames.fragment(_ICMP6, message[:16], more=True))


def leg_hides_headers_in_fragments(scene: Scene) -> bool:
    return _leg_says(scene, _FRAGMENT, _headers_alone())


def authenticated_is_heard(scene: Scene) -> list[bool]:
    """UDP, VRRP (to a peer, who may hear it) and an advertisement behind an authentication header."""
    advertised = _about(scene.b.ip6, src=scene.c.ip6)
    hidden = ((_UDP, frames.udp(scene.c.ip6, frames.ALL_NODES, b"?")), (112, bytes(8)), (_ICMP6, advertised))
    return [_c_says(scene, 51, frames.authentication(number, payload)) for number, payload in hidden]


def headers_in_fragments_are_heard(scene: Scene) -> bool:
    """A first fragment whose upper layer is in the second; the padding of its frame looks like an echo request."""
    frame = _frame(scene.c.mac, None, _FRAGMENT, scene.c.ip6, frames.ALL_NODES, _headers_alone())
    return arrives(Place(scene.c.space), frame[:-8] + b"\x80" + frame[-7:], Place(scene.b.space))


def _headers_alone() -> bytes:
    return frames.fragment(_OPTIONS, frames.destination_options(_ICMP6, b"", length=32), more=True)


def server_pings_router(scene: Scene) -> bool:
    return ping6(scene.c.space, ROUTER6, wait=SILENCE)


def router_refuses_port(scene: Scene) -> bool:
    return refuses_port(scene.c.space, ROUTER6)


def server_asks_other_subnet(scene: Scene) -> bool:
    frame = _frame(
        scene.c.mac, scene.web_mac, _UDP, scene.c.ip6, scene.d.ip6, frames.udp(scene.c.ip6, scene.d.ip6, secrets.token_bytes(8))
    )[:-8]  # what is behind the packet does not get through a router
    return arrives(Place(scene.c.space), frame, Place(scene.d.space))
