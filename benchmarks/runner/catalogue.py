"""Every scenario, with who takes part. To add one: a `Scenario` here, and a `Worker` for each contestant that is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runner.catalogue_changes import changes
from runner.catalogue_iptables import of_iptables
from runner.catalogue_memory import SWITCH_WEIGHT, WEIGHT
from runner.catalogue_packets import PACKETS
from runner.entrants import ONE as _ONE
from runner.entrants import UP_TO_1M as _UP_TO_1M
from runner.entrants import UP_TO_100K as _UP_TO_100K
from runner.entrants import K as _K
from runner.entrants import M as _M
from runner.entrants import nft as _nft
from runner.entrants import ovs as _ovs
from runner.entrants import pure as _pure
from runner.entrants import shares as _shares
from runner.scenario import Contestant, Scenario

__all__ = ["SCENARIOS"]


def _few(name: str, by: str, direction: str, calls: str) -> Contestant:
    """Who takes milliseconds or more for an address."""
    return _pure(name, "Addresses", modules=("netaddr",), most=100 * _K, by=by, direction=direction, calls=calls)


def _ipam(direction: str) -> Scenario:
    return Scenario(
        name=f"ipam-{direction}",
        group="pure",
        about=f"one more address of a /8, direction {direction}, with so many taken at its far end",
        unit="us",
        per="an address",
        contestants=(
            _pure("vipnet", "Addresses", by="vipnet", direction=direction),
            _few("netaddr.IPSet", "netaddr", direction, "50"),
            _few("scan", "scan", direction, "20"),
        ),
        shares=_shares(((100, 10 * _K), 5), ((100, _K, 10 * _K, 100 * _K, _M), 8)),
        goals={"netaddr.IPSet": 0.1},
    )


def _nft_peer(name: str, worker: str, *, modules: tuple[str, ...] = (), cannot: str = "", **options: str) -> Contestant:
    made = _nft(name, worker)
    where = f"runner.peers_nftables:{worker}"
    return replace(made, worker=where, modules=(*made.modules, *modules), cannot=cannot, options=options)


_LIBRARY: Final = ("nftables",)
_NO_LIMITS: Final = "what libnftables 1.0.6 is told in JSON of an element's limit it passes over, and answers that all is well"


def _osken(worker: str) -> Contestant:
    made = replace(_ovs("os-ken", worker), worker=f"runner.peers_ovs:{worker}", most=10 * _K, quick=_K)
    return replace(made, modules=(*made.modules, "os_ken"))


_NFTABLES: Final = (
    Scenario(
        name="program",
        group="nftables",
        about="so many EIPs, each with a limit and two counters, in one transaction into the empty rules of a router",
        unit="ms",
        per="all of them",
        contestants=(
            _nft("vipnet", "Program"),
            _nft("floor", "RawProgram"),
            _nft("nft -f", "NftProgram"),
            replace(_nft_peer("libnftables", "LibraryProgram", modules=_LIBRARY), most=100 * _K),
            replace(_nft_peer("pyroute2", "NetlinkProgram"), most=10 * _K, quick=_K),
        ),
        shares=_UP_TO_1M,
        reference="floor",
        goals={"floor": 2, "nft -f": 1 / 3},
    ),
    Scenario(
        name="change",
        group="nftables",
        about="one EIP more where so many are",
        unit="us",
        per="an EIP",
        contestants=(
            _nft("vipnet", "Change"),
            _nft("floor", "RawChange"),
            _nft("nft -f -", "NftChange", most=100 * _K),
            replace(_nft_peer("libnftables", "LibraryChange", modules=_LIBRARY), most=100 * _K),
            _nft_peer("libnftables, JSON", "LibraryChange", modules=_LIBRARY, cannot=_NO_LIMITS),
            replace(_nft_peer("nft add element, one call", "WordsChange", calls="one"), most=10 * _K, quick=_K),
            replace(_nft_peer("nft add element, a call a set", "WordsChange", calls="each"), most=10 * _K, quick=_K),
            replace(_nft_peer("pyroute2", "NetlinkChange"), most=10 * _K, quick=_K),
        ),
        shares=_UP_TO_1M,
        reference="floor",
        goals={"floor": 5},
    ),
    Scenario(
        name="resync",
        group="nftables",
        about="whether anything has changed, where nothing has",
        unit="us",
        per="a look",
        contestants=(_nft("vipnet", "Unchanged"),),
        shares=_UP_TO_100K,
    ),
    Scenario(
        name="audit",
        group="nftables",
        about="everything read back by key and compared",
        unit="us",
        per="an element",
        contestants=(_nft("vipnet", "Audit"),),
        shares=_UP_TO_100K,
    ),
)

_OVS: Final = (
    Scenario(
        name="program",
        group="ovs",
        about="so many EIPs, six flows each, every tenth with a limit, in one bundle into a pipeline without any",
        unit="ms",
        per="all of them",
        contestants=(
            _ovs("vipnet", "Program"),
            _ovs("floor", "RawProgram"),
            _ovs("ovs-ofctl --bundle add-flows", "OfctlProgram", bundle="yes"),
            _ovs("ovs-ofctl add-flows", "OfctlProgram", bundle="no", most=10 * _K),
            _osken("OskenProgram"),
        ),
        shares=_UP_TO_100K,
        reference="floor",
        goals={"floor": 1.5, "ovs-ofctl --bundle add-flows": 0.5},
    ),
    Scenario(
        name="change",
        group="ovs",
        about="one EIP more where so many are",
        unit="us",
        per="an EIP",
        contestants=(
            _ovs("vipnet", "Change"),
            _ovs("floor", "RawChange"),
            _ovs("ovs-ofctl --bundle", "OfctlChange"),
            _osken("OskenChange"),
        ),
        shares=_UP_TO_100K,
        reference="floor",
        goals={"ovs-ofctl --bundle": 1 / 30},
    ),
    Scenario(
        name="resync",
        group="ovs",
        about="whether anything has changed, where nothing has",
        unit="us",
        per="a look",
        contestants=(_ovs("vipnet", "Unchanged"),),
        shares=_UP_TO_100K,
    ),
    Scenario(
        name="audit",
        group="ovs",
        about="everything read back and compared",
        unit="us",
        per="a flow",
        contestants=(_ovs("vipnet", "Audit"),),
        shares=_UP_TO_100K,
    ),
)


def _flow(name: str, by: str, *, most: int | None = None) -> Contestant:
    return Contestant(name=name, worker="runner.packets:Flows", modules=("pyroute2",), most=most, options={"by": by})


def _failover(event: str, advert: str) -> Scenario:
    return Scenario(
        name=f"{event}-{advert}s",
        group="failover",
        about=f"a client asks every 20 ms; the master's keepalived: {event}; advertisements every {advert} s",
        unit="ms",
        per="time without an answer",
        contestants=tuple(_moved(f"vipnet, {name}", "Failover", name, event=event, advert=advert) for name in _REAL),
        shares=_shares(((1,) if (event, advert) == ("TERM", "0.1") else (), 2), ((1,), 10)),
    )


def _moved(name: str, worker: str, backend: str, **options: str) -> Contestant:
    programs = ("keepalived", "nginx")
    return Contestant(
        name=name, worker=f"runner.failovers:{worker}", programs=programs, options={"backend": backend, **options}
    )


_REAL: Final = ("nftables", "iptables", "ovs")

_PACKETS: Final = (
    Scenario(
        name="new-flow",
        group="packets",
        about="a packet that begins a connection, from outside through an EIP to the holder of its VIP",
        unit="us",
        per="a packet",
        contestants=(
            _flow("vipnet, nftables", "nftables"),
            _flow("vipnet, iptables-nft", "iptables-nft"),
            _flow("vipnet, iptables-legacy", "iptables-legacy"),
            Contestant(name="vipnet, ovs", worker="runner.packets:SwitchFlows", programs=("ovs-vswitchd",), modules=("ovs",)),
            _flow("a list of iptables rules", "list-legacy", most=10 * _K),
        ),
        shares=_shares(((100, 10 * _K), 3), ((100, _K, 10 * _K, 100 * _K), 7)),
    ),
)

_FAILOVERS: Final = (
    Scenario(
        name="handover",
        group="failover",
        about="from a member's gratuitous ARP to its first answer, with 2,000 packets a second: the data plane's part",
        unit="ms",
        per="a handover",
        contestants=tuple(_moved(f"vipnet, {name}", "Handover", name) for name in _REAL),
        shares=_shares(((1,), 5), ((1,), 20)),
    ),
    *(_failover(event, advert) for advert in ("0.1", "1") for event in ("TERM", "KILL", "freeze", "link")),
)

_PURE: Final = (
    *map(_ipam, ("stepdown", "stepup", "random")),
    Scenario(
        name="model",
        group="pure",
        about="a cloud of so many groups with VIP and EIP, by verbs in one transaction, on a data plane that keeps nothing",
        unit="us",
        per="a mapped EIP",
        contestants=(_pure("vipnet", "Model"),),
        shares=_shares(((_K,), 8), ((_K, 100 * _K), 8)),
    ),
    Scenario(
        name="verb",
        group="pure",
        about="create-eip where so many are, on a data plane that keeps nothing",
        unit="us",
        per="a verb",
        contestants=(_pure("vipnet", "Verb"),),
        shares=_ONE,
    ),
    Scenario(
        name="compile",
        group="pure",
        about="intents of so many mapped EIPs into entries and a plan",
        unit="us",
        per="an EIP",
        contestants=(
            _pure("vipnet, nftables", "Compile", modules=("pyroute2",), backend="nftables"),
            _pure("vipnet, iptables", "Compile", modules=("pyroute2",), backend="iptables"),
            _pure("vipnet, ovs", "Compile", modules=("ovs",), backend="ovs"),
        ),
        shares=_shares(((_K,), 8), ((_K, 100 * _K), 8)),
    ),
    Scenario(
        name="import",
        group="pure",
        about="a fresh interpreter that imports a package, less one that imports nothing (time, not CPU time)",
        unit="ms",
        per="an import",
        contestants=(
            _pure("vipnet", "Import", module="vipnet"),
            _pure("netaddr", "Import", modules=("netaddr",), module="netaddr"),
            _pure("pyroute2", "Import", modules=("pyroute2",), module="pyroute2"),
            _pure("sqlalchemy", "Import", modules=("sqlalchemy",), module="sqlalchemy"),
        ),
        shares=_shares(((1,), 5), ((1,), 10)),
    ),
)

_EVERYTHING: Final = (
    *(*_PURE, WEIGHT),
    *(*_NFTABLES, *changes("nftables")),
    *(*of_iptables("nft", _UP_TO_100K), *changes("iptables-nft")),
    *(*of_iptables("legacy", _UP_TO_100K), *changes("iptables-legacy")),
    *(*_OVS, *changes("ovs"), SWITCH_WEIGHT),
    *(*_PACKETS, *PACKETS),
    *_FAILOVERS,
)

SCENARIOS: Final[Mapping[str, Scenario]] = {one.id: one for one in _EVERYTHING}
"""By what they are called on the command line."""
