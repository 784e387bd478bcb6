"""A system of real packets: a host of network namespaces, with machines around it. Needs root."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from vipnet.backend import Backend, BackendContext, Usability
from vipnet.lab import Lab, netns
from vipnet.process import missing, run
from vipnet.testing.real import RealProbe
from vipnet.testing.scene import Scene
from vipnet.testing.system import System

__all__ = ["HostSystem"]

_SETTINGS: Final = Path("/proc/sys/net")
_COUNTS: Final = frozenset({"nf_conntrack_count"})
"""What the kernel itself changes all the time."""

_RULES: Final = """
table bridge vipnet_other {
    set vn_ports { type ifname; elements = { "other0" } }
    chain vn_prerouting { type filter hook prerouting priority -310; iifname @vn_ports counter accept; }
}
table ip vipnet2 {
    map vn_eip_vip { type ipv4_addr : ipv4_addr; elements = { 203.0.113.250 : 192.168.7.250 } }
    chain vn_dstnat { type nat hook prerouting priority dstnat; dnat to ip daddr map @vn_eip_vip; }
}
table arp vipnet_other {
    chain vn_input { type filter hook input priority filter; arp saddr ip 198.51.100.66 drop; }
}
table ip filter {
    chain INPUT { type filter hook input priority filter; policy accept; ip saddr 198.51.100.66 counter drop; }
    chain FORWARD { type filter hook forward priority filter; policy accept; ip saddr 198.51.100.67 counter drop; }
}
table ip nat {
    chain POSTROUTING { type nat hook postrouting priority srcnat; oifname "other0" counter masquerade; }
}
"""
"""Rules of others: in each family that there is, under names like a backend's, and as iptables-nft names its own."""

_LINKS: Final = (
    "link add vnb-other type bridge",
    "link add other0 type veth peer name other1",
    "link set other0 master vnb-other",
    "link set vnb-other up",
    "addr add 198.51.100.65/27 dev vnb-other",
    "neigh add 198.51.100.70 lladdr 02:00:00:00:00:70 dev vnb-other",
    "route add 198.51.100.128/27 via 198.51.100.70 table 77",
    "rule add from 198.51.100.71 lookup 77 pref 77",
)


class HostSystem(System):
    """A host in a lab of its own, which the backend programs through its option `namespace`.

    Derive a class and give it the `name` of a backend; of one that calls its option otherwise, override `context`. `settings`
    are those of the host, below /proc/sys/net, that the backend is known to change for all.
    """

    settings: ClassVar[frozenset[str]] = frozenset()

    streams: ClassVar[int] = 20
    """EIPs to each of which a stream goes, a packet every millisecond, while continuity is asked about; at least 10."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lab = Lab(prefix=os.environ.get("VIPNET_LAB_PREFIX", "contract"))
        self._handed: frozenset[str] = frozenset()
        self._planted: list[str] = []
        self._probe: RealProbe | None = None

    @classmethod
    def usability(cls) -> Usability:
        """Say whether the user is root and the lab's tools are installed, and then whether the backend can work here."""
        if os.geteuid() != 0:
            return Usability(False, "it makes network namespaces, which only root may")
        if absent := missing(["ip", "nft"]):
            return Usability(False, f"not installed: {', '.join(absent)}")
        return super().usability()

    @classmethod
    def abilities(cls) -> frozenset[str]:
        return super().abilities() | {"time"}

    def context(self) -> BackendContext:
        return BackendContext(options={"namespace": self.lab.host})

    def probe(self, backend: Backend[Any], scene: Scene) -> RealProbe:
        del backend  # packets ask what is installed
        assert self._probe is None
        self._handed = frozenset({scene.uplink_device, *(server.device for server in scene.servers)})
        self._probe = RealProbe(self.lab, scene)
        return self._probe

    def plant(self) -> None:
        """Put rules, links, addresses, routes and namespaces of others on the host."""
        self._planted = [f"vn-{secrets.token_hex(6)}", f"{self.lab.host}-other"]
        for space in self._planted:
            netns.add(space)
        for space in (self.lab.host, *self._planted):
            netns.ip(space, _LINKS)
            run(["ip", "netns", "exec", space, "nft", "-f", "-"], stdin=_RULES)

    def others(self) -> frozenset[str]:
        return frozenset(f"{space}: {line}" for space in (self.lab.host, *self._planted) for line in self._listed(space))

    def close(self) -> None:
        if self._probe is not None:
            self._probe.__exit__(None, None, None)
        self.lab.close()
        for space in self._planted:
            netns.delete(space)

    def _listed(self, space: str) -> Iterator[str]:
        yield from _rules(space)
        for what in ("link", "addr", "route show table all", "rule", "neigh show nud permanent"):
            rows: list[dict[str, Any]] = json.loads(run(["ip", "-n", space, "-j", "-d", *what.split()]).stdout or "[]")
            mine = (row for row in rows if not self._handed & {row.get("ifname"), row.get("dev")})
            yield from (f"{what} {json.dumps(_lasting(row), sort_keys=True)}" for row in mine)
        yield from (line for line in netns.call_in(space, lambda: list(_settings())) if not self._is_known(line))

    def _is_known(self, line: str) -> bool:
        setting = line.partition(" ")[0]
        return setting in self.settings or not self._handed.isdisjoint(setting.split("/"))


def _rules(space: str) -> Iterator[str]:
    said = run(["ip", "netns", "exec", space, "nft", "-j", "list", "ruleset"]).stdout
    places: dict[tuple[str, str, str], int] = {}
    for item in json.loads(said)["nftables"]:
        ((kind, row),) = item.items()
        if kind == "metainfo":
            continue
        chain = (row["family"], str(row.get("table")), str(row.get("chain")))
        places[chain] = places.get(chain, -1) + (kind == "rule")
        yield f"nft {kind} {places[chain] if kind == 'rule' else ''} {json.dumps(_lasting(row), sort_keys=True)}"


_FLEETING: Final = frozenset({"handle", "packets", "bytes", "ifindex", "link_index", "hello_timer", "gc_timer", "tcn_timer"})
"""Numbers that stay with nobody: handles, counters, timers, and what the kernel chose for itself."""


def _lasting(row: Any) -> Any:
    if isinstance(row, dict):
        fields = cast(dict[str, Any], row)
        return {key: _lasting(value) for key, value in fields.items() if key not in _FLEETING}
    if isinstance(row, list):
        values: list[Any] = row  # pyright: ignore[reportUnknownVariableType] -- where mypy knows it
        return [_lasting(value) for value in values]
    return row


def _settings() -> Iterator[str]:
    """Every setting of the namespace that this thread is in, and its value."""
    for path in sorted(_SETTINGS.rglob("*")):
        if path.name in _COUNTS or path.is_dir():
            continue
        with suppress(OSError):  # some are for writing alone, some go while we look
            yield f"{path.relative_to(_SETTINGS)} {path.read_text().strip()}"
