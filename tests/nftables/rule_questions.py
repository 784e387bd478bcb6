"""Questions of packets, each for one rule or more: what gets where, who answers, and as whom it is seen."""

from __future__ import annotations

import socket
from contextlib import closing

from tests.nftables.conftest import OUTSIDE, Tap, ask_udp, ip_batch, mac_bytes, ping
from tests.nftables.rule_scene import (
    CLASSIC_VIP,
    EIP,
    HOSTS_IP,
    LEG_MAC,
    LEGS_IP,
    NOBODY,
    ROUTER,
    SIDE,
    SIDE_MAC,
    SILENCE,
    VIP,
    WORLD_MAC,
    Place,
    Scene,
    arp_reply,
    arrives,
    claim,
    invalid,
    nft,
    tagged,
    udp,
    vrrp,
)
from vipnet_kernel.names import router_namespace
from vipnet_kernel.namespaces import entered

NOT_ANSWERED = "203.0.113.150"


def stranger_sends_from_nobody(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), udp(scene.c.mac, scene.b.mac, NOBODY, scene.b.ip), Place(scene.b.space))


def own_arp_is_heard(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), claim(scene.c.mac, scene.c.ip, scene.b.ip), Place(scene.b.space))


def own_packet_arrives(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), udp(scene.c.mac, scene.b.mac, scene.c.ip, scene.b.ip), Place(scene.b.space))


def leg_claims_vip(scene: Scene) -> bool:
    return arrives(Place(scene.leg), claim(LEG_MAC, CLASSIC_VIP, CLASSIC_VIP), Place(scene.here.space))


def leg_sends_from_vip(scene: Scene) -> bool:
    return arrives(Place(scene.leg), udp(LEG_MAC, scene.here.mac, CLASSIC_VIP, scene.here.ip), Place(scene.here.space))


def leg_sends_tagged(scene: Scene) -> list[bool]:
    good = udp(LEG_MAC, scene.here.mac, LEGS_IP, scene.here.ip)
    return [arrives(Place(scene.leg), tagged(good, kind), Place(scene.here.space)) for kind in (0x8100, 0x88A8)]


def others_see_our_mark(scene: Scene) -> bool:
    chain = "chain c { type filter hook forward priority 0; meta mark != 0 drop; }"
    nft(scene.lab.host, f"add table bridge theirs {{ {chain} ; }}")
    try:
        good = udp(LEG_MAC, scene.here.mac, LEGS_IP, scene.here.ip)
        return not arrives(Place(scene.leg), good, Place(scene.here.space))
    finally:
        nft(scene.lab.host, "delete table bridge theirs")


def flooded_unicast_is_heard(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), udp(scene.c.mac, "02:00:00:00:00:66", scene.c.ip, NOBODY), Place(scene.b.space))


def members_vrrp_is_heard(scene: Scene) -> bool:
    return arrives(Place(scene.a.space), vrrp(scene.a.mac, scene.a.ip), Place(scene.b.space))


def strangers_vrrp_is_heard(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), vrrp(scene.c.mac, scene.c.ip), Place(scene.b.space))


def host_answers_guest(scene: Scene) -> bool:
    return arp_reply(Place(scene.c.space), claim(scene.c.mac, scene.c.ip, HOSTS_IP)) is not None


def host_answers_outside(scene: Scene) -> bool:
    return arp_reply(Place(scene.lab.outside), claim(WORLD_MAC, OUTSIDE, HOSTS_IP)) is not None


def host_answers_router(scene: Scene) -> bool:
    return arp_reply(scene.routers_leg, claim(scene.web_mac, ROUTER, HOSTS_IP)) is not None


def host_answers_uplink_leg(scene: Scene) -> bool:
    return arp_reply(Place(scene.router, "up0"), claim(scene.routing.mac, EIP, HOSTS_IP)) is not None


def wrong_uplink_reaches_holder(scene: Scene) -> bool:
    return arrives(Place(scene.side), udp(SIDE_MAC, scene.routing.mac, SIDE, EIP), Place(scene.a.space))


