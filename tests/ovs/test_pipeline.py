"""The declaration of the pipeline, and what is made from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vipnet.testing import standard_scene
from vipnet_ovs import fields
from vipnet_ovs.compiler import compile_intents
from vipnet_ovs.fields import SLOTS
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow, call, flow, goto, load
from vipnet_ovs.page import page
from vipnet_ovs.pipeline import NUMBERS, TABLES
from vipnet_ovs.wire import oxm
from vipnet_ovs.words import ARP, IP

PAGE = Path(__file__).parent.parent.parent / "docs/ovs-pipeline.md"


def test_the_page_is_made_from_the_declaration() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "stale: python -m vipnet_ovs.page > docs/ovs-pipeline.md"


def test_tables_lead_to_tables() -> None:
    for table in TABLES.values():
        assert table.next | table.calls <= TABLES.keys(), table.name
    assert len(TABLES) <= 64


def test_no_bit_is_allotted_twice() -> None:
    taken = Counter[tuple[str, int]]()
    for slot in SLOTS:
        if slot is not fields.FLAGS:
            taken.update((slot.field.name, slot.shift + bit) for bit in range(slot.width))
    assert max(taken.values()) == 1


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        ((goto("output"),), "go to output"),
        ((call("vpc"),), "call vpc"),
        ((load(fields.ZONE, 1), goto("route")), "set zone"),
    ],
)
def test_what_a_table_does_not_declare_is_refused(acts: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=f"table arrived does not declare {said}"):
        flow("arrived", 1, IP, *acts, cookie=0)  # type: ignore[arg-type]


def test_nor_may_it_match_anything_else() -> None:
    with pytest.raises(ValueError, match="table arrived does not declare arp_spa"):
        flow("arrived", 1, {**ARP, oxm.ARP_SPA: 1}, cookie=0)


def test_flows_of_one_table_and_priority_do_not_meet() -> None:
    flows = [one for one in compile_intents(standard_scene().intents()).values() if isinstance(one, Flow)]
    every = [*flows, *fixed_flows()]
    places = Counter((one.table, one.priority, one.match, one.blank if one.table == 0 else None) for one in every)
    assert max(places.values()) == 1
    assert {one.table for one in every} <= set(NUMBERS.values())
