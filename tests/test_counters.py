"""What the core makes of a backend's counters, and what it tells a backend so that none passes for whole that is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from plane import DictBackend, DictEntry

import vipnet
from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.intents import EipMapping
from vipnet.plan import TargetPlan
from vipnet.store import MemoryStore
from vipnet.views import Counters

ONE = Counters(rx_packets=1, rx_bytes=28, tx_packets=2, tx_bytes=56, lost=False)


class CountingBackend(DictBackend):
    """Has counted the same of every EIP, and remembers which entries it was told to be installed once more."""

    def __init__(self) -> None:
        super().__init__()
        self.again: set[str] = set()
        self.unreachable = False

    def apply(self, step: TargetPlan[DictEntry]) -> Mapping[str, str]:
        if step.fresh is not None:
            self.again |= {entry.key for entry in step.create} - step.fresh
        return super().apply(step)

    def counters(self, mappings: Iterable[EipMapping]) -> Mapping[str, Counters]:
        if self.unreachable:
            raise vipnet.DataplaneError("the switch does not answer")
        return {mapping.eip_id: ONE for mapping in mappings}


@pytest.fixture
def plane() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def cloud(plane: CountingBackend) -> Controller:
    """Group `web` has a VIP and the EIP `front`; group `bare` has a VIP alone."""
    cloud = Controller(config=Config(), store=MemoryStore(), backend=plane)
    cloud.vpcs.create("prod", "192.168.0.0/16")
    cloud.networks.create("net", "192.168.4.0/24", vpc="prod")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    for name in ("web", "bare"):
        cloud.groups.create(name)
        cloud.groups.attach_network(name, network_id="net")
    cloud.eips.create("front", network="pub", charge_type="traffic")
    cloud.groups.associate_eip("web", eip_id="front")
    return cloud


def test_counters_of_an_eip(cloud: Controller) -> None:
    assert cloud.eips.show("front").counters == cloud.counters("web") == ONE
    cloud.groups.dissociate_eip("web")
    assert cloud.eips.show("front").counters is None


def test_a_group_without_eip_has_none(cloud: Controller) -> None:
    with pytest.raises(vipnet.InvalidStatusError, match="bare has no EIP"):
        cloud.counters("bare")
    with pytest.raises(vipnet.ResourceNotFoundError, match="nobody"):
        cloud.counters("nobody")


def test_a_transaction_has_none(cloud: Controller) -> None:
    with cloud.transaction() as tx:
        assert tx.eips.show("front").counters is tx.counters("web") is None
        assert cloud.counters("web") == ONE


def test_an_eip_is_shown_though_nobody_can_read_its_counters(cloud: Controller, plane: CountingBackend) -> None:
    plane.unreachable = True
    shown = cloud.eips.show("front")
    assert (shown.counters, shown.warnings) == (None, ("counters cannot be read: the switch does not answer",))
    with pytest.raises(vipnet.DataplaneError, match="the switch does not answer"):
        cloud.counters("web")


def test_what_is_not_programmed_yet_is_not_counted(cloud: Controller, plane: CountingBackend) -> None:
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.create_eip("bare", charge_type="traffic")
    assert cloud.eips.show("eip-for-grp-bare").counters is None
    plane.lose_after = None
    cloud.apply()
    assert cloud.counters("bare") == ONE


def test_the_simulator_counts_nothing() -> None:
    with vipnet.Controller.open(store="memory:", backend="simulator") as cloud:
        cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
        cloud.eips.create("front", network="pub", bandwidth=1)
        assert cloud.eips.show("front").counters is None


def test_only_what_was_there_is_installed_again(cloud: Controller, plane: CountingBackend) -> None:
    all_of_it = set(plane.installed)
    assert plane.again == set()
    plane.installed.clear()
    plane.touched = True
    cloud.apply()
    assert plane.again == all_of_it
    plane.again.clear()
    cloud.groups.create_eip("bare", charge_type="traffic")
    assert plane.again == set()


def test_what_is_taken_back_is_installed_again(cloud: Controller, plane: CountingBackend) -> None:
    spare = cloud.networks.create("spare", "192.168.5.0/24", vpc="prod").id
    plane.refuse = lambda key: "no" if key.startswith("eip:") else None
    with pytest.raises(vipnet.DataplaneError), cloud.transaction() as tx:
        tx.networks.delete("spare")  # target links, changed before rules
        tx.groups.create_eip("bare", charge_type="traffic")
    assert plane.again == {f"switch:{spare}", f"subnet:{spare}"}


def test_what_is_pending_may_never_have_been_there(cloud: Controller, plane: CountingBackend) -> None:
    front = f"eip:{cloud.eips.show('front').id}"
    plane.lose_after = 0
    with pytest.raises(vipnet.DataplaneError):
        cloud.groups.create_eip("bare", charge_type="traffic")
    plane.lose_after = None
    plane.installed.clear()
    cloud.apply()
    assert front in plane.again
    assert f"eip:{cloud.eips.show('eip-for-grp-bare').id}" not in plane.again
