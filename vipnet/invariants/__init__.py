"""What holds in every topology that verbs have made: `check_topology` says so of one that came from elsewhere.

Verbs keep these rules as they go and need no check. An import does, and tests ask after every verb.
"""

from __future__ import annotations

from vipnet.invariants.alone import check_thing
from vipnet.invariants.groups import check_eips, check_groups
from vipnet.invariants.networks import check_networks, check_nics
from vipnet.invariants.ownership import check_addresses
from vipnet.invariants.references import check_references, check_unique
from vipnet.topology import KINDS, Topology

__all__ = ["check_topology"]


def check_topology(topology: Topology, *, max_vips_per_group: int = 1) -> None:
    """Raise InputParameterError for the first object that breaks a rule, naming it, the value and what would be accepted."""
    for kind in KINDS:
        for thing in topology.all(kind):
            check_thing(thing)
    check_references(topology)
    check_unique(topology)
    check_networks(topology)
    check_nics(topology)
    check_groups(topology, max_vips_per_group)
    check_eips(topology)
    check_addresses(topology)
