"""The order of a plan: at every moment what is connected is under rules, and no counter goes before it was read."""

from __future__ import annotations

from collections.abc import Iterator

from vipnet.plan import Plan, TargetPlan
from vipnet_nftables.entries import NativeEntry, Skeleton
from vipnet_nftables.link_entries import Namespace, Veth, Vlan
from vipnet_nftables.metering import is_counter
from vipnet_nftables.names import trunk_bridge
from vipnet_nftables.port_entries import Attachment, Up

__all__ = ["LINKS", "PORTS", "ordered"]

LINKS, PORTS = "links", "ports"


def ordered(plan: Plan[NativeEntry]) -> Iterator[TargetPlan[NativeEntry]]:
    """Split links and ports by what must come before the rules and what after.

    A port that changes its bridge leaves the old one before the rules and joins the new one after them. Counters go last:
    nothing reaches them when the rest of their mapping has gone. So does a router that has some.
    """
    last = list(_last(plan))
    kept = frozenset(entry.key for step in last for entry in step.delete)
    by_name = {target.target: target.without(kept) if kept else target for target in plan.targets}
    links, ports = (by_name.pop(name, TargetPlan(name)) for name in (LINKS, PORTS))
    leaving = (*ports.delete, *(old for old, _ in ports.replace))
    joining = (*ports.create, *(new for _, new in ports.replace), *_remade(links))
    steps = (
        TargetPlan(LINKS, create=links.create, replace=links.replace),
        TargetPlan(PORTS, delete=leaving),
        *by_name.values(),
        TargetPlan(PORTS, create=joining),
        TargetPlan(LINKS, delete=links.delete),
        *last,
    )
    return (step for step in steps if len(step))


def _last(plan: Plan[NativeEntry]) -> Iterator[TargetPlan[NativeEntry]]:
    routers = set[str]()
    for target in plan.targets:
        if counters := tuple(filter(is_counter, target.delete)):
            rules = tuple(entry for entry in target.delete if isinstance(entry, Skeleton))
            routers |= {entry.namespace for entry in rules}
            yield TargetPlan(target.target, delete=(*counters, *rules), last=True)
    links = next((target.delete for target in plan.targets if routers and target.target == LINKS), ())
    if spaces := tuple(entry for entry in links if isinstance(entry, Namespace) and entry.name in routers):
        yield TargetPlan(LINKS, delete=spaces, last=True)


def _remade(links: TargetPlan[NativeEntry]) -> Iterator[NativeEntry]:
    """Ports that were there and are not when their interface is made anew."""
    for _, new in links.replace:
        match new:
            case Vlan():
                yield Attachment(new.name, trunk_bridge(new.name), needs=new.leg)
            case Veth():
                yield Up(new.far_namespace, new.far)
            case _:
                pass
