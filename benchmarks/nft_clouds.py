"""Whole clouds by the Controller's verbs on nftables: one verb, a resync, many VPCs."""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench_topology import Shape, fill
from figures import Report, timed
from nft_scene import Host, nft
from raw_netfilter import connections, forget_connections, remember_connections

from vipnet.controller import Controller
from vipnet.model import Eip
from vipnet.operations.draft import World
from vipnet.transaction import Transaction
from vipnet_kernel.names import router_namespace

__all__ = ["clouds", "programmed", "vpcs"]

_CONNECTIONS: Final = 100_000
_TALKATIVE: Final = 1_000
_ANNOUNCED: Final = 2.5
"""Seconds until the last gratuitous ARP for new EIPs is out, which so many of them take time for."""


def clouds(report: Report, eips: int, repeats: int, parts: Collection[str]) -> None:
    """What is to be done with a cloud of so many EIPs that is programmed: `resync`, `verbs`, `release`; once in memory, once
    with SQLite."""
    for kind in ("memory", "SQLite"):
        with _programmed(lambda tx: fill(tx, Shape(eips)), kind) as (host, cloud):
            if "resync" in parts and kind == "memory":
                _resync(report, "resync", eips, host, cloud)
            if {"verbs", "release"} & {*parts}:
                _verbs(report, eips, repeats, cloud, kind, parts)
    if "verbs" in parts:
        durable, volatile = (report.p50("verbs", eips, f"create-eip, {kind}") for kind in ("SQLite", "memory"))
        report.value("verbs", eips, "create-eip: what SQLite adds to the median", durable - volatile, unit="us", goal="<= 400")


