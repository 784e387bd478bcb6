"""Maps that have a size, and what happens when they are full."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.nftables.conftest import OUTSIDE, Lab, ask_udp, uplink_in_use
from tests.nftables.test_driver import EIP, Site, nft
from vipnet.addresses import format_ip4
from vipnet.intents import EipMapping, Intent
from vipnet.plan import diff

pytestmark = pytest.mark.root

MAPS = (("ip", "vn_eip_vip"), ("ip", "vn_vip_eip"), ("ip", "vn_vip_out"), ("ip", "vn_eips"), ("arp", "vn_eips"))


@pytest.fixture
def site(lab: Lab) -> Site:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents()])
    return site


def mappings(site: Site, first: int, last: int) -> list[Intent]:
    """Mappings to VIPs that nobody holds."""
    uplink = site.mapping.uplink
    return [
        EipMapping(
            eip_id=f"{number:032x}",
            vpc_id=site.vpc,
            network_id="e",
            eip=0xC6120000 + number,
            vip=0x0A000000 + number,
            bandwidth=8 if number % 2 else None,
            uplink=uplink,
        )
        for number in range(first, last)
    ]


def sizes(site: Site) -> set[int]:
    """The sizes that nft says maps have, and its silence, 0, about any of them."""
    found: dict[tuple[str, str], int] = dict.fromkeys(MAPS, 0)
    for family in ("ip", "arp"):
        said = nft(site.router, "-t", "list", "table", family, "vipnet")
        found |= {(family, name): int(size) for name, size in re.findall(r"(?:map|set) (\w+) \{[^}]*?size (\d+)", said)}
    assert {*found} == {*MAPS}, "a set that counts or limits has a size"
    return {*found.values()}


@contextmanager
def asked_all_the_while(lab: Lab) -> Generator[list[bool]]:
    """Ask the EIP from outside, each time from a fresh port; whether that was answered."""
    answers, over = list[bool](), threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers.append(bool(ask_udp(lab.outside, EIP)))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join()


def test_a_router_begins_with_room_for_what_it_brings_and_as_much_again(lab: Lab) -> None:
    site = Site(lab)
    lab.apply([uplink_in_use(), *site.intents(), *mappings(site, 0, 600)])
    assert sizes(site) == {2 * 601}


def test_a_change_for_which_there_is_no_room_makes_it(lab: Lab, site: Site) -> None:
    """Also in the middle of a transaction that does something else, and with elements that are there already."""
    assert sizes(site) == {512}
    lab.change([], mappings(site, 0, 500))
    assert sizes(site) == {512}
    nft(site.router, "add", "element", "ip", "vipnet", "vn_eip_vip", f"{{ {format_ip4(0xC6120000 + 510)} : 10.9.9.9 }}")
    lab.change(mappings(site, 0, 10), mappings(site, 500, 530))
    assert sizes(site) == {2 * (2 * 502 + 30)}
    assert not lab.plan([uplink_in_use(), *site.intents(), *mappings(site, 10, 530)])


def test_what_is_known_outlasts_growth(lab: Lab, site: Site) -> None:
    lab.plan([uplink_in_use(), *site.intents()])
    assert not lab.backend.changed()
    lab.change([], mappings(site, 0, 600))
    assert sizes(site) != {512}
    assert not lab.backend.changed()
    assert lab.backend.stamp()


def test_rules_that_others_changed_stay_so_when_maps_grow(lab: Lab, site: Site) -> None:
    nft(site.router, "add", "rule", "ip", "vipnet", "vn_forward", "ip", "saddr", "{ 192.0.2.1, 192.0.2.7 }", "counter", "accept")
    before = nft(site.router, "-s", "list", "chain", "ip", "vipnet", "vn_forward")
    lab.change([], mappings(site, 0, 600))
    assert len(sizes(site) - {512}) == 1
    assert nft(site.router, "-s", "list", "chain", "ip", "vipnet", "vn_forward") == before


def test_room_is_made_under_traffic_before_it_is_needed(lab: Lab, site: Site) -> None:
    """Three times, each for four times as many; every packet is answered, and counted once."""
    assert ask_udp(lab.outside, EIP) == [site.a.space, OUTSIDE]
    before = lab.backend.counters([site.mapping])[site.mapping.eip_id]
    done, size = 0, 512
    with asked_all_the_while(lab) as answers:
        for _ in range(3):
            assert sizes(site) == {size}
            lab.change([], mappings(site, done, size * 3 // 4))
            done, size = size * 3 // 4, 4 * (size * 3 // 4 + 1)
            assert not lab.backend.is_prepared()
            lab.backend.prepare()
            assert lab.backend.is_prepared()
            assert not lab.backend.changed()
    after = lab.backend.counters([site.mapping])[site.mapping.eip_id]
    assert len(answers) > 10
    assert all(answers)
    assert (after.rx_packets - before.rx_packets, after.tx_packets - before.tx_packets) == (len(answers), len(answers))
    wanted_now = lab.backend.compile([uplink_in_use(), *site.intents(), *mappings(site, 0, done)])
    assert not diff(lab.backend.audit(wanted_now), wanted_now)
