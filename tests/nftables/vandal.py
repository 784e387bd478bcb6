"""What root of the host can do who does not know what belongs to vipnet: by `nft`, `ip` and `sysctl`, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from systems import UnownedSystem

from vipnet.backend import Backend
from vipnet.lab.netns import delete, ip
from vipnet.process import run
from vipnet.testing.promises import EIP
from vipnet_kernel import names

__all__ = ["VandalisedSystem", "nft"]


def nft(namespace: str, *words: str) -> None:
    run(["ip", "netns", "exec", namespace, "nft", *words])


def set_sysctl(namespace: str, setting: str) -> None:
    run(["ip", "netns", "exec", namespace, "sysctl", "-qw", setting])


class VandalisedSystem(UnownedSystem):
    """A host on which more is damaged, one thing at a time; each cuts off the EIP of group `red`, or unguards its VIP."""

    def damages(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        return {**super().damages(backend), **self._damages_of_red(backend)}

    def _damages_of_red(self, backend: Backend[Any]) -> Mapping[str, Callable[[], object]]:
        host, installed = self.lab.host, backend.read()
        router = next(entry.namespace for key, entry in installed.items() if key.endswith(f" eip {EIP}"))
        bridge = installed["attachment tap-a"].bridge
        leg = f"vns{bridge.removeprefix('vnb')}"
        far = names.far_end(router, leg)
        return {
            "the host's ruleset flushed": lambda: nft(host, "flush", "ruleset"),
            "the host's table deleted": lambda: nft(host, "delete", "table", "bridge", "vipnet"),
            "the host's rules flushed": lambda: nft(host, "flush", "chain", "bridge", "vipnet", "vn_prerouting"),
            "the router's ruleset flushed": lambda: nft(router, "flush", "ruleset"),
            "a table of the router deleted": lambda: nft(router, "delete", "table", "ip", "vipnet"),
            "an element deleted": lambda: nft(router, "delete", "element", "ip", "vipnet", "vn_eip_vip", f"{{ {EIP} }}"),
            "a rule added": lambda: nft(router, "insert", "rule", "ip", "vipnet", "vn_arrive", "ip", "daddr", EIP, "drop"),
            "the bridge deleted": lambda: ip(host, [f"link del {bridge}"]),
            "the bridge set down": lambda: ip(host, [f"link set {bridge} down"]),
            "a port taken off its bridge": lambda: ip(host, ["link set tap-a nomaster"]),
            "a port set down": lambda: ip(host, ["link set tap-a down"]),
            "the router's leg taken off its bridge": lambda: ip(host, [f"link set {far} nomaster"]),
            "the router's leg deleted": lambda: ip(host, [f"link del {far}"]),
            "the router's leg set down": lambda: ip(router, [f"link set {leg} down"]),
            "the router's addresses flushed": lambda: ip(router, [f"addr flush dev {leg}"]),
            "the router's routes flushed": lambda: ip(router, ["route flush table 90"]),
            "a routing rule deleted": lambda: ip(router, ["rule del pref 90"]),
            "forwarding switched off": lambda: set_sysctl(router, "net.ipv4.ip_forward=0"),
            "the router's namespace deleted": lambda: delete(router),
        }
