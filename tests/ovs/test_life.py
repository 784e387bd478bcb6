"""The switch's own life: its database restarted, its daemon killed, bridges and flows of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from systems import OvsSystem

from vipnet.backend import BackendContext
from vipnet.errors import DataplaneError
from vipnet.process import run
from vipnet.testing import Answer, SystemNetwork, SystemTests, clear, standard_scene
from vipnet.testing.network import converge
from vipnet.testing.probe import OUTSIDE
from vipnet.testing.promises import EIP, settle, within
from vipnet_ovs import OvsBackend

WORLD = "203.0.113.1"


def _system(network: SystemNetwork) -> OvsSystem:
    assert isinstance(network.system, OvsSystem)
    return network.system


def _vsctl(system: OvsSystem, *arguments: str) -> str:
    return run(["ovs-vsctl", f"--db={system.switch.database}", *arguments]).stdout


def _ofctl(system: OvsSystem, bridge: str, verb: str, *arguments: str) -> str:
    return run(["ovs-ofctl", "-O", "OpenFlow15", verb, f"unix:{system.switch.rundir / bridge}.mgmt", *arguments]).stdout


@pytest.mark.root
class TestLife(SystemTests):
    system = OvsSystem

    def test_the_database_may_be_restarted(self, network: SystemNetwork) -> None:
        settle(network)
        connection = network.probe.connect(OUTSIDE, EIP)
        _system(network).switch.restart_database()
        network.become(standard_scene().with_members("red", "a", "b", "c"))
        assert connection.alive()
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)
        assert not network.backend.changed()

    def test_a_killed_switch_is_noticed_and_made_whole(self, network: SystemNetwork) -> None:
        settle(network)
        switch = _system(network).switch
        assert not network.backend.changed()
        switch.kill_vswitchd()
        switch.start_vswitchd()
        assert network.backend.changed()
        assert network.probe.udp(OUTSIDE, EIP) is None  # secure: nothing passes without flows
        assert converge(network.backend, network.scene)
        assert within(2.0, lambda: network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD))
        assert not network.backend.changed()

    def test_what_somebody_does_to_flows_is_noticed_by_their_number(self, network: SystemNetwork) -> None:
        settle(network)
        system = _system(network)
        for verb, line in (("add-flow", "table=30,priority=1,ip,actions=drop"), ("del-flows", "table=1,arp")):
            assert not network.backend.changed()
            _ofctl(system, "vipnet0", verb, line)
            assert network.backend.changed()
            converge(network.backend, network.scene)

    def test_groups_and_meters_that_somebody_left_are_swept(self, network: SystemNetwork) -> None:
        settle(network)
        system = _system(network)
        before = _ofctl(system, "vipnet0", "dump-groups"), _ofctl(system, "vipnet0", "dump-meters")
        _ofctl(system, "vipnet0", "add-group", "group_id=77,type=all")
        _ofctl(system, "vipnet0", "add-meter", "meter=777,kbps,band=type=drop,rate=1000")
        network.backend.read()
        assert not network.backend.is_prepared()
        network.backend.prepare()
        assert network.backend.is_prepared()
        assert (_ofctl(system, "vipnet0", "dump-groups"), _ofctl(system, "vipnet0", "dump-meters")) == before
        assert network.probe.udp(OUTSIDE, EIP) == Answer("a", WORLD)

    def test_another_process_knows_what_this_one_left(self, network: SystemNetwork) -> None:
        settle(network)
        system, stamp = _system(network), network.backend.stamp()
        assert stamp
        other = OvsBackend(system.context())
        assert other.changed()
        assert other.adopt(stamp)
        assert not other.changed()
        _ofctl(system, "vipnet0", "del-flows", "table=1,arp")
        assert not other.adopt(stamp)
        other.close()
        converge(network.backend, network.scene)
        assert network.backend.stamp() not in ("", stamp)

    def test_bridges_and_ports_of_others_stay(self, network: SystemNetwork) -> None:
        system = _system(network)
        _vsctl(system, "add-br", "other0", "--", "set", "bridge", "other0", "datapath_type=netdev", "fail_mode=secure")
        _ofctl(system, "other0", "add-flow", "table=0,priority=5,cookie=0x766e000000000001,ip,actions=drop")
        before = _vsctl(system, "list", "bridge", "other0"), _ofctl(system, "other0", "dump-flows", "--no-stats")
        network.become(standard_scene().without_eip(EIP))
        clear(network.backend)
        assert "vipnet0" not in _vsctl(system, "list-br")
        assert (_vsctl(system, "list", "bridge", "other0"), _ofctl(system, "other0", "dump-flows", "--no-stats")) == before
        converge(network.backend, network.scene)
        _vsctl(system, "del-br", "other0")

    def test_a_bridge_that_is_not_ours_is_refused_unless_it_is_lent(self, network: SystemNetwork) -> None:
        system = _system(network)
        clear(network.backend)
        _vsctl(system, "add-br", "lent0", "--", "set", "bridge", "lent0", "datapath_type=netdev", "fail_mode=secure")
        options = {**system.context().options, "bridge": "lent0"}
        stranger = OvsBackend(BackendContext(options=options))
        with pytest.raises(DataplaneError, match=r"bridge lent0 that is not ours.*existing = true"):
            stranger.read()
        stranger.close()
        guest = OvsBackend(BackendContext(options={**options, "existing": True}))
        converge(guest, network.scene)
        assert len(guest.read()) == len(guest.compile(network.scene.intents()))
        clear(guest)
        assert not _ofctl(system, "lent0", "dump-flows", "--no-stats").splitlines()[1:]
        assert _vsctl(system, "list-ports", "lent0") == ""
        guest.close()
        _vsctl(system, "del-br", "lent0")
        converge(network.backend, network.scene)

    def test_a_switch_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataplaneError, match=r"nobody/db\.sock does not answer"):
            OvsBackend(BackendContext(options={"database": f"unix:{tmp_path}/nobody/db.sock"})).read()