def outside_passes_for_server(scene: Scene) -> list[bool]:
    sources = scene.c.ip, scene.d.ip, VIP
    frames = [udp(WORLD_MAC, scene.routing.mac, source, EIP) for source in sources]
    return [arrives(Place(scene.lab.outside), frame, Place(scene.a.space)) for frame in frames]


def outside_asks_eip(scene: Scene) -> str:
    return _who(scene, ask_udp(scene.lab.outside, EIP, wait=SILENCE))


def holder_asks_outside(scene: Scene) -> str:
    return _who(scene, ask_udp(scene.a.space, OUTSIDE, source=VIP, wait=SILENCE))


def server_asks_outside(scene: Scene) -> str:
    return _who(scene, ask_udp(scene.c.space, OUTSIDE, wait=SILENCE))


def server_asks_other_subnet(scene: Scene) -> str:
    return _who(scene, ask_udp(scene.c.space, scene.d.ip, wait=SILENCE))


def server_asks_eip(scene: Scene) -> str:
    return _who(scene, ask_udp(scene.c.space, EIP, wait=SILENCE))


def router_pings_itself(scene: Scene) -> bool:
    return ping(scene.router, ROUTER, wait=SILENCE)


def router_pings_server(scene: Scene) -> bool:
    return ping(scene.router, scene.c.ip, wait=SILENCE)


def server_pings_router(scene: Scene) -> bool:
    return ping(scene.c.space, ROUTER, wait=SILENCE)


def router_refuses_port(scene: Scene) -> bool:
    return refuses_port(scene.c.space, ROUTER)


def refuses_port(space: str, address: str) -> bool:
    """Whether an ICMP error, of whichever family, says that nobody listens."""
    with entered(space):
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with closing(one):
        one.settimeout(SILENCE)
        one.connect((address, 9))
        one.send(b"?")
        try:
            return bool(one.recv(1))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False


def outside_vrrp_reaches_holder(scene: Scene) -> bool:
    return arrives(Place(scene.lab.outside), vrrp(WORLD_MAC, OUTSIDE, EIP, scene.routing.mac), Place(scene.a.space))


def gateway_reaches_server(scene: Scene) -> bool:
    frame = udp(scene.mac(scene.gateways_transit), scene.mac(scene.routers_transit), OUTSIDE, scene.c.ip)
    return arrives(scene.gateways_transit, frame, Place(scene.c.space))


def eips_connection_comes_by_transit(scene: Scene) -> bool:
    """A packet of a connection that was opened to the EIP, but not by its uplink."""
    with entered(scene.lab.outside):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(one):
        one.settimeout(SILENCE)
        one.connect((EIP, 7))
        one.send(b"?")
        assert one.recv(100)
        ports = one.getsockname()[1], 7
        macs = scene.mac(scene.gateways_transit), scene.mac(scene.routers_transit)
        return arrives(scene.gateways_transit, udp(*macs, OUTSIDE, EIP, ports), Place(scene.a.space))


def vip_leaves_untranslated(scene: Scene) -> bool:
    return arrives(Place(scene.a.space), invalid(scene.a.mac, scene.web_mac, VIP, OUTSIDE), Place(scene.lab.outside))


def private_source_gets_to_gateway(scene: Scene) -> bool:
    return arrives(Place(scene.c.space), invalid(scene.c.mac, scene.web_mac, scene.c.ip, OUTSIDE), scene.gateways_transit)


def unmapped_address_is_answered_for(scene: Scene) -> bool:
    return arp_reply(Place(scene.lab.outside), claim(WORLD_MAC, OUTSIDE, NOT_ANSWERED)) is not None


def own_eip_is_a_neighbour(scene: Scene) -> bool:
    """Whether who says that he has an EIP is answered, and so remembered."""
    return arp_reply(Place(scene.lab.outside), claim(WORLD_MAC, EIP, EIP)) is not None


def askers_are_answered_to(scene: Scene) -> list[str | None]:
    """Whom the replies are for: one to a probe for address conflicts, one to an ordinary question."""
    replies = [arp_reply(Place(scene.lab.outside), claim(WORLD_MAC, sender, EIP)) for sender in ("0.0.0.0", OUTSIDE)]
    return [None if reply is None else socket.inet_ntoa(reply[38:42]) for reply in replies]


