"""The picture as SVG: a panel for each VPC, in it networks, in these EIP → VIP → members; long lists are folded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vipnet.picture.canvas import LINE, STYLE, Chip, arrow, box, chip, chip_height, text
from vipnet.picture.fitting import columns, folded, more
from vipnet.picture.outline import LOOSE, EipBox, GroupBox, NetworkBox, Outline, ServerBox, VipBox, VpcBox

__all__ = ["svg_picture"]

_WIDTH = 1000
_GAP = 12
_VPC_X, _NET_X, _IN_X = 16, 32, 48
_VPC_WIDTH, _NET_WIDTH, _IN_WIDTH = 968, 936, 904
_EIP_WIDTH, _VIP_X, _VIP_WIDTH = 210, 288, 284  # a VIP has room for the longest IPv6 address
_GROUP_X, _GROUP_WIDTH = 602, 350

_MOST_VPCS = 20
_MOST_NETWORKS = 20
_MOST_GROUPS = 12
_MOST_MEMBERS = 8
_MOST_CHIPS = 18
_NARROW = 16  # characters of a name that a chip in two columns has room for


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What has been drawn, and the height that it takes."""

    parts: list[str]
    height: int


def svg_picture(outline: Outline) -> str:
    """Draw an outline, 1000 pixels wide; the text ends with a newline."""
    panels, height = _stack([*_panels(outline)], 16)
    height += 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="vipnet" role="img" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">'
    )
    page = f'<rect class="page" width="{_WIDTH}" height="{height}"/>'
    return "\n".join([head, "<title>vipnet topology</title>", f"<style>\n{STYLE}</style>", page, *panels, "</svg>"]) + "\n"


class _Place(ABC):
    """Something that is drawn where it is told."""

    @abstractmethod
    def draw(self, y: int) -> _Drawn: ...


def _stack(places: Sequence[_Place], y: int) -> tuple[list[str], int]:
    """Draw things below each other; return them and where they end."""
    parts: list[str] = []
    for number, place in enumerate(places):
        drawn = place.draw(y + (_GAP if number else 0))
        parts += drawn.parts
        y += drawn.height + (_GAP if number else 0)
    return parts, y


@dataclass(frozen=True, slots=True)
class _Remark(_Place):
    x: int
    words: str
    kind: str = "dim"

    def draw(self, y: int) -> _Drawn:
        return _Drawn([text(self.kind, self.x, y + 12, self.words, room=_WIDTH - self.x - _NET_X)], LINE)


@dataclass(frozen=True, slots=True)
class _Panel(_Place):
    """A box with a heading and things inside."""

    kind: str
    x: int
    width: int
    name: str
    facts: tuple[str, ...]
    inside: tuple[_Place, ...]

    def draw(self, y: int) -> _Drawn:
        parts, end = _stack(self.inside, y + 34)
        height = end - y + (_GAP if self.inside else 0)
        heading = "h1" if self.kind == "vpc" else "h2"
        half = self.width // 2 - 16
        head = [
            box(self.kind, self.x, y, self.width, height),
            text(heading, self.x + 14, y + 22, self.name, room=half),
            text("mono dim", self.x + self.width - 14, y + 22, " · ".join(self.facts), room=half, end=True),
        ]
        return _Drawn([part for part in (*head, *parts) if part], height)


