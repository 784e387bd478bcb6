"""Backends know objects by id alone, people know them by name: texts for people are put right here, in one place."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from vipnet.errors import DataplaneError
from vipnet.model import Eip, Host, InstanceGroup, Network, Nic, Server, Vip, Vpc
from vipnet.topology import Topology

__all__ = ["named", "naming"]

_ID = re.compile(r"\b(?:([a-z]+):)?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b")
_NAMED: tuple[type[Vpc | Network | Host | Server | InstanceGroup | Eip], ...] = (Vpc, Network, Host, Server, InstanceGroup, Eip)


def named(text: str, topology: Topology) -> str:
    """Replace the ids in a text by the names of the objects, as far as they are known: `eip:<id>` becomes `eip front`."""
    return _ID.sub(lambda match: " ".join(word for word in (match[1], _name_of(match[2], topology)) if word), text)


@contextmanager
def naming(topology: Topology) -> Generator[None, None, None]:
    """Let a DataplaneError of the block name the objects of a topology."""
    try:
        yield
    except DataplaneError as error:
        raise type(error)(named(error.details, topology), pending=error.pending) from error


def _name_of(id: str, topology: Topology) -> str:
    for kind in _NAMED:
        thing = topology.get(kind, id)
        if thing is not None:
            return thing.name
    if (nic := topology.get(Nic, id)) is not None:
        return topology.at(Server, nic.server_id).name
    if (vip := topology.get(Vip, id)) is not None:
        return topology.at(InstanceGroup, vip.group_id).name
    return id
