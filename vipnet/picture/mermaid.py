"""The picture as a Mermaid flowchart, from the elastic IPs on the left to the servers on the right; long lists are folded."""

from __future__ import annotations

from collections.abc import Iterator

from vipnet.picture.fitting import folded, more
from vipnet.picture.outline import LOOSE, GroupBox, NetworkBox, Outline, ServerBox, VipBox, VpcBox

__all__ = ["mermaid_picture"]

_MOST_SERVERS = 12
_MOST_EIPS = 12
_MOST_GROUPS = 20

_ESCAPES = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


def mermaid_picture(outline: Outline) -> str:
    """Draw an outline; the text ends with a newline."""
    return "\n".join(_Flowchart().lines(outline)) + "\n"


class _Flowchart:
    """Nodes are numbered as they come, so that no name ever is part of the syntax."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], str] = {}
        self._links: list[str] = []
        self._sources: dict[str, str] = {}
        self._mapped: list[tuple[str, str]] = []

    def lines(self, outline: Outline) -> Iterator[str]:
        yield "flowchart LR"
        for vpc in outline.vpcs:
            yield from self._vpc(vpc)
        if outline.servers or outline.groups:
            yield f"  subgraph {self._node('vpc', '')}[{_label(LOOSE)}]"
            yield from self._inside("", outline.groups, outline.servers)
            yield "  end"
        yield from self._links
        yield from (f"  {self._sources[eip]} ==> {vip}" for eip, vip in self._mapped)

    def _node(self, kind: str, id: str) -> str:
        return self._nodes.setdefault((kind, id), f"{kind}{len(self._nodes)}")

    def _vpc(self, vpc: VpcBox) -> Iterator[str]:
        yield f"  subgraph {self._node('vpc', vpc.id)}[{_label('vpc ' + vpc.name, *vpc.facts)}]"
        for network in vpc.networks:
            yield from self._network(network)
        yield "  end"

    def _network(self, network: NetworkBox) -> Iterator[str]:
        label = _label(f"network {network.name}", *network.prefixes, *network.facts)
        yield f"    subgraph {self._node('net', network.id)}[{label}]"
        yield from self._inside(network.id, network.groups, network.servers)
        shown, rest = folded(network.eips, _MOST_EIPS)
        for eip in shown:
            node = self._sources[eip.id] = self._node("eip", eip.id)
            yield f"      {node}[[{_label('eip ' + eip.ip, eip.name, eip.limit)}]]"
        yield from self._rest(network.id, rest, "eips")
        self._sources |= {eip.id: self._node("more", f"{network.id}/eips") for eip in network.eips[len(shown) :]}
        yield "    end"

    def _inside(self, place: str, groups: tuple[GroupBox, ...], servers: tuple[ServerBox, ...]) -> Iterator[str]:
        shown, rest = folded(groups, _MOST_GROUPS)
        drawn: set[str] = set()
        for group in shown:
            yield from self._group(place, group, drawn)
        yield from self._rest(place, rest, "groups")
        others = tuple(server for server in servers if server.id not in {id for group in groups for id in _ids(group)})
        yield from self._servers(place, others, "servers", drawn)

    def _group(self, place: str, group: GroupBox, drawn: set[str]) -> Iterator[str]:
        node = self._node("group", group.id)
        yield f"      {node}{{{{{_label('group ' + group.name, *group.marks)}}}}}"
        for vip in group.vips:
            yield from self._vip(node, vip)
        yield from self._servers(place, group.members, f"members of {group.name}", drawn)
        shown, rest = folded(group.members, _MOST_SERVERS)
        self._links += [f"  {node} --- {self._node('srv', f'{place}/{server.id}')}" for server in shown]
        if rest:
            self._links.append(f"  {node} --- {self._node('more', f'{place}/members of {group.name}')}")

    def _vip(self, group: str, vip: VipBox) -> Iterator[str]:
        node = self._node("vip", vip.id)
        vrid = "no VRID" if vip.vrid is None else f"vrid {vip.vrid}"
        yield f"      {node}([{_label('vip ' + ', '.join(vip.ips), vrid, 'holder unknown')}])"
        self._links.append(f"  {node} --> {group}")
        self._mapped += [(eip.id, node) for eip in vip.eips]

    def _servers(self, place: str, servers: tuple[ServerBox, ...], word: str, drawn: set[str]) -> Iterator[str]:
        shown, rest = folded(servers, _MOST_SERVERS)
        for server in shown:
            if server.id not in drawn:
                drawn.add(server.id)
                yield f"      {self._node('srv', f'{place}/{server.id}')}[{_server_label(server)}]"
        yield from self._rest(place, rest, word)

    def _rest(self, place: str, count: int, word: str) -> Iterator[str]:
        if count:
            yield f"      {self._node('more', f'{place}/{word}')}[{_label(more(count, word))}]"


def _ids(group: GroupBox) -> Iterator[str]:
    return (member.id for member in group.members)


def _server_label(server: ServerBox) -> str:
    host = () if server.host is None else (f"on host {server.host}",)
    return _label(f"server {server.name}", ", ".join(server.ips) or "no address", *host)


def _label(*lines: str) -> str:
    """Lines in quotes, in which nothing has a meaning to Mermaid."""
    return '"' + "<br/>".join(line.translate(_ESCAPES) for line in lines) + '"'
