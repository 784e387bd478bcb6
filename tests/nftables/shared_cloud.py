"""A store and a kernel that many processes share, and whether the two agree, by another opinion than vipnet's own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel import loopback_alias, sets

from tests.nftables.conftest import OUTSIDE, ip_batch
from vipnet.controller import Controller
from vipnet.errors import DataplaneError
from vipnet.invariants import check_topology
from vipnet.model import DEFAULT_VPC
from vipnet.operations.draft import World
from vipnet_kernel.names import bridge, gateway_namespace, owner_mark, router_namespace
from vipnet_kernel.sysctls import read_sysctls

__all__ = ["Settled", "SharedCloud"]

_CONFIG = """
store = "sqlite:///{path}"
backend = "nftables"
[uplinks.pub]
device = "{uplink}"
address = "203.0.113.2/24"
gateway = "{gateway}"
[backends.nftables]
namespace = "{space}"
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the first `apply` after all had ended found pending, and the newest revision."""

    pending: int
    revision: int


class SharedCloud:
    """A configuration in a folder, for processes of any kind; `fill` makes what they begin with.

    `host` names the namespace of the ports; `devices` are those that are to be made for it.
    """

    def __init__(
        self,
        host: str,
        folder: Path,
        fill: Callable[[Controller], None],
        *,
        devices: Iterable[str] = (),
        uplink: str = "ext0",
        world: World | None = None,
    ) -> None:
        self.host = host
        self.path = folder / "s.db"
        self.config = folder / "vipnet.toml"
        self.config.write_text(_CONFIG.format(path=self.path, gateway=OUTSIDE, space=host, uplink=uplink))
        self._world = world
        self._alien = set[tuple[str, int]]()
        pairs = [f"link add name {device} type veth peer name {device}0" for device in devices]
        assert not pairs or not ip_batch(host, pairs)
        self._before = self._links() | self._spaces()
        with self.opened() as cloud:
            fill(cloud)

    def opened(self) -> Controller:
        return Controller.open(self.config, world=self._world)

    def settle(self) -> Settled:
        """Finish what is pending, and see that nothing is left to do and nothing differs."""
        pending = self.pending()
        with self.opened() as cloud:
            report = cloud.apply()
            assert (report.quarantined, self.pending()) == ((), 0)
            assert not (rest := cloud.plan()), str(rest)
            check_topology(cloud.topology)
        assert list(self.differences()) == []
        return Settled(pending, report.revision)

    def pending(self) -> int:
        """How many revisions are, by the store's table."""
        return len(self._rows(_PENDING))

    def differences(self) -> Iterator[str]:
        """Where the tables of the store, the namespaces and links, and the rulesets contradict each other."""
        yield from _lists("addresses", Counter(self._rows(_USED)), Counter(self._rows(_HELD)))
        yield from _lists("pending", Counter(self._rows(_PENDING)), Counter())
        vpcs = [id for (id,) in self._rows("SELECT id FROM vpcs") if id != DEFAULT_VPC]
        for vpc in vpcs:
            mapped = [(eip, vip) for id, eip, vip in self._rows(_MAPPED) if id == vpc]
            yield from _mappings(router_namespace(vpc), mapped)
        bridges = {bridge(id) for (id,) in self._rows("SELECT id FROM networks WHERE server_type != 'eip'")} | {"vnu0"}
        spaces = {router_namespace(vpc) for vpc in vpcs} | {gateway_namespace(owner_mark(self.host))}
        found = self._links() | self._spaces()
        kept = {name for name in found - self._before if not name.startswith(("vnr", "vnl"))}
        yield from _lists("links and namespaces", Counter(kept), Counter(bridges | spaces))
        yield from _set(_Rulesets(self.host), "bridge", "vn_bridges", bridges)
        ours = [f"ipv6/conf/{name}/disable_ipv6" for name in found if name.startswith("vn") and name not in spaces]
        yield from (f"{name} = {value}" for name, value in read_sysctls(self.host, ours).items() if value != "1")

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as store:
            return store.execute(query).fetchall()

    def _links(self) -> set[str]:
        return {link["ifname"] for link in self._shown()}

    def _shown(self) -> list[dict[str, Any]]:
        shown = subprocess.run(["ip", "-n", self.host, "-d", "-j", "link"], check=True, capture_output=True).stdout
        return list(json.loads(shown))

    def _spaces(self) -> set[str]:
        """Namespaces of this host's vipnet."""
        found = set(_namespaces())
        mark = f"vipnet {owner_mark(self.host)}"
        self._alien |= {one for one in found - self._alien if mark not in _alias(one[0])}
        return {name for name, _ in found - self._alien}


_USED = "SELECT network_id, ip FROM addresses WHERE state != 'reserved' AND state != 'resting'"
_HELD = " UNION ALL ".join(f"SELECT network_id, ip FROM {table}" for table in ("nics", "vips", "eips"))
_PENDING = "SELECT id FROM revisions WHERE state = 'pending'"
_MAPPED = (
    "SELECT networks.vpc_id, eips.ip, vips.ip FROM eips JOIN vips ON vips.id = eips.vip_id "
    "JOIN networks ON networks.id = vips.network_id"
)


def _mappings(router: str, wanted: list[tuple[str, str]]) -> Iterator[str]:
    eips = {("up0", eip) for eip, _ in wanted}
    found = _Rulesets(router)
    yield from _set(found, "ip", "vn_eip_vip", set(wanted))
    yield from _set(found, "ip", "vn_vip_eip", {(vip, eip) for eip, vip in wanted})
    yield from _set(found, "ip", "vn_eips", eips)
    yield from _set(found, "arp", "vn_eips", eips)
    for counters in ("vn_rx_count", "vn_tx_count"):
        yield from _set(found, "ip", counters, {eip for eip, _ in wanted})


class _Rulesets:
    """What nft lists in a namespace."""

    def __init__(self, space: str) -> None:
        self.space = space
        self._rows = [body for row in sets(space) for noun, body in row.items() if noun in ("set", "map")]

    def elements(self, family: str, name: str) -> list[Any]:
        return [elem for row in self._rows if (row["family"], row["name"]) == (family, name) for elem in row.get("elem", ())]


def _set(found: _Rulesets, family: str, name: str, wanted: set[Any]) -> Iterator[str]:
    elements = found.elements(family, name)
    yield from _lists(f"{found.space} {family} {name}", Counter(map(_plain, elements)), Counter(wanted))


def _plain(element: Any) -> Any:
    match element:
        case {"concat": parts}:
            return tuple(parts)
        case [key, value]:
            return key, value
        case {"elem": {"val": key}}:
            return key
        case _:
            return element


def _lists(what: str, found: Counter[Any], wanted: Counter[Any]) -> Iterator[str]:
    if found != wanted:
        yield f"{what}: {dict(found - wanted)} too much, {dict(wanted - found)} missing"


def _namespaces() -> Iterator[tuple[str, int]]:
    """Names that vipnet could have given, with the kernel's number of each."""
    for path in Path("/run/netns").glob("vn*"):
        with suppress(FileNotFoundError):  # another's, and gone by now
            yield path.name, path.stat().st_ino


def _alias(space: str) -> str:
    try:
        return loopback_alias(space)
    except DataplaneError:  # another's, and gone by now
        return ""