def router_asks_upstream_as(scene: Scene) -> tuple[set[str], str]:
    """By which addresses, and what became of the packet for which it had to ask."""
    assert not ip_batch(scene.router, ["neigh flush dev up0", "link set dev up0 arp off", "link set dev up0 arp on"])
    with Tap(scene.lab.outside) as tap:
        answer = holder_asks_outside(scene)
        asked = [frame for frame in tap.frames(0.1) if frame[6:12] == mac_bytes(scene.routing.mac)]
    return {socket.inet_ntoa(frame[28:32]) for frame in asked if frame[12:14] + frame[20:22] == b"\x08\x06\0\1"}, answer


def router_without_asker_asks_as(scene: Scene) -> tuple[set[str], str]:
    nft(scene.router, "flush", "map", "arp", "vipnet", "vn_asker")
    try:
        return router_asks_upstream_as(scene)
    finally:
        nft(scene.router, f'add element arp vipnet vn_asker {{ "up0" : {EIP} }}')


def gateway_pings_outside(scene: Scene) -> bool:
    return ping(scene.gateway, OUTSIDE, wait=SILENCE)


def outside_pings_gateway(scene: Scene) -> bool:
    return ping(scene.lab.outside, "203.0.113.2", wait=SILENCE)


def outside_reaches_transit(scene: Scene) -> bool:
    frame = udp(WORLD_MAC, scene.mac(Place(scene.gateway, "up0")), OUTSIDE, "100.64.0.3")
    return arrives(Place(scene.lab.outside), frame, scene.routers_transit)


def transit_source_leaves(scene: Scene) -> bool:
    macs = scene.mac(scene.routers_transit), scene.mac(scene.gateways_transit)
    return arrives(scene.routers_transit, invalid(*macs, "100.64.0.3", OUTSIDE), Place(scene.lab.outside))


def server_reaches_other_vpcs_transit(scene: Scene) -> bool:
    frame = udp(scene.c.mac, scene.web_mac, scene.c.ip, "100.64.0.5")
    return arrives(Place(scene.c.space), frame, Place(router_namespace(scene.blue), "tr0"))


def flood_from_outside_passes(scene: Scene) -> bool:
    return _passes_whole(scene.lab.outside, "", EIP, at=scene.a.space)


def flood_from_holder_passes(scene: Scene) -> bool:
    return _passes_whole(scene.a.space, VIP, OUTSIDE, at=scene.lab.outside)


def _passes_whole(sender: str, source: str, target: str, *, at: str) -> bool:
    """Whether more than the limit's bucket holds gets through at once."""
    with entered(at):
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with entered(sender):
        mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(ear), closing(mouth):
        ear.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
        ear.bind(("", 0))
        ear.settimeout(SILENCE)
        mouth.bind((source, 0))
        mouth.connect((target, ear.getsockname()[1]))
        for _ in range(300):
            mouth.send(bytes(972))
        try:
            for _ in range(300):
                ear.recv(2000)
        except TimeoutError:
            return False
    return True


def answer_is_counted(scene: Scene) -> tuple[int, int]:
    """By how much the counters of the EIP grow with a question from outside and its answer."""
    before = _counted(scene)
    assert ask_udp(scene.lab.outside, EIP, wait=SILENCE)
    after = _counted(scene)
    return after[0] - before[0], after[1] - before[1]


def _counted(scene: Scene) -> list[int]:
    listed = [nft(scene.router, "list", "set", "ip", "vipnet", name) for name in ("vn_rx_count", "vn_tx_count")]
    return [int(listing.partition("counter packets ")[2].split()[0]) for listing in listed]


def _who(scene: Scene, answer: list[str]) -> str:
    """Who answered and whom it saw: `a saw 203.0.113.1`, or `nobody`."""
    names = {scene.lab.outside: "world", scene.a.space: "a", scene.d.space: "d"}
    return f"{names[answer[0]]} saw {answer[1]}" if answer else "nobody"
