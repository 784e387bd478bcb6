"""What the kernel side says when it is refused, interrupted or left without an answer; and what it leaves open: nothing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from pyroute2.netlink.core import CoreMessageQueue
from pyroute2.netlink.exceptions import NetlinkError
from seams import SEAMS

from tests.nftables.conftest import Lab, Subnet
from tests.nftables.test_handles import open_files
from vipnet.errors import DataplaneError
from vipnet.model import DEFAULT_VPC
from vipnet.plan import diff
from vipnet.process import run
from vipnet.testing.injector import Injector
from vipnet_kernel import handles as handles_module
from vipnet_kernel.arp import Announcer
from vipnet_kernel.handles import Handles
from vipnet_kernel.links import inventory
from vipnet_kernel.namespaces import entered
from vipnet_kernel.netlink import loopback_alias
from vipnet_kernel.sysctls import read_sysctls
from vipnet_nftables.entries import NativeEntry

pytestmark = pytest.mark.root


def test_a_netlink_answer_that_is_lost_is_not_waited_for(handles: Handles, space: str) -> None:
    inventory(handles, space)
    files = open_files()
    deaf = patch.object(CoreMessageQueue, "put_nowait")
    with patch.object(handles_module, "_PATIENCE", 0.2), deaf, pytest.raises(DataplaneError, match="timed out"):
        inventory(handles, space)
    assert open_files() < files  # it is closed in the middle of an answer, so that nobody takes that for his own
    assert list(inventory(handles, space).links) == ["lo"]


def test_who_is_interrupted_leaves_nothing_at_work(handles: Handles) -> None:
    did: list[str] = []

    def job() -> None:
        did.append("begun")
        time.sleep(0.3)
        did.append("ended")

    def interrupt() -> None:
        while not did:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        handles.work(job)
    assert did == ["begun", "ended"]
    thread.join()


@contextmanager
def no_file_left() -> Generator[None, None, None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_open_files_is_an_error_with_a_name(handles: Handles, space: str) -> None:
    def enter() -> None:
        with entered(space):
            pass

    for question in (
        enter,
        lambda: run(["true"], stdin="x"),
        lambda: loopback_alias(""),
        lambda: read_sysctls("", ["ipv4/ip_forward"]),
        lambda: inventory(handles, space),
    ):
        with pytest.raises(DataplaneError, match="Too many open files"), no_file_left():
            question()


def test_the_alias_of_a_namespace(handles: Handles, space: str) -> None:
    assert loopback_alias(space) == inventory(handles, space).links["lo"].alias == ""
    run(["ip", "-n", space, "link", "set", "lo", "alias", "of somebody"])
    assert loopback_alias(space) == inventory(handles, space).links["lo"].alias == "of somebody"


def test_a_step_that_cannot_be_taken_back_is_no_refusal(lab: Lab) -> None:
    """The bridge is made, what follows is refused, and so is its removal."""
    entries = lab.backend.compile([*Subnet(DEFAULT_VPC).intents()[:1]])
    (links, *_) = lab.backend.steps(diff({}, entries))
    asked: Any = vars(handles_module)["_asked"]

    def stubborn(socket: Any, noun: str, verb: str, values: Any) -> list[Any]:
        if (noun, verb) in (("link", "set"), ("link", "del")):
            raise NetlinkError(errno.EBUSY, os.strerror(errno.EBUSY))
        found: list[Any] = asked(socket, noun, verb, values)
        return found

    assert [entry.text for entry in links.create] == [f"link add name {links.create[0].key.split()[1]} type bridge"]
    up: dict[str, NativeEntry] = {entry.key: entry for entry in entries.values() if entry.target == "ports"}
    (ports,) = diff({}, up).targets
    assert lab.backend.apply(links) == {}
    with patch.object(handles_module, "_asked", stubborn), pytest.raises(DataplaneError, match="cannot be taken back"):
        lab.backend.apply(ports)
    lab.apply([])


def test_a_refused_frame_is_an_error_with_a_name(lab: Lab) -> None:
    seams = [seam for seam in SEAMS if seam.name == "arp"]
    refused = pytest.raises(DataplaneError, match=r"0\.0\.0\.1 cannot be announced on eth0")
    with closing(Announcer(lab.outside)) as announcer, Injector(seams, point=0), refused:
        announcer.announce("eth0", bytes(6), [1])
