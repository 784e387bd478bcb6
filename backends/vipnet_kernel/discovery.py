"""IPv6 of bridged frames, in nft's words: what it takes to look into neighbour discovery, extension headers and fragments.

Nothing else that filters on a bridge can: ebtables sees no target of a solicitation, and for ip6tables to see bridged frames they
must pass br_netfilter, which cuts off what follows a packet in its frame, and puts fragments together.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GUEST6", "LEG6", "LINK_LAYER_OPTIONS", "SETS6"]

LINK_LAYER_OPTIONS: Final = (0x0101, 0x0201)
"""How the source's begins, and the target's: options of one unit of 8 bytes (RFC 4861)."""

# A set of what neighbour discovery says is of bits of the packet: nft 1.0.6 has no name for a target, nor for an option.
SETS6: Final = r"""	set vn_targets { typeof iifname . ether saddr . @th,64,128; }
	set vn_options { typeof iifname . @th,192,64; }
"""

# vn_guest6: what has its own source. Neighbour discovery comes without extension headers, so it cannot come in fragments
# (RFC 6980), and its length says where its options are. What is in fragments begins with its upper layer: behind further
# headers it might begin in the second one (RFC 7112), while the kernel reads on, here, in what pads the first frame. The
# kernel's search for the upper layer ends at an authentication header, so what that hides may not be of what is judged here
# (in a chain of its own: in one rule, nft 1.0.6 would list it as `ah nexthdr`, which it cannot read).
# vn_nd: an advertisement is about an address of the port; one option, the port's own link-layer address, or none. Router
# advertisements, redirects and MLD queries are for routers, answers of DHCPv6 for its servers.
GUEST6: Final = r"""	chain vn_dad {
		ip6 length 24 accept
		ip6 length 32 @th,192,16 0x0e01 accept
	}
	chain vn_guest6 {
		frag nexthdr { 0, 43, 44, 51, 60 } drop
		meta l4proto 51 jump vn_hidden
		icmpv6 type { 1-4, 128, 129, 131, 132, 143 } accept
		ip6 nexthdr icmpv6 jump vn_nd
		meta l4proto icmpv6 frag frag-off != 0 accept
		udp sport 547 drop
		meta l4proto != icmpv6 accept
	}
	chain vn_hidden {
		@th,0,8 { 0, 43, 44, 51, 58, 60, 112 } drop
	}
	chain vn_nd {
		icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @vn_targets drop
		icmpv6 type . ip6 length { nd-router-solicit . 8, nd-neighbor-solicit . 24, nd-neighbor-advert . 24 } accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 length 32 iifname . @th,192,64 @vn_options accept
		icmpv6 type nd-router-solicit ip6 length 16 iifname . @th,64,64 @vn_options accept
	}
"""

LEG6: Final = r"""	chain vn_leg6 {
		frag nexthdr { 0, 43, 44, 51, 60 } drop
		meta mark . ip6 saddr @vn_claims6 drop
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } exthdr frag exists drop
		icmpv6 type nd-neighbor-advert meta mark . @th,64,128 @vn_claimed drop
		ip6 saddr :: icmpv6 type nd-neighbor-solicit meta mark . @th,64,128 @vn_claimed drop
	}
"""
