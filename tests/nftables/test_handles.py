"""The sockets of the kernel side: when they are let go, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import re
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from tests.nftables.conftest import (
    Lab,
    Subnet,
    link,
    mapping,
    routing,
    uplink_in_use,
    uuid,
    veth,
)
from vipnet import process
from vipnet.errors import DataplaneError
from vipnet.intents import Released
from vipnet_kernel import namespaces
from vipnet_kernel.handles import Handles
from vipnet_kernel.links import inventory
from vipnet_kernel.namespaces import entered
from vipnet_kernel.requests import (
    NamespaceOf,
    RemoveNamespace,
    send,
)
from vipnet_nftables import NftablesBackend
from vipnet_nftables.compiler import compile_intents

pytestmark = pytest.mark.root


def open_files() -> set[str]:
    gc.collect()
    links = (os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd"))  # noqa: PTH118, PTH208
    found: list[str] = []
    for one in links:
        with suppress(FileNotFoundError):
            found.append(f"{one} {os.readlink(one)}")  # noqa: PTH115
    return {one for one in found if "/proc/" not in one.partition(" ")[2]}


def test_a_replaced_namespace_gets_a_new_socket(handles: Handles, space: str) -> None:
    veth(handles, space)
    assert "a" in inventory(handles, space).links
    subprocess.run(["ip", "netns", "del", space], check=True)
    subprocess.run(["ip", "netns", "add", space], check=True)
    assert list(inventory(handles, space).links) == ["lo"]
    assert send(handles, space, [link("set", ifname="lo", state="up")]) == {}
    subprocess.run(["ip", "netns", "exec", space, "grep", "-q", "lo:", "/proc/net/dev"], check=True)
    assert inventory(handles, space).links["lo"].up


def test_a_deleted_namespace_is_let_go(handles: Handles, space: str) -> None:
    other = f"{space}b"
    namespaces.create(other)
    try:
        add = link("add", ifname="a", kind="veth", peer={"ifname": "b", "net_ns_fd": NamespaceOf(other)})
        assert send(handles, space, [add]) == {}
        inventory(handles, other)
        assert send(handles, "", [RemoveNamespace(other)]) == {}
        for _ in range(200):  # the kernel takes the links away when it gets to it
            if "a" not in inventory(handles, space).links:
                break
            threading.Event().wait(0.01)
        assert "a" not in inventory(handles, space).links
    finally:
        with suppress(FileNotFoundError):
            namespaces.remove(other)
    with pytest.raises(DataplaneError, match=other):
        inventory(handles, other)


def test_sweeping_lets_go_of_what_others_deleted(handles: Handles, space: str) -> None:
    before = open_files()
    inventory(handles, space)
    assert open_files() != before
    subprocess.run(["ip", "netns", "del", space], check=True)
    handles.sweep()
    assert open_files() == before


def test_sockets_are_bounded(handles: Handles) -> None:
    spaces = [f"h1-{secrets.token_hex(4)}" for _ in range(40)]
    before = len(open_files())
    try:
        for name in spaces:
            namespaces.create(name)
            inventory(handles, name)
        assert len(open_files()) - before <= 4 * 32
        assert "lo" in inventory(handles, spaces[0]).links
    finally:
        handles.close()
        for name in spaces:
            with suppress(FileNotFoundError):
                namespaces.remove(name)


def test_nothing_is_open_after_close(lab: Lab) -> None:
    vpc = uuid()
    net = Subnet(vpc)
    intents = [uplink_in_use(), *net.intents(), routing(vpc), mapping(vpc, "203.0.113.100", "192.168.4.100")]
    lab.apply(intents)
    lab.backend.close()
    files, threads = open_files(), set(threading.enumerate())
    for _ in range(2):  # closed backends may be used again
        lab.apply(intents[:-1])
        lab.apply(intents)
        released = [Released(vpc_id=vpc, network_id=net.id, ip=1, eip=2), Released(vpc_id=vpc, network_id=net.id, ip=1, eip=None)]
        lab.backend.flush(released)
        assert set(threading.enumerate()) != threads
        lab.backend.close()
        assert open_files() == files
        assert set(threading.enumerate()) == threads


def test_any_thread_may_use_it_also_one_that_runs_asyncio(handles: Handles, space: str) -> None:
    async def inside() -> list[str]:
        return list(inventory(handles, space).links)

    veth(handles, space)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: list(inventory(handles, space).links)).result() == ["lo", "b", "a"]
    assert asyncio.run(inside()) == ["lo", "b", "a"]
    handles.close()
    assert asyncio.run(inside()) == ["lo", "b", "a"]


def test_a_socket_in_trouble_is_replaced(handles: Handles, space: str) -> None:
    from pyroute2 import AsyncIPRoute

    inventory(handles, space)
    files = open_files()
    refusal = patch.object(AsyncIPRoute, "send", side_effect=OSError(errno.ENOBUFS, "No buffer space available"))
    with refusal, pytest.raises(DataplaneError, match="No buffer space"):
        inventory(handles, space)
    assert open_files() < files
    assert list(inventory(handles, space).links) == ["lo"]


def test_making_a_namespace_leaves_the_thread_where_it_was(space: str) -> None:
    home = namespaces.number("")
    with pytest.raises(FileExistsError):
        namespaces.create(space)
    assert namespaces.number("") == home != namespaces.number(space)
    with entered(space):
        assert namespaces.number("") == namespaces.number(space)
    assert space in namespaces.listed(re.compile(r"h1-[0-9a-f]+"))
    namespaces.remove(space)
    with pytest.raises(FileNotFoundError):
        namespaces.remove(space)


def test_a_name_without_a_namespace_is_no_hindrance(space: str) -> None:
    half = Path("/run/netns", f"{space}b")
    half.touch()  # as left by a process that was killed between two system calls
    try:
        namespaces.create(half.name)
        assert namespaces.exists(half.name)
        namespaces.remove(half.name)
    finally:
        half.unlink(missing_ok=True)


def test_no_program_but_nft_is_started(lab: Lab) -> None:
    started: set[str] = set()
    real: Any = cast(Any, process)._start

    def noted(argv: list[str], **options: int) -> subprocess.Popen[bytes]:
        started.add(argv[0])
        program: subprocess.Popen[bytes] = real(argv, **options)
        return program

    vpc = uuid()
    with patch.object(process, "_start", noted):
        lab.apply([uplink_in_use(), *Subnet(vpc).intents(), routing(vpc)])
        lab.apply([])
    assert started <= {"nft"}  # once a process, to learn what rules are to the kernel


def test_pyroute2_is_loaded_when_it_is_needed() -> None:
    code = "import sys, vipnet_nftables; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert compile_intents([], "0123") == {}


def test_a_missing_pyroute2_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> None: ...

    monkeypatch.setattr("vipnet_nftables.driver.find_spec", nowhere)
    assert "pip install 'vipnet[nftables]'" in NftablesBackend.usability().reason
    assert not NftablesBackend.usability().usable