@dataclass(frozen=True, slots=True)
class _Grid(_Place):
    """Chips in columns."""

    chips: tuple[Chip, ...]
    x: int
    width: int
    columns: int

    def draw(self, y: int) -> _Drawn:
        height = chip_height(max(len(one.lines) for one in self.chips))
        wide = (self.width - _GAP * (self.columns - 1)) // self.columns
        parts: list[str] = []
        for number, one in enumerate(self.chips):
            row, column = divmod(number, self.columns)
            parts += chip(one, self.x + column * (wide + _GAP), y + row * (height + 8), wide, height)
        rows = -(-len(self.chips) // self.columns)
        return _Drawn(parts, rows * (height + 8) - 8)


@dataclass(frozen=True, slots=True)
class _Group(_Place):
    """A group in a row: EIPs, the VIPs that they are mapped to, the members among whom the holder is."""

    group: GroupBox

    def draw(self, y: int) -> _Drawn:
        members, end = _stack(_members(self.group.members), y + 32)
        vips, low = self._vips(y)
        height = max(end + 10, low) - y
        title = " ".join((*self.group.marks, f"group {self.group.name}"))
        frame = [
            box("group", _GROUP_X, y, _GROUP_WIDTH, height),
            text("h2", _GROUP_X + 10, y + 20, title, room=_GROUP_WIDTH - 20),
        ]
        return _Drawn([*frame, *members, *vips], height)

    def _vips(self, y: int) -> tuple[list[str], int]:
        parts: list[str] = []
        for vip in self.group.vips:
            one = _vip_chip(vip)
            height = chip_height(len(one.lines))
            parts += chip(one, _VIP_X, y, _VIP_WIDTH, height)
            parts += arrow(_VIP_X + _VIP_WIDTH, y + 16, _GROUP_X, y + 16)
            for eip in vip.eips:
                parts += chip(_eip_chip(eip, f"by {eip.network}"), _IN_X, y, _EIP_WIDTH, chip_height(2))
                parts += arrow(_IN_X + _EIP_WIDTH, y + 16, _VIP_X, y + 16)
            y += max(height, chip_height(2)) + 8
        return parts, y - 8 if self.group.vips else y


def _panels(outline: Outline) -> Iterable[_Place]:
    shown, rest = folded(outline.vpcs, _MOST_VPCS)
    yield from (_vpc(vpc) for vpc in shown)
    if rest:
        yield _Remark(_VPC_X, more(rest, "VPCs"))
    if outline.groups or outline.servers:
        yield _Panel("vpc", _VPC_X, _VPC_WIDTH, LOOSE, (), tuple(_content(outline.groups, outline.servers)))
    if not outline.vpcs and not outline.groups and not outline.servers:
        yield _Remark(_VPC_X, "nothing here yet")


def _vpc(vpc: VpcBox) -> _Place:
    shown, rest = folded(vpc.networks, _MOST_NETWORKS)
    inside: list[_Place] = [_network(network) for network in shown]
    if rest:
        inside.append(_Remark(_NET_X, more(rest, "networks")))
    return _Panel("vpc", _VPC_X, _VPC_WIDTH, f"vpc {vpc.name}", vpc.facts, tuple(inside))


def _network(network: NetworkBox) -> _Place:
    inside = [*_content(network.groups, network.servers)]
    chips = [_eip_chip(eip, "free" if eip.vip is None else f"→ {eip.group}") for eip in network.eips]
    inside += _chips(chips, "EIPs", columns=3)
    facts = (*network.prefixes, *network.facts)
    return _Panel("net", _NET_X, _NET_WIDTH, f"network {network.name}", facts, tuple(inside))


def _content(groups: Sequence[GroupBox], servers: Sequence[ServerBox]) -> Iterable[_Place]:
    shown, rest = folded(groups, _MOST_GROUPS)
    yield from (_Group(group) for group in shown)
    if rest:
        yield _Remark(_IN_X, more(rest, "groups"))
    members = {member.id for group in groups for member in group.members}
    yield from _chips([_server_chip(server) for server in servers if server.id not in members], "servers", columns=3)


def _chips(chips: Sequence[Chip], word: str, *, columns: int) -> Iterable[_Place]:
    shown, rest = folded(chips, _MOST_CHIPS)
    if shown:
        yield _Grid(tuple(shown), _IN_X, _IN_WIDTH, columns)
    if rest:
        yield _Remark(_IN_X, more(rest, word))


def _members(members: Sequence[ServerBox]) -> list[_Place]:
    shown, rest = folded(members, _MOST_MEMBERS)
    if not shown:
        return [_Remark(_GROUP_X + 10, "no members")]
    chips = tuple(_server_chip(member) for member in shown)
    narrow = all(len(one.lines) == 1 and columns(one.name) + columns(one.remark) <= _NARROW for one in chips)
    grid = _Grid(chips, _GROUP_X + 10, _GROUP_WIDTH - 20, 2 if narrow else 1)
    return [grid, _Remark(_GROUP_X + 10, more(rest, "members"))] if rest else [grid]


def _server_chip(server: ServerBox) -> Chip:
    return Chip(kind="server", name=server.name, remark=server.host or "", lines=server.ips or ("no address",))


def _vip_chip(vip: VipBox) -> Chip:
    vrid = "no VRID" if vip.vrid is None else f"vrid {vip.vrid}"
    return Chip(kind="vip", name=f"VIP {vip.ips[0]}", remark=vrid, lines=(*vip.ips[1:], "holder unknown"))


def _eip_chip(eip: EipBox, remark: str) -> Chip:
    return Chip(kind="eip", name=f"EIP {eip.ip}", remark=remark, lines=(eip.name, eip.limit))
