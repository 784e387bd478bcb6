"""Cutting connections in the kernel's own table: exactly those of the addresses that are released, whoever looks for them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from socket import socket
from unittest.mock import patch

import pytest

from tests.nftables.conftest import ip
from vipnet.errors import DataplaneError
from vipnet_kernel import conntrack, namespaces
from vipnet_kernel.conntrack import cut_connections
from vipnet_kernel.netlink import attributes, outcomes
from vipnet_kernel.sockets import Sockets

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="not installed: conntrack (Debian package conntrack)"),
]

GONE, KEPT, VIP, NEW, CLIENT = "203.0.113.100", "203.0.113.101", "192.168.4.100", "192.168.4.102", "198.51.100.7"
FILTER = 25


@pytest.fixture
def elsewhere() -> Iterator[str]:
    name = f"h1-{secrets.token_hex(4)}"
    namespaces.create(name)
    yield name
    namespaces.remove(name)


@pytest.fixture(params=[1, conntrack._MANY], ids=["as among many", "among few"], autouse=True)  # pyright: ignore[reportPrivateUsage]
def many(request: pytest.FixtureRequest) -> Iterator[int]:
    """From how many connections on the kernel's filters are asked."""
    with patch.object(conntrack, "_MANY", request.param):
        yield request.param


def udp(source: str, target: str, *more: str, port: int = 1000) -> str:
    return f"-I -p udp -t 600 --sport {port} --dport 53 -s {source} -d {target} {' '.join(more)}"


def roles(eip: str, vip: str) -> list[str]:
    """An EIP and a VIP in every place that a connection has for them."""
    return [
        udp(CLIENT, eip, f"--dst-nat {vip}", port=last(vip)),
        udp(CLIENT, eip, f"--dst-nat {vip} --src-nat 192.168.4.1", port=1000 + last(vip)),  # from within the VPC
        udp(vip, CLIENT, f"--src-nat {eip}", port=2000 + last(vip)),
        udp(CLIENT, eip, f"--dst-nat {vip} --zone 7", port=3000 + last(vip)),
        udp(vip, CLIENT, f"--src-nat {eip} --orig-zone 9", port=4000 + last(vip)),
        f"-I -p tcp -t 600 --state ESTABLISHED --sport {last(vip)} --dport 80 -s {CLIENT} -d {eip} --dst-nat {vip}",
        f"-I -p gre -t 600 --srckey {last(vip)} --dstkey 2 -s {CLIENT} -d {eip} --dst-nat {vip}",
    ]


def last(address: str) -> int:
    return int(address.rpartition(".")[2])


def crowd(total: int) -> list[str]:
    """Connections of others, to addresses that differ from one another."""
    return [udp(CLIENT, f"198.18.{i >> 8 & 255}.{i & 255}", port=2000 + (i >> 16)) for i in range(total)]


def fill(space: str, folder: Path, rows: Sequence[str]) -> None:
    file = folder / "rows"
    file.write_text("\n".join(rows) + "\n")
    subprocess.run(["ip", "netns", "exec", space, "conntrack", "-R", str(file)], check=True, capture_output=True)


def listed(space: str) -> set[str]:
    """Both tuples, and the zone, of each connection."""
    lines: list[str] = []
    for family in ("ipv4", "ipv6"):
        argv = ["ip", "netns", "exec", space, "conntrack", "-L", "-f", family]
        lines += subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return {" ".join([line.split()[1], *(word for word in line.split() if "=" in word and word[:4] != "use=")]) for line in lines}


def naming(rows: set[str], address: str) -> set[str]:
    return {row for row in rows if {f"src={address}", f"dst={address}"} & set(row.split())}


def as_before_6_12(link: socket, kind: int, payloads: Sequence[bytes]) -> list[int]:
    """What such a kernel makes of it: it knows no filter beside a tuple."""
    return outcomes(link, kind, [one[: -len(filter_of(one)) or None] for one in payloads])


def filter_of(payload: bytes) -> bytes:
    """The attribute at the end of a payload, with its header."""
    held = attributes(payload, 4).get(FILTER)
    return b"" if held is None else payload[-len(held) - 4 :]


def refusing(code: int, link: socket, kind: int, payloads: Sequence[bytes]) -> list[int]:
    return [code] * len(payloads) if filter_of(payloads[0]) else outcomes(link, kind, payloads)


def idle(_link: socket, _kind: int, payloads: Sequence[bytes]) -> list[int]:
    return [0] * len(payloads)


def answering(how: Callable[[socket, int, Sequence[bytes]], list[int]]) -> AbstractContextManager[object]:
    return patch.object(conntrack, "outcomes", how)


