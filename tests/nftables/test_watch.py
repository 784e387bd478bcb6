"""The nftables backend under a watch: the promises, and what only a kernel can do."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from systems import NftablesSystem, UnownedSystem

from tests.nftables.vandal import VandalisedSystem, nft
from vipnet.controller import Controller
from vipnet.lab import Lab, netns
from vipnet.lab.netns import ip
from vipnet.process import run
from vipnet.testing import SystemTests, clear, standard_scene
from vipnet.testing.controlled import ControlledNetwork
from vipnet.testing.promises import within
from vipnet.testing.watching import Seen, WatchingPromises
from vipnet_kernel import names
from vipnet_kernel.handles import Handles
from vipnet_kernel.linklist import list_links
from vipnet_kernel.links import inventory

pytestmark = pytest.mark.root

class TestWatching(WatchingPromises, SystemTests):
    system = VandalisedSystem


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlledNetwork]:
    with UnownedSystem(tmp_path_factory.mktemp("system")) as system, ControlledNetwork(system, standard_scene()) as one:
        yield one


@pytest.fixture
def lab(network: ControlledNetwork) -> Lab:
    assert isinstance(network.system, NftablesSystem)
    return network.system.lab


def _descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_it_leaves_no_thread_and_no_file(network: ControlledNetwork) -> None:
    for _ in range(3):
        network.cloud.apply()  # what the backend keeps open for itself is open then, its ears too
    threads, descriptors = threading.active_count(), _descriptors()
    for _ in range(3):
        with network.cloud.watch():
            assert threading.active_count() == threads + 3
    assert (threading.active_count(), _descriptors()) == (threads, descriptors)


def test_one_thread_and_five_sockets_however_many_routers(network: ControlledNetwork) -> None:
    """Five routers are there already."""
    seen = Seen()
    network.cloud.plan()
    before = _descriptors()
    with network.cloud.watch(seen.events.append):
        seen.wait_for("watching")
        assert _descriptors() <= before + 7


def test_a_port_that_is_made_anew_is_joined_at_once(network: ControlledNetwork, lab: Lab) -> None:
    """Nothing of the standard scene is behind it."""
    cloud, seen = network.cloud, Seen()
    cloud.servers.create("late", nets=["red-web:192.168.7.99"], devices=["tap-late"])
    try:
        with cloud.watch(seen.events.append):
            seen.wait_for("watching")
            for _ in range(2):
                seen.events.clear()
                ip(lab.host, ["link add tap-late type veth peer name late0"])
                assert (found := seen.wait_for("port-appeared")).object == "server late", found
                assert within(2.0, lambda: "master vnb" in _shown(lab.host))
                seen.events.clear()
                ip(lab.host, ["link del tap-late"])
                assert seen.wait_for("port-vanished").detail == "interface tap-late"
            assert not {"drift", "repaired", "repair-failed"} & set(seen.words()), seen.events
    finally:
        cloud.servers.delete("late")


def test_links_by_hand_are_those_of_pyroute2(network: ControlledNetwork, lab: Lab) -> None:
    del network
    ip(lab.host, ["link add by-hand type bridge", "link set by-hand alias mine"])
    handles = Handles()
    try:
        wanted = {name: replace(link, addresses=()) for name, link in inventory(handles, lab.host).links.items()}
        assert dict(list_links(lab.host)) == wanted
        assert (wanted["by-hand"].kind, wanted["by-hand"].alias) == ("bridge", "mine")
    finally:
        handles.close()
        ip(lab.host, ["link del by-hand"])


def _shown(host: str) -> str:
    return run(["ip", "-n", host, "link", "show", "tap-late"], check=False).stdout


def test_it_says_who_did_it(network: ControlledNetwork, lab: Lab) -> None:
    seen = Seen()
    with network.cloud.watch(seen.events.append):
        seen.wait_for("watching")
        nft(lab.host, "flush", "ruleset")
        event = seen.wait_for("drift")
    assert re.fullmatch(r"\d+ missing; by nft \(process \d+\)", event.detail)
    assert event.object == "nft:"


def test_tables_and_links_of_others_are_left_alone(network: ControlledNetwork, lab: Lab) -> None:
    seen = Seen()
    with network.cloud.watch(seen.events.append):
        seen.wait_for("watching")
        nft(lab.host, "add", "table", "inet", "theirs")
        ip(lab.host, ["link add theirs type bridge", "link set theirs up"])
        time.sleep(1)
        nft(lab.host, "delete", "table", "inet", "theirs")
        ip(lab.host, ["link del theirs"])
        time.sleep(0.5)
    assert seen.words() == ["watching"]


def test_who_undoes_it_again_and_again_is_named_and_not_fought(network: ControlledNetwork, lab: Lab) -> None:
    seen = Seen()
    with network.cloud.watch(seen.events.append):
        seen.wait_for("watching")
        until = time.monotonic() + 20
        while "contested" not in seen.words() and time.monotonic() < until:
            nft(lab.host, "flush", "ruleset")
            time.sleep(0.3)
        assert seen.wait_for("contested").object == "host"
        repaired = seen.words().count("repaired")
        for _ in range(5):
            nft(lab.host, "flush", "ruleset")
            time.sleep(0.2)
        assert seen.words().count("repaired") <= repaired + 1
        assert within(15, lambda: not network.cloud.plan()), seen.events


def test_processes_share_the_store_with_a_watch(lab: Lab, tmp_path: Path) -> None:
    """The watch holds no lock while idle, and takes what another process did for no drift."""
    config = _config(tmp_path, f"{lab.host}2")
    ip_netns(lab, f"{lab.host}2")
    seen = Seen()
    with Controller.open(config) as cloud:
        try:
            with cloud.watch(seen.events.append):
                seen.wait_for("watching")
                for words in (
                    "vpc-create prod 192.168.0.0/16 --external-access-mode none",
                    "network-create web 192.168.4.0/22 --vpc prod",
                    "server-create s --net web",
                    "server-delete s",
                ):
                    run([sys.executable, "-m", "vipnet", "--config", str(config), *words.split()], timeout=60)
                time.sleep(1)
                assert seen.words() == ["watching"], seen.events
                vpc = cloud.vpcs.show("prod").id
                netns.delete(names.router_namespace(vpc))
                seen.wait_for("repaired")
                assert within(5, lambda: not cloud.plan())
            run([sys.executable, "-m", "vipnet", "--config", str(config), "network-delete", "web"], timeout=60)
            run([sys.executable, "-m", "vipnet", "--config", str(config), "vpc-delete", "prod"], timeout=60)
        finally:
            clear(cloud.backend)
            netns.delete(f"{lab.host}2")


def _config(folder: Path, host: str, *, own: bool = True) -> Path:
    config = folder / "vipnet.toml"
    options = f'namespace = "{host}"\nown = {str(own).lower()}\n'
    config.write_text(f'store = "sqlite:///{folder}/s.db"\nbackend = "nftables"\n[backends.nftables]\n{options}')
    return config


def ip_netns(lab: Lab, name: str) -> None:
    lab.namespaces.append(name)
    netns.add(name)


def test_the_command_over_the_kernel(lab: Lab, tmp_path: Path) -> None:
    space = f"{lab.host}3"
    ip_netns(lab, space)
    config = _config(tmp_path, space, own=False)
    with Controller.open(config) as cloud:
        cloud.vpcs.create("prod", "192.168.0.0/16", external_access_mode="none")
        cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
        argv = [sys.executable, "-m", "vipnet", "--config", str(config), "-o", "json", "watch"]
        try:
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watching:
                assert watching.stdout is not None
                assert json.loads(watching.stdout.readline())["event"] == "watching"
                nft(space, "flush", "ruleset")
                assert json.loads(watching.stdout.readline())["event"] == "drift"
                assert json.loads(watching.stdout.readline())["event"] == "repaired"
                watching.send_signal(signal.SIGTERM)
                assert watching.wait(30) == 0
            assert not cloud.plan()
        finally:
            clear(cloud.backend)
            netns.delete(space)
