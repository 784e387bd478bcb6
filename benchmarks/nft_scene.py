"""The network of the nftables benchmark, in namespaces of its own: a host with an uplink, who is outside, and a server."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from raw_netfilter import element_count

from vipnet.addresses import format_ip4
from vipnet.backend import Backend, BackendContext
from vipnet.intents import (
    EipMapping,
    Intent,
    PortSecurity,
    SubnetRouting,
    SubnetSwitching,
    Uplink,
    UplinkSwitching,
    VpcRouting,
)
from vipnet.plan import TargetPlan, diff
from vipnet_kernel.names import owner_mark
from vipnet_kernel.namespaces import entered
from vipnet_nftables import NftablesBackend
from vipnet_nftables.entries import NativeEntry

__all__ = ["Host", "Scene", "declared", "grouped", "in_words", "nft", "without_state"]

_OUTSIDE, _HERE, _GATEWAY, _SERVER = 0xCB007101, 0xCB007102, 0x0AFFFF01, 0x0AFFFF0A
_EIPS, _VIPS = 0x14000001, 0x0A000001
_UPLINK: Final = Uplink(name="pub", index=0, device="ext0", address=(_HERE, 24), gateway=_OUTSIDE)
_MAC: Final = "02:00:00:00:00:0a"
_ELEMENT: Final = re.compile(r"add element (\w+ \w+ \w+) \{ (.*?) \}")
_STATE: Final = re.compile(r" (limit .* bytes|comment \"[^\"]*\")")
_SPACES: Final = Path("/run/netns")
_CONFIG: Final = """
store = "{store}"
backend = "nftables"
[uplinks.pub]
device = "ext0"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[backends.nftables]
namespace = "{space}"
own = false  # nft 1.0.6, which is measured beside us, cannot list tables that persist so that it can be read again
"""


def nft(namespace: str, *arguments: str, text: str | None = None) -> str:
    """Run nft in a namespace and return what it prints. Exits when it fails."""
    with entered(namespace):
        done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"nft {' '.join(arguments)[:80]} in {namespace}: {done.stderr[:300]}, status {done.returncode}")
    return done.stdout


def in_words(entries: Iterable[NativeEntry]) -> dict[str, list[str]]:
    """What nft calls the elements that entries are: by family, table and set."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for place, element in _ELEMENT.findall(entry.text):
            found.setdefault(place, []).append(element)
    return found


def grouped(words: Mapping[str, Sequence[str]], verb: str = "add") -> str:
    """Commands for nft, one each set, as nft itself is fastest."""
    return "".join(f"{verb} element {place} {{ {', '.join(elements)} }}\n" for place, elements in words.items())


def declared(router: str, eips: int) -> str:
    """A file for nft that makes the tables of a router anew, with maps for so many EIPs, sized as vipnet sizes them."""
    there = nft(router, "-t", "list", "ruleset")
    return "flush ruleset\n" + re.sub(r"\bsize \d+", f"size {max(512, 2 * eips)}", there)