def ended(*others: str) -> list[tuple[int, int]]:
    """The mapping of GONE to VIP, and of others to it."""
    return [(ip(eip), ip(VIP)) for eip in (GONE, *others)]


WAYS: dict[str, tuple[Sequence[tuple[int, int]], AbstractContextManager[object]]] = {
    "one": (ended(), nullcontext()),
    "two": (ended("203.0.113.9"), nullcontext()),
    "many": (ended(*(f"203.0.113.{number}" for number in range(1, 90))), nullcontext()),
    "no filter": (ended(), answering(as_before_6_12)),
    "EINVAL": (ended(), answering(partial(refusing, errno.EINVAL))),
    "EOPNOTSUPP": (ended(), answering(partial(refusing, errno.EOPNOTSUPP))),
}


@pytest.mark.parametrize("total", [300, pytest.param(100_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", WAYS)
def test_exactly_the_connections_of_what_is_released_end(
    space: str, elsewhere: str, tmp_path: Path, way: str, total: int, sockets: Sockets
) -> None:
    mappings, kernel = WAYS[way]
    ours = [*roles(GONE, VIP), *roles(KEPT, "192.168.4.101"), *roles(GONE, NEW), *roles(KEPT, "192.168.4.103")]
    fill(space, tmp_path, [*ours, *crowd(total), udp("2001:db8::1", "2001:db8::2")])
    fill(elsewhere, tmp_path, ours)
    before, there = listed(space), listed(elsewhere)
    assert len(before) == len(ours) + total + 1
    gone = naming(before, GONE) & naming(before, VIP)
    assert len(gone) == len(ours) / 4
    with kernel:
        cut_connections(sockets, space, mappings)
    assert listed(space) == before - gone
    assert listed(elsewhere) == there


@pytest.mark.parametrize("others", [0, 5])
def test_more_connections_than_fit_in_one_answer_end(space: str, tmp_path: Path, others: int, sockets: Sockets) -> None:
    fill(space, tmp_path, [udp(CLIENT, GONE, f"--dst-nat {VIP}", port=1000 + i) for i in range(700)])
    with answering(as_before_6_12):
        cut_connections(sockets, space, ended(*(f"203.0.113.{number}" for number in range(others))))
    assert listed(space) == set()


def test_nothing_released_asks_nothing(sockets: Sockets) -> None:
    cut_connections(sockets, "there-is-no-such-namespace", [])
    with pytest.raises(DataplaneError, match="there-is-no-such-namespace"):
        cut_connections(sockets, "there-is-no-such-namespace", [(1, 2)])


@pytest.mark.parametrize("many", [1], indirect=True)
def test_a_tuple_without_its_filter_deletes_nothing(space: str, tmp_path: Path, sockets: Sockets) -> None:
    """So an older kernel, which does not see the filter, does no harm."""
    fill(space, tmp_path, roles(GONE, VIP))
    before = listed(space)
    answers: list[int] = []

    def only_filters(link: socket, kind: int, payloads: Sequence[bytes]) -> list[int]:
        answers.extend(as_before_6_12(link, kind, payloads))
        raise OSError(errno.EINTR, "enough")

    with answering(only_filters), pytest.raises(DataplaneError, match="enough"):
        cut_connections(sockets, space, ended())
    assert answers == [errno.EINVAL] * 2
    assert listed(space) == before


@pytest.mark.parametrize("released", [ended(), ended(KEPT, NEW)])
def test_connections_that_come_back_are_an_error(
    space: str, tmp_path: Path, released: list[tuple[int, int]], sockets: Sockets
) -> None:
    fill(space, tmp_path, [udp(CLIENT, GONE, f"--dst-nat {VIP}")])
    with answering(idle), pytest.raises(DataplaneError, match=r"203\.0\.113\.100.* in .* come back"):
        cut_connections(sockets, space, released)
    assert len(listed(space)) == 1
    cut_connections(sockets, space, released)
    assert listed(space) == set()


def test_what_ends_by_itself_meanwhile_is_no_error(space: str, tmp_path: Path, sockets: Sockets) -> None:
    fill(space, tmp_path, roles(GONE, VIP))

    def late(link: socket, kind: int, payloads: Sequence[bytes]) -> list[int]:
        return as_before_6_12(link, kind, payloads) + as_before_6_12(link, kind, payloads)

    with answering(late):
        cut_connections(sockets, space, ended())
    assert listed(space) == set()


@pytest.mark.parametrize("many", [1], indirect=True)
def test_a_refusal_of_another_kind_is_told(space: str, tmp_path: Path, sockets: Sockets) -> None:
    fill(space, tmp_path, roles(GONE, VIP))
    with answering(partial(refusing, errno.EPERM)), pytest.raises(DataplaneError, match=os.strerror(errno.EPERM)):
        cut_connections(sockets, space, ended())