def vpcs(report: Report, eips: int, repeats: int) -> None:
    """A hundred EIPs in each of so many VPCs: a thousand VPCs at 100k."""
    count = max(1, eips // 100)
    with _programmed(lambda tx: _fill_vpcs(tx, count), "memory", report=report, eips=eips) as (host, cloud):
        times = list[float]()
        names = random.Random(4).choices(range(count), k=repeats)
        for number, vpc in enumerate(names):
            cloud.groups.create(f"x{number}")
            cloud.groups.attach_network(f"x{number}", network_id=f"n{vpc}")
            timed(times, cloud.groups.create_eip, f"x{number}", bandwidth=10)
        report.samples("vpcs", eips, "one more EIP", times)
        _resync(report, "vpcs", eips, host, cloud)


def _fill_vpcs(tx: Transaction, count: int) -> None:
    tx.networks.create("pub", "20.0.0.0/12", server_type="eip")
    for vpc in range(count):
        tx.vpcs.create(f"v{vpc}", "10.0.0.0/8")
        tx.networks.create(f"n{vpc}", "10.0.0.0/16", vpc=f"v{vpc}")
        for group in range(100):
            name = f"g{vpc}-{group}"
            tx.groups.create(name)
            tx.groups.attach_network(name, network_id=f"n{vpc}")
            tx.groups.create_eip(name, bandwidth=10)


@contextmanager
def _programmed(
    build: Callable[[Transaction], object], kind: str, *, report: Report | None = None, eips: int = 0
) -> Generator[tuple[Host, Controller]]:
    """A cloud, built in one transaction and programmed, that waits for its next verb."""
    with Host() as host, tempfile.TemporaryDirectory() as folder:
        store = "memory:" if kind == "memory" else f"sqlite:///{folder}/vipnet.db"
        with programmed(host.configuration(Path(folder), store=store), build) as (cloud, took):
            if cloud.topology.count(Eip) >= _TALKATIVE:
                time.sleep(_ANNOUNCED)
            if report is not None:
                report.calibrate()
                report.samples("vpcs", eips, "cold: commit", [took], unit="s")
            yield host, cloud


@contextmanager
def programmed(config: Path, build: Callable[[Transaction], object]) -> Generator[tuple[Controller, float]]:
    """A cloud by its configuration, built in one transaction, and programmed; and the seconds of the latter."""
    with Controller.open(config, world=World(random=random.Random(1).randrange)) as cloud:
        gc.disable()
        with cloud.transaction() as tx:
            build(tx)
            begun = time.perf_counter()
        took = time.perf_counter() - begun
        gc.enable()
        cloud.settle()
        try:
            yield cloud, took
        finally:
            gc.unfreeze()


def _resync(report: Report, part: str, eips: int, host: Host, cloud: Controller) -> None:
    times, audits, lists = list[float](), list[float](), list[float]()
    elements = host.elements()
    for _ in range(20):
        timed(times, cloud.apply)
    report.calibrate()
    report.samples(part, eips, "apply, nothing to do", times)
    for _ in range(3):
        timed(audits, _audit, cloud)
        report.calibrate()
        timed(lists, _list, [host.space, *host.routers()])
    report.value(part, eips, "elements", elements, unit="elements")
    report.samples(part, eips, "apply(audit=True), nothing to do", audits, unit="ms")
    report.samples(part, eips, "the same, an element", [one / elements for one in audits], goal="<= 12")
    report.samples(part, eips, "nft -j list ruleset, an element", [one / elements for one in lists])


def _audit(cloud: Controller) -> None:
    if changed := cloud.apply(audit=True).changed:
        sys.exit(f"{changed} entries to change where nothing is to be done")


def _list(spaces: Iterable[str]) -> None:
    for space in spaces:
        nft(space, "-j", "list", "ruleset")


def _verbs(report: Report, eips: int, repeats: int, cloud: Controller, kind: str, parts: Collection[str]) -> None:
    """EIPs of one VPC go and come again, one by one; then go with a table of connections."""
    shape = Shape(eips)
    there = [one for one in range(eips) if one * shape.networks // shape.groups % shape.vpcs == 0]
    numbers = random.Random(2).sample(there, min(len(there), repeats))
    router = router_namespace(cloud.vpcs.show("v0").id)
    for walked in (0, _CONNECTIONS) if "release" in parts else (0,):
        remember_connections(router, walked)
        if connections(router) < walked:
            sys.exit(f"{connections(router)} connections where {walked} are to be")
        _round(report, eips, cloud, kind, numbers, walked, parts)
    forget_connections(router)
    if "verbs" in parts:
        _at_once(report, eips, cloud, kind, numbers)


def _at_once(report: Report, eips: int, cloud: Controller, kind: str, numbers: Iterable[int]) -> None:
    """The verb that makes an EIP and maps it."""
    times = list[float]()
    for number in numbers:
        cloud.groups.dissociate_eip(f"g{number}")
        timed(times, cloud.groups.create_eip, f"g{number}", bandwidth=10)
    report.calibrate()
    goal = "p50 <= 300, p99 <= 2000" if kind == "memory" else ""
    report.samples("verbs", eips, f"create-eip, {kind}", times, goal=goal)


def _round(
    report: Report, eips: int, cloud: Controller, kind: str, numbers: Iterable[int], walked: int, parts: Collection[str]
) -> None:
    took: dict[str, list[float]] = {"dissociate-eip": [], "delete": [], "eip-create": [], "associate-eip": []}
    for number in numbers:
        group = f"g{number}"
        eip, new = f"e{number}-0" if walked else f"eip-for-grp-{group}", f"e{number}-{walked}"
        timed(took["dissociate-eip"], cloud.groups.dissociate_eip, group)
        timed(took["delete"], cloud.eips.delete, eip)
        timed(took["eip-create"], cloud.eips.create, new, network="pub", bandwidth=10)
        timed(took["associate-eip"], cloud.groups.associate_eip, group, eip_id=new)
        if number % 50 == 0:
            report.calibrate()
    report.calibrate()
    if "release" in parts:
        where = f", {kind}, {walked} connections"
        for verb in ("dissociate-eip", "delete"):
            report.samples("release", eips, verb + where, took[verb])
        report.samples("release", eips, "both" + where, _sums(took, "dissociate-eip", "delete"))
    if "verbs" in parts and not walked:
        for verb in ("eip-create", "associate-eip"):
            report.samples("verbs", eips, f"{verb}, {kind}", took[verb])


def _sums(took: Mapping[str, list[float]], one: str, other: str) -> list[float]:
    return [first + second for first, second in zip(took[one], took[other], strict=True)]
