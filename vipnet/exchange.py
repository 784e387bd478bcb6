"""A whole topology as one document, and back: `{"vipnet": 1, "vpcs": [row, ...], "networks": [...], ...}`.

A row is a flat object of the model, as in the store: every field, addresses as text, references by id. The built-in VPC
`default` is in every model and in no document. Rows are in the order in which people look for them: objects with a name
by name and id, NICs by server and position, memberships by group and position, VIPs by group and address, addresses by
network, IP version and address. An address that is `leaving` is written as what it becomes: resting, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from vipnet.errors import ConflictError, InputParameterError
from vipnet.invariants import check_topology
from vipnet.invariants.networks import check_ranges
from vipnet.invariants.ownership import check_in_range
from vipnet.invariants.references import check_refers
from vipnet.invariants.wording import called
from vipnet.model import DEFAULT_VPC, Address, InstanceGroup, Membership, Network, Nic, Server, Thing, Vip, Vpc
from vipnet.operations.draft import Draft, Progress
from vipnet.rows import encoded, table_name
from vipnet.strict import KEYS, read_row, shortly
from vipnet.topology import KINDS, Topology

__all__ = ["VERSION", "export_document", "import_document"]

VERSION = 1
"""The version of the document: what its key `vipnet` says."""

_TABLES: Mapping[str, type[Thing]] = {table_name(kind): kind for kind in KINDS}


def export_document(topology: Topology) -> dict[str, Any]:
    """The document of a topology: the same topology gives the same document, down to the order."""
    return {"vipnet": VERSION, **{name: _rows(topology, kind) for name, kind in _TABLES.items()}}


def _rows(topology: Topology, kind: type[Thing]) -> list[dict[str, Any]]:
    things = [settled for thing in topology.all(kind) if (settled := _settled(thing)) is not None]
    return [encoded(thing) for thing in sorted(things, key=_order(topology, kind))]


def _settled(thing: Thing) -> Thing | None:
    if isinstance(thing, Vpc) and thing.id == DEFAULT_VPC:
        return None
    if isinstance(thing, Address) and thing.state == "leaving":
        return None if thing.until is None else replace(thing, state="resting")
    return thing


def _order(topology: Topology, kind: type[Thing]) -> Callable[[Any], tuple[Any, ...]]:
    if kind is Nic:
        return lambda nic: (topology.at(Server, nic.server_id).name, nic.server_id, nic.position)
    if kind is Membership:
        return lambda row: (topology.at(InstanceGroup, row.group_id).name, row.group_id, row.position)
    if kind is Vip:
        return lambda vip: (topology.at(InstanceGroup, vip.group_id).name, vip.group_id, vip.ip)
    if kind is Address:
        return lambda row: (topology.at(Network, row.network_id).name, row.network_id, row.version, row.ip)
    return lambda thing: (thing.name, thing.id)


def import_document(draft: Draft, document: Mapping[str, Any]) -> dict[str, int]:
    """Put everything of a document into an empty model, or raise and change nothing; return how many of each there are.

    Raises ConflictError unless the model is empty, InputParameterError for a document that breaks any rule. What the
    data plane refuses of it is set aside, as in a resync.
    """
    _check_empty(draft.topology)
    _check_shape(document)
    rows = {kind: list(_read(kind, document[name], draft.world.progress)) for name, kind in _TABLES.items()}
    _put(draft, rows)
    draft.world.progress("checking the model")
    check_topology(draft.topology, max_vips_per_group=draft.config.max_vips_per_group)
    draft.sets_aside = True
    return {name: len(rows[kind]) for name, kind in _TABLES.items()}


def _check_empty(topology: Topology) -> None:
    counts = {table_name(kind): topology.count(kind) - (kind is Vpc) for kind in KINDS}
    there = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if there:
        raise ConflictError(
            f"import needs an empty model and this one has {there}; import into a new store (--store sqlite:///PATH), "
            "or delete what is here first"
        )


def _check_shape(document: object) -> None:
    known = ("vipnet", *_TABLES)
    if not isinstance(document, Mapping):
        raise InputParameterError(f"the document is {shortly(document)}; it must be an object with the keys {', '.join(known)}")
    given = cast("Mapping[object, object]", document)
    version = given.get("vipnet")
    if type(version) is not int or version != VERSION:
        raise InputParameterError(
            f"the document has version {shortly(version)} in its key 'vipnet'; this vipnet reads version {VERSION}"
        )
    for key in given:
        if key not in known:
            raise InputParameterError(f"key {shortly(key)} of the document is not known; its keys are {', '.join(known)}")
    for name in _TABLES:
        if not isinstance(given.get(name), list | tuple):
            had = shortly(given[name]) if name in given else "missing"
            raise InputParameterError(f"key {name!r} of the document is {had}; it must be a list of rows, [] for none")


def _read(kind: type[Thing], rows: list[Any], progress: Progress) -> Iterator[Thing]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        progress(f"reading {table_name(kind)}", number + 1, len(rows))
        where = f"{table_name(kind)}[{number}]"
        thing = read_row(kind, row, where=where)
        if kind is Vpc and thing.id == DEFAULT_VPC:
            raise InputParameterError(f"{where}: id {DEFAULT_VPC!r} is the built-in VPC's; leave the row out, it is always there")
        if (first := seen.setdefault(thing.id, number)) != number:
            key = ", ".join(KEYS[kind])
            raise InputParameterError(f"{where}: {called(thing)} has the {key} of {table_name(kind)}[{first}]; have each once")
        yield thing


def _put(draft: Draft, rows: Mapping[type[Thing], list[Thing]]) -> None:
    """Addresses last and with care: a topology keeps none that is in no range of its network."""
    for kind in KINDS:
        for number, thing in enumerate(rows[kind], start=1):
            draft.world.progress(f"taking in {table_name(kind)}", number, len(rows[kind]))
            if isinstance(thing, Network):
                check_ranges(thing)
            if isinstance(thing, Address):
                check_refers(draft.topology, thing)
                check_in_range(draft.topology, thing)
            draft.put(thing)
