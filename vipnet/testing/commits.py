"""What the core does with a backend, on the backend itself: refusals, quarantine, what is pending, restarts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from vipnet.addresses import parse_ip4
from vipnet.backend import Capability
from vipnet.controller import Controller
from vipnet.derive import all_scopes, derive
from vipnet.errors import DataplaneError
from vipnet.intents import EipMapping
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.network import clear
from vipnet.testing.probe import OUTSIDE, Answer
from vipnet.testing.promises import EIP, EIP_BLUE, EIP_GREEN, WORLD, settle
from vipnet.testing.scene import standard_scene

__all__ = ["CommitContract"]

FAULT = "a fault was asked for"
WISHES: dict[Capability, Callable[[Controller], object]] = {
    "classic": lambda cloud: cloud.networks.create("office", "10.9.0.0/24"),
    "distgw": lambda cloud: cloud.vpcs.create("purple", "10.9.0.0/16"),
    "eip": lambda cloud: cloud.groups.create_eip("spare", charge_type="traffic"),
    "ipv6": lambda cloud: _dual_stack(cloud),  # noqa: PLW0108 -- it is defined below
    "limits": lambda cloud: cloud.groups.create_eip("spare", bandwidth=5),
}
"""A verb that needs each of the things that a backend may be unable to do."""


class CommitContract:
    """Of a backend under a Controller. The faults are made around it, by `vipnet.testing.FaultyBackend`."""

    @pytest.mark.parametrize("capability", WISHES)
    def test_what_it_cannot_do_is_refused_before_anything_is_touched(
        self, controlled: ControlledNetwork, capability: Capability
    ) -> None:
        settle(controlled)
        cloud, applied = controlled.cloud, controlled.faults.applied
        before, installed = cloud.export(), cloud.backend.read()
        with _unable(controlled, capability), pytest.raises(DataplaneError, match=capability) as refused:
            WISHES[capability](cloud)
        assert not refused.value.pending
        assert (controlled.faults.applied, cloud.backend.read(), cloud.export()) == (applied, installed, before)

    def test_a_resync_sets_aside_what_is_refused_and_nothing_else(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        clear(controlled.cloud.backend)
        controlled.faults.refuse = _reasons(controlled, _mapping(controlled, EIP_GREEN))
        try:
            report = controlled.cloud.apply(audit=True)
        finally:
            controlled.faults.refuse = {}
        assert report.quarantined
        assert {one.reason for one in report.quarantined} == {FAULT}
        settle(controlled)
        assert controlled.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert controlled.probe.udp(OUTSIDE, EIP_BLUE) == Answer("x", WORLD)
        assert controlled.probe.udp(OUTSIDE, EIP_GREEN) is None
        assert not controlled.cloud.apply().quarantined
        controlled.arrive(standard_scene())
        assert controlled.probe.udp(OUTSIDE, EIP_GREEN) == Answer("p", WORLD)
        assert not controlled.cloud.plan()

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_a_lost_target_leaves_the_change_pending(self, controlled: ControlledNetwork, *, after: bool) -> None:
        settle(controlled)
        moved = standard_scene().with_eip(EIP, "spare")
        controlled.faults.fail_next(after=after)
        with pytest.raises(DataplaneError, match=FAULT) as lost:
            controlled.become(moved)
        assert lost.value.pending
        assert controlled.cloud.status().pending
        controlled.cloud.apply()
        controlled.arrive(moved)
        assert not controlled.cloud.status().pending
        assert controlled.probe.tcp(OUTSIDE, EIP) == Answer("e", WORLD)
        assert not controlled.cloud.plan()

    def test_a_refused_change_is_taken_back(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        before, installed = controlled.cloud.export(), controlled.cloud.backend.read()
        red, blue = _mapping(controlled, EIP), _mapping(controlled, EIP_BLUE)
        moved = replace(blue, eip_id=red.eip_id, eip=red.eip)
        controlled.faults.refuse = _reasons(controlled, moved)
        try:
            with pytest.raises(DataplaneError, match="nothing has changed") as refused:
                controlled.become(standard_scene().without_eip(EIP_BLUE).with_eip(EIP, "blue").with_members("red", "a", "b", "c"))
        finally:
            controlled.faults.refuse = {}
        assert not refused.value.pending
        assert (controlled.cloud.export(), controlled.cloud.backend.read()) == (before, installed)
        settle(controlled)
        assert controlled.probe.tcp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert controlled.probe.tcp(OUTSIDE, EIP_BLUE) == Answer("x", WORLD)

    def test_one_that_restarted_has_nothing_to_do(self, controlled: ControlledNetwork) -> None:
        settle(controlled)
        connection = controlled.probe.connect(OUTSIDE, EIP)
        controlled.stop()
        controlled.start()
        assert not (left := controlled.cloud.plan()), str(left)
        applied = controlled.faults.applied
        assert not controlled.cloud.apply(audit=True).changed
        assert controlled.faults.applied == applied
        assert connection.alive()
        controlled.become(standard_scene().without_eip(EIP))
        assert not connection.alive()


def _dual_stack(cloud: Controller) -> None:
    with cloud.transaction() as tx:
        tx.vpcs.create("six", "10.9.0.0/16", cidr6="fd00:9::/48")
        tx.networks.create("six", "10.9.0.0/24", prefix6="fd00:9::/64", vpc="six")


def _mapping(controlled: ControlledNetwork, eip: str) -> EipMapping:
    topology, wanted = controlled.cloud.topology, parse_ip4(eip, what="EIP")
    intents = derive(topology, controlled.config, all_scopes(topology)).values()
    return next(one for one in intents if isinstance(one, EipMapping) and one.eip == wanted)


def _reasons(controlled: ControlledNetwork, mapping: EipMapping) -> dict[str, str]:
    return dict.fromkeys(controlled.cloud.backend.compile([mapping]), FAULT)


@contextmanager
def _unable(controlled: ControlledNetwork, capability: Capability) -> Generator[None, None, None]:
    """Let a backend be unable to do something, if it is able."""
    words, before = vars(controlled.cloud.backend), controlled.cloud.backend.capabilities
    words["capabilities"] = before - {capability}
    try:
        yield
    finally:
        words["capabilities"] = before
