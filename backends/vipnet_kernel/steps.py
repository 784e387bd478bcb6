"""The order of a plan: at every moment what is connected is under rules, and no counter goes before it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from vipnet.plan import Entry, Plan, TargetPlan
from vipnet_kernel.link_entries import Namespace, Veth, Vlan
from vipnet_kernel.names import trunk_bridge
from vipnet_kernel.port_entries import Attachment, Up

__all__ = ["LINKS", "PORTS", "ordered"]

E = TypeVar("E", bound=Entry)

LINKS, PORTS = "links", "ports"


def ordered(plan: Plan[E], *, counts: Callable[[E], bool], routes: Callable[[E], str]) -> Iterator[TargetPlan[E]]:
    """Split links and ports by what must come before the rules and what after.

    `counts`: whether an entry keeps what a mapping has counted; `routes`: of which namespace it is all the rules, else "".

    A port that changes its bridge leaves the old one before the rules and joins the new one after them. Counters go last:
    nothing reaches them when the rest of their mapping has gone. So does a router that has some.
    """
    last = list(_last(plan, counts, routes))
    kept = frozenset(entry.key for step in last for entry in step.delete)
    by_name = {target.target: target.without(kept) if kept else target for target in plan.targets}
    links, ports = (_taken(by_name, name) for name in (LINKS, PORTS))
    leaving = (*ports.delete, *(old for old, _ in ports.replace))
    joining = (*ports.create, *(new for _, new in ports.replace), *cast(Iterable[E], _remade(links)))
    steps = (
        TargetPlan(LINKS, create=links.create, replace=links.replace),
        TargetPlan(PORTS, delete=leaving),
        *by_name.values(),
        TargetPlan(PORTS, create=joining),
        TargetPlan(LINKS, delete=links.delete),
        *last,
    )
    return (step for step in steps if len(step))


def _taken(plans: dict[str, TargetPlan[E]], name: str) -> TargetPlan[E]:
    return plans.pop(name) if name in plans else TargetPlan(name)


def _last(plan: Plan[E], counts: Callable[[E], bool], routes: Callable[[E], str]) -> Iterator[TargetPlan[E]]:
    routers = set[str]()
    for target in plan.targets:
        if counters := tuple(filter(counts, target.delete)):
            rules = tuple(filter(routes, target.delete))
            routers |= set(map(routes, rules))
            yield TargetPlan(target.target, delete=(*counters, *rules), last=True)
    links = next((target.delete for target in plan.targets if routers and target.target == LINKS), ())
    if spaces := tuple(entry for entry in links if isinstance(entry, Namespace) and entry.name in routers):
        yield TargetPlan(LINKS, delete=spaces, last=True)


def _remade(links: TargetPlan[E]) -> Iterator[Attachment | Up]:
    """Ports that were there and are not when their interface is made anew."""
    for _, new in links.replace:
        match new:
            case Vlan():
                yield Attachment(new.name, trunk_bridge(new.name), needs=new.leg)
            case Veth():
                yield Up(new.far_namespace, new.far)
            case _:
                pass
