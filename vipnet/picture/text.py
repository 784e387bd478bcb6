"""The picture as an indented tree of box-drawing characters, at most 100 columns wide; nothing is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vipnet.picture.fitting import columns
from vipnet.picture.outline import LOOSE, EipBox, GroupBox, NetworkBox, Outline, ServerBox, VipBox, VpcBox

__all__ = ["WIDTH", "text_picture"]

WIDTH = 100
"""Columns of a terminal, in which a wide character takes two."""

_LEAST = 20  # columns that a line has, however deep


@dataclass(frozen=True, slots=True)
class _Branch:
    """A line, in parts that belong together, and what hangs on it."""

    parts: tuple[str, ...]
    below: tuple[_Branch, ...] = ()


def text_picture(outline: Outline) -> str:
    """Draw an outline; the text ends with a newline."""
    branches = [_vpc(vpc) for vpc in outline.vpcs]
    loose = (*(_group(group) for group in outline.groups), *(_server(server) for server in outline.servers))
    if loose:
        branches.append(_Branch((LOOSE,), loose))
    lines = [line for branch in branches for line in _drawn(branch, "", "")]
    return "\n".join(lines or ["nothing here yet"]) + "\n"


def _drawn(branch: _Branch, first: str, rest: str) -> Iterator[str]:
    stem = rest + ("│   " if branch.below else "    ")
    for number, line in enumerate(_wrapped(branch.parts, WIDTH - len(stem))):
        yield (first if number == 0 else stem) + line
    for twig in branch.below:
        last = twig is branch.below[-1]
        yield from _drawn(twig, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _wrapped(parts: Iterable[str], room: int) -> Iterator[str]:
    line = ""
    for piece in (piece for part in parts for piece in _pieces(part, room)):
        if line and columns(line) + 2 + columns(piece) > room:
            yield line
            line = piece
        else:
            line = f"{line}  {piece}" if line else piece
    yield line


def _pieces(text: str, room: int) -> Iterator[str]:
    """A part whole if it fits, else cut."""
    while columns(text) > max(room, _LEAST):
        end = 1
        while columns(text[: end + 1]) <= max(room, _LEAST):
            end += 1
        yield text[:end]
        text = text[end:]
    yield text


def _vpc(vpc: VpcBox) -> _Branch:
    return _Branch((f"vpc {vpc.name}", *vpc.facts), tuple(_network(network) for network in vpc.networks))


def _network(network: NetworkBox) -> _Branch:
    below = (
        *(_group(group) for group in network.groups),
        *(_server(server) for server in network.servers),
        *(_eip(eip) for eip in network.eips),
    )
    return _Branch((f"network {network.name}", *network.prefixes, *network.facts), below)


def _group(group: GroupBox) -> _Branch:
    below = (*(_vip(vip) for vip in group.vips), *(_member(member) for member in group.members))
    empty = () if group.members else ("no members",)
    return _Branch((f"group {group.name}", *group.marks, *empty), below)


def _vip(vip: VipBox) -> _Branch:
    vrid = "no VRID" if vip.vrid is None else f"vrid {vip.vrid}"
    return _Branch(("vip " + ", ".join(vip.ips), vrid, "holder unknown"), tuple(_mapped(eip) for eip in vip.eips))


def _mapped(eip: EipBox) -> _Branch:
    return _Branch((f"eip {eip.ip}", eip.name, eip.limit, f"by network {eip.network}"))


def _member(server: ServerBox) -> _Branch:
    return _Branch((f"member {server.name}", ", ".join(server.ips) or "no address"))


def _server(server: ServerBox) -> _Branch:
    host = () if server.host is None else (f"on host {server.host}",)
    return _Branch((f"server {server.name}", ", ".join(server.ips) or "no address", *host))


def _eip(eip: EipBox) -> _Branch:
    mapped = "mapped to nothing" if eip.vip is None else f"→ {eip.vip} of group {eip.group}"
    return _Branch((f"eip {eip.ip}", eip.name, eip.limit, mapped))
