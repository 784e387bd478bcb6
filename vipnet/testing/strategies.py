"""Scenes at random: any of them is a valid set of intents. Needs hypothesis, which vipnet itself does not."""

from __future__ import annotations

from hypothesis import strategies as st

from vipnet.addresses import format_ip4
from vipnet.model import AccessMode
from vipnet.testing import Group, Scene, SceneEip, Segment, Server, Vpc

MODES: tuple[AccessMode, ...] = ("eip", "distgw", "eip-distgw", "none")
_NET = 0xC0A80400


@st.composite
def scenes(draw: st.DrawFn, *, ipv6: bool = False) -> Scene:
    """Up to three VPCs of the same addresses, each with a segment, up to four servers and a group with or without EIP.

    With `ipv6` any of them may be dual-stack.
    """
    vpcs = [Vpc(name=f"v{n}", tag=n, mode=draw(st.sampled_from(MODES))) for n in range(1, draw(st.integers(0, 3)) + 1)]
    dual = {vpc.name for vpc in vpcs if ipv6 and draw(st.booleans())}
    servers = [
        Server(
            name=f"{vpc.name}s{n}",
            segment=vpc.name,
            ip=format_ip4(_NET + 10 + n),
            ip6=f"fd00:4::{10 + n:x}" if vpc.name in dual else None,
        )
        for vpc in vpcs
        for n in range(draw(st.integers(0, 4)))
    ]
    groups = [
        _group(draw, vpc.name, [server.name for server in servers if server.segment == vpc.name], ipv6=vpc.name in dual)
        for vpc in vpcs
    ]
    able = [vpc.name for vpc in vpcs if vpc.mode in ("eip", "eip-distgw")]
    mapped = draw(st.lists(st.sampled_from(able), unique=True)) if able else []
    public = [f"203.0.113.{draw(st.integers(100 + 20 * n, 119 + 20 * n))}" for n in range(len(mapped))]
    return Scene(
        vpcs=tuple(vpcs),
        segments=tuple(_segment(vpc.name, ipv6=vpc.name in dual) for vpc in vpcs),
        servers=tuple(servers),
        groups=tuple(groups),
        eips=tuple(SceneEip(ip=ip, group=group) for ip, group in zip(public, mapped, strict=True)),
    )


def _segment(name: str, *, ipv6: bool) -> Segment:
    return Segment(name=name, vpc=name, gateway="192.168.4.1/22", gateway6="fd00:4::1/64" if ipv6 else None)


def _group(draw: st.DrawFn, name: str, servers: list[str], *, ipv6: bool) -> Group:
    members = draw(st.lists(st.sampled_from(servers), unique=True)) if servers else []
    last = draw(st.integers(100, 103))
    vip6 = f"fd00:4::{last:x}" if ipv6 and draw(st.booleans()) else None
    return Group(name=name, segment=name, vip=format_ip4(_NET + last), members=tuple(members), vip6=vip6)
