"""From a reference, an id or a name, to the object; and whether a name may still be given."""

from __future__ import annotations

from typing import TypeVar

from vipnet.errors import BadRequestError, ConflictError, ForbiddenError, InputParameterError, ResourceNotFoundError
from vipnet.model import Eip, Host, InstanceGroup, Network, Server, Vpc, check_name
from vipnet.operations.draft import Draft
from vipnet.topology import Topology

__all__ = ["KIND_WORDS", "check_visible", "find", "find_group", "find_or_input_error", "free_name", "number"]

N = TypeVar("N", Vpc, Network, Host, Server, InstanceGroup, Eip)

KIND_WORDS = {
    Vpc: "vpc",
    Network: "network",
    Host: "host",
    Server: "server",
    InstanceGroup: "instancegroup",
    Eip: "eip",
}


def _find(topology: Topology, kind: type[N], ref: str) -> N | None:
    found = topology.get(kind, ref)
    if found is not None:
        return found
    named = topology.by(kind, "name", ref)
    if len(named) > 1:
        ids = ", ".join(sorted(thing.id for thing in named))
        raise ConflictError(f"{KIND_WORDS[kind]} name {ref!r} is used in several projects; give one of the ids {ids}")
    return named[0] if named else None


def find(topology: Topology, kind: type[N], ref: str) -> N:
    """Find an object by id or name. Raises ResourceNotFoundError, or ConflictError when several projects use the name."""
    found = _find(topology, kind, ref)
    if found is None:
        word = KIND_WORDS[kind]
        raise ResourceNotFoundError(f"{word} {ref!r} not found; give an id or a name that {word}-list shows")
    return found


def find_or_input_error(topology: Topology, kind: type[N], ref: str) -> N:
    """Find a guest or group named in a membership verb, where an unknown one is an InputParameterError."""
    found = _find(topology, kind, ref)
    if found is None:
        raise InputParameterError(f"no such {KIND_WORDS[kind]} {ref!r}; give an id or a name that {KIND_WORDS[kind]}-list shows")
    return found


def find_group(draft: Draft, ref: str, action: str) -> InstanceGroup:
    """Find a group for an action on it; a frozen one refuses with BadRequestError."""
    group = find(draft.topology, InstanceGroup, ref)
    check_not_frozen(group, action)
    return group


def check_not_frozen(group: InstanceGroup, action: str) -> None:
    """Raise BadRequestError if the group is frozen."""
    if group.frozen:
        raise BadRequestError(f"instancegroup {group.name} is frozen and refuses {action}; unfreeze it first")


def free_name(topology: Topology, kind: type[N], name: str, *, project: str | None = None, but: str | None = None) -> str:
    """Return a well-formed name that no other object of the kind (and project) has. `but`: the id of the bearer itself."""
    check_name(KIND_WORDS[kind], name)
    for other in topology.by(kind, "name", name):
        if other.id != but and (project is None or getattr(other, "project", None) == project):
            where = "" if project is None else f" in project {project}"
            raise ConflictError(f"{KIND_WORDS[kind]} name {name!r} is taken{where} by {other.id}; choose another name")
    return name


def check_visible(network: Network, project: str, whose: str) -> None:
    """Raise ForbiddenError unless the network belongs to the project or is shared."""
    if network.project != project and not network.shared:
        raise ForbiddenError(
            f"network {network.name} belongs to project {network.project} and is not shared; "
            f"{whose} of project {project} needs a network of its own project or a shared one"
        )


def number(value: object, *, what: str, least: int, most: int) -> int:
    """Return a whole number given as int or decimal text. Raises InputParameterError naming what is accepted."""
    text = str(value)
    if isinstance(value, bool) or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise InputParameterError(f"{what} {text!r} is no whole number; give one from {least} to {most}")
    if len(text) > 18 or not least <= int(text) <= most:
        raise InputParameterError(f"{what} {text[:40]} is out of bounds; give a whole number from {least} to {most}")
    return int(text)