def without_state(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Elements as they are asked for and deleted: without limits and comments."""
    return {place: [_STATE.sub("", element) for element in elements] for place, elements in words.items()}


def _ip(space: str, *lines: str) -> None:
    text = "\n".join(lines) + "\n"
    subprocess.run(["ip", "-n", space, "-batch", "-"], input=text, capture_output=True, text=True, check=True)


class Host:
    """A host's namespace with an uplink, and one outside, at its other end. When closed, all that vipnet made there goes."""

    def __init__(self) -> None:
        self._before = _spaces()
        mark = secrets.token_hex(3)
        self.space, self.outside, self.server = (f"bench-{mark}-{what}" for what in ("host", "out", "server"))
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(self) -> None:
        """Make what is vipnet's to use. The server holds the first VIP."""
        for space in (self.space, self.outside, self.server):
            subprocess.run(["ip", "netns", "add", space], check=True)
            _ip(space, "link set lo up")
        # of a pair whose ends have the same number the kernel notices a new carrier up to 1 s late
        _ip(self.space, "link add name spare0 type veth peer name spare1")
        for device, peer, mac in (("ext0", self.outside, "02:00:00:00:00:fe"), ("tap0", self.server, _MAC)):
            _ip(self.space, f"link add name {device} type veth peer name eth0 address {mac} netns {peer}")
            _ip(self.space, f"link set dev {device} addrgenmode none")
            _ip(peer, "link set dev eth0 addrgenmode none", "link set dev eth0 up")
        _ip(self.outside, "address add 203.0.113.1/24 dev eth0", "route add 20.0.0.0/8 dev eth0")
        _ip(self.server, "address add 10.255.255.10/8 dev eth0", "address add 10.0.0.1/32 dev eth0")
        _ip(self.server, "route add default via 10.255.255.1")

    @property
    def identity(self) -> str:
        """By which the vipnet that programs this host is told from others."""
        return self.space

    def routers(self) -> list[str]:
        """The namespaces that a vipnet made which programs this host."""
        owner = f"vipnet {owner_mark(self.identity)}"
        return [name for name in sorted(_spaces() - self._before) if name.startswith("vn") and owner in _loopback(name)]

    def wipe(self) -> None:
        """Lose the data plane, as by a reboot."""
        self.close()
        self.make()

    def close(self) -> None:
        """Remove the namespaces, and everything in them."""
        for space in (*self.routers(), self.space, self.outside, self.server):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    def elements(self) -> int:
        """How many the kernel has, in all sets and maps of vipnet's namespaces."""
        return sum(map(element_count, (self.space, *self.routers())))

    def configuration(self, folder: Path, *, store: str) -> Path:
        """A configuration file for a Controller at work here."""
        path = folder / "vipnet.toml"
        path.write_text(_CONFIG.format(store=store, space=self.space))
        return path


class Scene(Host):
    """A host with one VPC, by intents: everything is there, `base`, but its EIPs. `router`: the namespace of the VPC's router."""

    eip, vip = format_ip4(_EIPS), format_ip4(_VIPS)
    """Those of number 0."""

    def __init__(self) -> None:
        super().__init__()
        self.vpc = secrets.token_hex(6)
        try:
            self.backend = self.opened()
            self.base = self.backend.compile(self._base())
            self.program(self.base)
            (self.router,) = self.routers()
            self.backend.read()
        except BaseException:
            self.close()
            raise

    def opened(self) -> Backend[Any]:
        """The backend, which has just been started."""
        return NftablesBackend(BackendContext(options={"namespace": self.space, "own": False}))

    def close(self) -> None:
        with suppress(AttributeError):
            self.backend.close()
        super().close()

    def reopen(self) -> None:
        """Go on with another backend, that has nothing to announce."""
        self.backend.close()
        self.backend = self.opened()

    def mappings(self, first: int, last: int) -> list[EipMapping]:
        """EIPs by number, `last` not included; that of number 0 is the server's."""
        return list(map(self.mapped, range(first, last)))

    def mapped(self, number: int) -> EipMapping:
        """An EIP by number, to the VIP of that number."""
        return EipMapping(
            eip_id=f"{number:012x}-0000-4000-8000-000000000000",
            vpc_id=self.vpc,
            network_id="e",
            eip=_EIPS + number,
            vip=_VIPS + number,
            bandwidth=100_000 if number == 0 else 10,
            uplink=_UPLINK,
        )

    def steps(self, before: Mapping[str, NativeEntry], after: Mapping[str, NativeEntry]) -> list[TargetPlan[NativeEntry]]:
        """What is to be done."""
        return list(self.backend.steps(diff(before, after)))

    def carry_out(self, steps: Iterable[TargetPlan[NativeEntry]]) -> None:
        """Do it. Exits when something is refused."""
        for step in steps:
            if refused := self.backend.apply(step):
                sys.exit(f"refused: {next(iter(refused.items()))}")

    def program(self, after: Mapping[str, NativeEntry]) -> None:
        """Add entries."""
        self.carry_out(self.steps({}, after))

    def _base(self) -> Iterator[Intent]:
        vpc, network = self.vpc, secrets.token_hex(6)
        mac = f"02:aa:{network[:2]}:{network[2:4]}:{network[4:6]}:"
        yield VpcRouting(vpc_id=vpc, tag=1, mode="eip", mac=f"{mac}01", uplinks=(_UPLINK,))
        yield UplinkSwitching(uplink=_UPLINK, masquerade=False)
        yield SubnetSwitching(network_id=network, vpc_id=vpc, leg=None, vlan_id=0)
        yield SubnetRouting(
            network_id=network, vpc_id=vpc, gateway=_GATEWAY, length=8, gateway6=None, length6=None, mac=f"{mac}02"
        )
        yield PortSecurity(
            nic_id="a" * 12,
            network_id=network,
            vpc_id=vpc,
            device="tap0",
            mac=_MAC,
            ip=_SERVER,
            ips=(_VIPS, _SERVER),
            ip6s=(),
            vrrp_peers=(),
        )


def _spaces() -> set[str]:
    return {path.name for path in _SPACES.glob("*")}


def _loopback(space: str) -> str:
    return subprocess.run(["ip", "-n", space, "link", "show", "lo"], check=False, capture_output=True, text=True).stdout
