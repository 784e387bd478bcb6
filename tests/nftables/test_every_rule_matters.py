"""Each rule of the declaration answers a question of packets that is answered otherwise without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import pytest

from tests.nftables import rule_questions as ask
from tests.nftables import rule_questions6 as ask6
from tests.nftables.conftest import OUTSIDE, Lab
from tests.nftables.rule_scene import EIP, ROUTER, LoadedRule, Scene, loaded_rules, nft
from vipnet_nftables.ruleset import Kind, declaration

pytestmark = pytest.mark.root


@dataclass(frozen=True, slots=True)
class Row:
    """A rule, by words that tell it from the others of its chain; what is asked; the answers with and without it."""

    where: str
    chain: str
    words: str
    question: Callable[[Scene], object]
    right: object
    wrong: object

    def names(self, rule: LoadedRule) -> bool:
        is_there = rule.text == self.words if self.words == "drop" else self.words in rule.text
        return is_there and f"{rule.family} {rule.chain}" == self.chain


WORLD_TO_A, HOLDER_OUT, SERVER_OUT = "a saw 203.0.113.1", "world saw 203.0.113.100", "world saw 203.0.113.2"
BY_NONE, BY_ROUTER = ({"0.0.0.0"}, HOLDER_OUT), ({ROUTER}, HOLDER_OUT)

ROWS = [
    Row("host", "bridge vn_prerouting", "goto vn_guest", ask.stranger_sends_from_nobody, False, True),
    Row("host", "bridge vn_prerouting", "goto vn_leg", ask.leg_claims_vip, False, True),
    Row("host", "bridge vn_guest", "@vn_arp accept", ask.own_arp_is_heard, True, False),
    Row("host", "bridge vn_guest", "@vn_ip accept", ask.own_packet_arrives, True, False),
    Row("host", "bridge vn_guest", "@vn_ip6 jump", ask6.own_datagram_arrives, True, False),
    Row("host", "bridge vn_guest", "jump vn_dad", ask6.asks_whether_its_own_is_free, True, False),
    Row("host", "bridge vn_guest", "drop", ask.stranger_sends_from_nobody, False, True),
    Row("host", "bridge vn_dad", "length 24", ask6.asks_whether_its_own_is_free, True, False),
    Row("host", "bridge vn_dad", "length 32", ask6.asks_with_a_nonce, [True, False], [False] * 2),
    Row("host", "bridge vn_guest6", "frag nexthdr", ask6.headers_in_fragments_are_heard, False, True),
    Row("host", "bridge vn_guest6", "jump vn_hidden", ask6.authenticated_is_heard, [True, False, False], [True] * 3),
    Row("host", "bridge vn_hidden", "@th,0,8", ask6.authenticated_is_heard, [True, False, False], [True] * 3),
    Row("host", "bridge vn_guest6", "icmpv6 type", ask6.own_echo_is_heard, True, False),
    Row("host", "bridge vn_guest6", "jump vn_nd", ask6.own_solicitation_is_heard, True, False),
    Row("host", "bridge vn_guest6", "frag-off", ask6.echos_second_fragment_is_heard, True, False),
    Row("host", "bridge vn_guest6", "547", ask6.dhcp_answer_is_heard, False, True),
    Row("host", "bridge vn_guest6", "l4proto != ", ask6.own_datagram_arrives, True, False),
    Row("host", "bridge vn_nd", "!= @vn_targets", ask6.other_target_is_heard, False, True),
    Row("host", "bridge vn_nd", "icmpv6 type . ip6 length", ask6.own_solicitation_is_heard, True, False),
    Row("host", "bridge vn_nd", "length 32", ask6.own_option_is_heard, [True, False], [False] * 2),
    Row("host", "bridge vn_nd", "length 16", ask6.router_solicitation_with_option_is_heard, [True, False], [False] * 2),
    Row("host", "bridge vn_leg", "8021q", ask.leg_sends_tagged, [False] * 2, [True] * 2),
    Row("host", "bridge vn_leg", "arp saddr ip @vn_claims", ask.leg_claims_vip, False, True),
    Row("host", "bridge vn_leg", ". ip saddr @vn_claims", ask.leg_sends_from_vip, False, True),
    Row("host", "bridge vn_leg", "112", ask6.legs_vrrp_is_heard, [False] * 2, [True] * 2),
    Row("host", "bridge vn_leg", "jump vn_leg6", ask6.leg_advertises_vip, False, True),
    Row("host", "bridge vn_leg6", "@vn_claims6", ask6.leg_sends_from_vip, False, True),
    Row("host", "bridge vn_leg6", "frag exists", ask6.leg_advertises_in_fragments, False, True),
    Row("host", "bridge vn_leg6", "nd-neighbor-advert meta mark", ask6.leg_advertises_vip, False, True),
    Row("host", "bridge vn_leg6", "nd-neighbor-solicit meta mark", ask6.leg_asks_whether_vip_is_free, False, True),
    Row("host", "bridge vn_leg6", "frag nexthdr", ask6.leg_hides_headers_in_fragments, False, True),
    Row("host", "bridge vn_leg", "meta mark set", ask.others_see_our_mark, False, True),
    Row("host", "bridge vn_forward", "!= @vn_ip drop", ask.flooded_unicast_is_heard, False, True),
    Row("host", "bridge vn_forward", "!= @vn_ip6 drop", ask6.flooded_datagram_is_heard, False, True),
    Row("host", "bridge vn_forward", "@vn_vrrp accept", ask.members_vrrp_is_heard, True, False),
    Row("host", "bridge vn_forward", "112 drop", ask.strangers_vrrp_is_heard, False, True),
    Row("host", "bridge vn_input", "@vn_ports", ask.host_answers_guest, False, True),
    Row("host", "bridge vn_input", "@vn_outer", ask.host_answers_outside, False, True),
    Row("host", "bridge vn_input", "vnr*", ask.host_answers_router, False, True),
    Row("host", "bridge vn_input", "vnl*", ask.host_answers_uplink_leg, False, True),
    Row("router", "ip vn_arrive", "!= @vn_eips drop", ask.wrong_uplink_reaches_holder, False, True),
    Row("router", "ip vn_arrive", "fib saddr", ask.outside_passes_for_server, [False] * 3, [True] * 3),
    Row("router", "ip vn_arrive", "@vn_rx_limit", ask.flood_from_outside_passes, False, True),
    Row("router", "ip vn_arrive", "@vn_rx_count", ask.answer_is_counted, (1, 1), (0, 1)),
    Row("router", "ip vn_arrive", "map @vn_vip_out", ask.holder_asks_outside, HOLDER_OUT, SERVER_OUT),
    Row("router", "ip vn_dstnat", "dnat", ask.outside_asks_eip, WORLD_TO_A, "nobody"),
    Row("router", "ip vn_arrived", "@vn_came_by", ask.outside_asks_eip, WORLD_TO_A, "nobody"),
    Row("router", "ip vn_input", "policy drop", ask.router_refuses_port, False, True),
    Row("router", "ip vn_input", '"lo"', ask.router_pings_itself, True, False),
    Row("router", "ip vn_input", "echo-request", ask.server_pings_router, True, False),
    Row("router", "ip vn_input", "established", ask.router_pings_server, True, False),
    Row("router", "ip vn_forward", "policy drop", ask.gateway_reaches_server, False, True),
    Row("router", "ip vn_forward", "policy drop", ask.eips_connection_comes_by_transit, False, True),
    Row("router", "ip vn_forward", "ip protocol 112 drop", ask.outside_vrrp_reaches_holder, False, True),
    Row("router", "ip vn_forward", 'iifname "vns*" oifname "vns*"', ask.server_asks_other_subnet, "d saw 192.168.4.12", "nobody"),
    Row("router", "ip vn_forward", "meta mark", ask.outside_asks_eip, WORLD_TO_A, "nobody"),
    Row("router", "ip vn_forward", 'oifname "up*"', ask.holder_asks_outside, HOLDER_OUT, "nobody"),
    Row("router", "ip vn_forward", 'oifname "tr0"', ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("router", "ip vn_forward", 'iifname "tr0"', ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("router", "ip vn_post", "ct status dnat masquerade", ask.server_asks_eip, "a saw 192.168.4.1", "nobody"),
    Row("router", "ip vn_post", "@vn_vip_eip", ask.holder_asks_outside, HOLDER_OUT, "nobody"),
    Row("router", "ip vn_post", '"tr0" masquerade', ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("router", "ip vn_leave", "@vn_eips", ask.vip_leaves_untranslated, False, True),
    Row("router", "ip vn_leave", "@vn_tx_limit", ask.flood_from_holder_passes, False, True),
    Row("router", "ip vn_leave", "@vn_tx_count", ask.answer_is_counted, (1, 1), (1, 0)),
    Row("router", "ip vn_leave", '"tr0"', ask.private_source_gets_to_gateway, False, True),
    Row("router", "ip6 vn_input", "policy drop", ask6.router_refuses_port, False, True),
    Row("router", "ip6 vn_input", "icmpv6", ask6.server_pings_router, True, False),
    Row("router", "ip6 vn_forward", "accept", ask6.server_asks_other_subnet, True, False),
    Row("router", "arp vn_input", "saddr ip @vn_eips drop", ask.own_eip_is_a_neighbour, False, True),
    Row("router", "arp vn_input", "!= @vn_eips drop", ask.unmapped_address_is_answered_for, False, True),
    Row("router", "arp vn_input", "set 192.0.0.8", ask.askers_are_answered_to, ["0.0.0.0", OUTSIDE], [None, OUTSIDE]),
    Row("router", "arp vn_output", "@vn_asker", ask.router_asks_upstream_as, ({EIP}, HOLDER_OUT), ({"0.0.0.0"}, HOLDER_OUT)),
    Row("router", "arp vn_output", "!= @vn_eips", ask.router_without_asker_asks_as, BY_NONE, BY_ROUTER),
    Row("router", "arp vn_output", "operation reply", ask.askers_are_answered_to, ["0.0.0.0", OUTSIDE], ["192.0.0.8", OUTSIDE]),
    Row("gateway", "ip vn_input", "policy drop", ask.outside_pings_gateway, False, True),
    Row("gateway", "ip vn_input", "established", ask.gateway_pings_outside, True, False),
    Row("gateway", "ip vn_forward", "policy drop", ask.server_reaches_other_vpcs_transit, False, True),
    Row("gateway", "ip vn_forward", "policy drop", ask.outside_reaches_transit, False, True),
    Row("gateway", "ip vn_forward", 'oifname "up0"', ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("gateway", "ip vn_forward", 'iifname "up0"', ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("gateway", "ip vn_post", "masquerade", ask.server_asks_outside, SERVER_OUT, "nobody"),
    Row("gateway", "ip vn_leave", "fib saddr", ask.transit_source_leaves, False, True),
]

REDUNDANT = {
    ("router", "ip6 vn_forward", "policy drop"): (
        "no leg but those in subnets has IPv6, so nothing else is forwarded; the policy holds that if another ever gets it"
    ),
    ("router", "ip vn_input", 'iifname "up*" drop'): (
        "what comes in by an uplink and is local belongs to no connection of the router's, and falls to the policy; "
        "the rule holds that also for a connection that the router should ever open itself"
    ),
}
"""Defence in depth: rules that no packet tells from their absence, with the reason why they are there."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    lab = Lab()
    try:
        one = Scene(lab)
        lab.apply(one.intents)
        yield one
    finally:
        lab.close()


