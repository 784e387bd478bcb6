"""For which EIPs a router answers, as the kernel says."""

from __future__ import annotations

from collections.abc import Collection

from vipnet_kernel import names
from vipnet_kernel.sockets import Sockets
from vipnet_nftables.columns import leg_key
from vipnet_nftables.wire.elements import by_key
from vipnet_nftables.wire.links import linked

__all__ = ["answered_for"]


def answered_for(sockets: Sockets, router: str, uplink: int, among: Collection[int]) -> set[int]:
    """Those of some EIPs that a router answers for on an uplink, as the kernel says: O(1) each."""
    leg = names.uplink_leg(uplink)
    keys = {leg_key(leg, eip): eip for eip in among}
    with linked(sockets, router) as link:
        return {keys[key] for key in by_key(link, "arp", "vn_eips", list(keys))}
