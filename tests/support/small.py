"""A small model that has one of everything, with ids that are numbers, for tests of documents."""

from __future__ import annotations

import itertools
from typing import Any

from plane import DictBackend
from walk import CONFIG

from vipnet.config import Config
from vipnet.controller import Controller
from vipnet.operations.draft import World
from vipnet.store import MemoryStore, Store

__all__ = ["SPARE", "TAIL", "Document", "document", "empty", "fill", "row"]

TAIL = "-0000-4000-8000-000000000000"
"""What each id ends with, after eight digits."""

Document = dict[str, Any]
SPARE = f"00000099{TAIL}"


def empty(store: Store | None = None, backend: DictBackend | None = None, config: Config = CONFIG) -> Controller:
    numbers = itertools.count(1)
    world = World(clock=lambda: 1e9, new_id=lambda: f"{next(numbers):08d}{TAIL}")
    return Controller(config=config, store=store or MemoryStore(), backend=backend or DictBackend(), world=world)


def fill(cloud: Controller) -> None:
    cloud.vpcs.create("v", "10.0.0.0/8")
    cloud.networks.create("n", "10.1.0.0/24", vpc="v")
    cloud.networks.create("m", "10.2.0.0/24", vpc="v")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip")
    cloud.hosts.create("h")
    for name, last in (("a", 9), ("b", 10)):
        cloud.servers.create(name, nets=[f"n:10.1.0.{last}"], host="h")
    cloud.groups.create("g")
    cloud.groups.bind_guests("g", ["a", "b"])
    cloud.groups.attach_network("g", ip_addr="10.1.0.100")
    cloud.groups.create_eip("g", bandwidth=5)
    cloud.groups.create("k")
    cloud.groups.attach_network("k", network_id="n", ip_addr="10.1.0.101")
    cloud.eips.create("e", network="pub", bandwidth=1)
    cloud.networks.reserve_ip("n", "printer", ["10.1.0.20"])


def document() -> Document:
    cloud = empty()
    fill(cloud)
    return cloud.export()


def row(model: Document, table: str, **wanted: Any) -> dict[str, Any]:
    return next(row for row in model[table] if all(row[key] == value for key, value in wanted.items()))