def _named(scene: Scene, row: Row) -> LoadedRule:
    (rule,) = [rule for rule in loaded_rules(scene.space(row.where)) if row.names(rule)]
    return rule


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.where} {row.chain} {row.words}")
def test_without_the_rule_the_answer_is_wrong(scene: Scene, row: Row) -> None:
    nft(scene.space(row.where), *_named(scene, row).removal())
    try:
        answer = row.question(scene)
    finally:
        scene.repair(row.where)
    assert (answer, row.question(scene)) == (row.wrong, row.right)  # one of them is the positive control of the other


@pytest.mark.parametrize("where", ["host", "router", "gateway"])
def test_every_rule_has_a_question(scene: Scene, where: str) -> None:
    rules = loaded_rules(scene.space(where))
    named = [_named(scene, row) for row in ROWS if row.where == where]
    spared = [rule for rule in rules if (where, f"{rule.family} {rule.chain}", rule.text) in REDUNDANT]
    assert sorted(map(str, rules)) == sorted(map(str, {*named, *spared}))
    assert len(spared) == sum(place == where for place, _, _ in REDUNDANT)


def test_routers_of_all_modes_have_rules_of_that_one() -> None:
    """The scene's routers have mode eip-distgw: rules of another mode must be among theirs, to have a question."""
    whole = set(declaration("router-eip-distgw").splitlines())
    routers = [kind for kind in get_args(Kind) if kind.startswith("router-")]
    assert len(routers) == 4
    assert all(set(declaration(kind).splitlines()) <= whole for kind in routers)
