"""The page about the pipeline, made from its declaration: `python -m vipnet_ovs.page > docs/ovs-pipeline.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from vipnet_ovs.fields import SLOTS, Slot
from vipnet_ovs.fixed import fixed_flows
from vipnet_ovs.flows import Flow
from vipnet_ovs.pipeline import NUMBERS, TABLES, Table

__all__ = ["page"]

_HEAD = """\
# The OpenFlow pipeline

Made from `backends/vipnet_ovs/pipeline.py` and `fields.py` by `python -m vipnet_ovs.page`; every flow is checked against this
declaration when it is made. Packets enter at `classify`; what no flow of a table matches is dropped. A flow *goes on* to a table,
or *asks* one on the way, whose flow sets fields, and goes on itself (both are `resubmit`).
"""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Fields\n\n| name | where | bits | what it says |\n| --- | --- | --- | --- |"
    yield from (_slot(slot) for slot in SLOTS)
    yield "\n## Tables"
    flows = fixed_flows()
    for name, table in TABLES.items():
        yield from _table(name, table, [flow for flow in flows if flow.table == NUMBERS[name]])


def _slot(slot: Slot) -> str:
    return f"| `{slot.name}` | `{slot.part.name}` | {slot.at}-{slot.at + slot.width - 1} | {slot.says} |"


def _table(name: str, table: Table, flows: list[Flow]) -> Iterator[str]:
    yield f"\n### {NUMBERS[name]}: {name}\n\n{table.says}\n"
    for what, words in (("matches", table.matches), ("sets", table.sets), ("does", table.does)):
        if words:
            yield f"- {what}: {', '.join(f'`{word}`' for word in sorted(words))}"
    for what, names in (("goes on to", table.next), ("asks", table.calls)):
        if names:
            yield f"- {what}: {', '.join(f'[`{one}`](#{NUMBERS[one]}-{one})' for one in sorted(names, key=NUMBERS.__getitem__))}"
    if flows:
        yield "\nFlows that belong to no object:\n\n```text"
        yield from (flow.text.split(",", 1)[1] for flow in flows)
        yield "```"


if __name__ == "__main__":
    sys.stdout.write(page())
