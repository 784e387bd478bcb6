"""The declaration: every table, chain, set, map and rule of the backend. Objects are elements; no rule is per object.

Names begin with `vn_` because `fwd`, `dnat` and `rev` are words of nft. A set has no `interval` flag: a lookup is one hash.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from vipnet.model import AccessMode
from vipnet_kernel.discovery import GUEST6, LEG6, SETS6

__all__ = ["CAME_IN", "GATEWAY", "HOST", "ROUTED", "TABLES", "Kind", "declaration", "kinds", "router_kind"]

Kind = Literal["host", "gateway", "router-eip", "router-distgw", "router-eip-distgw", "router-none"]

HOST: Final[Kind] = "host"
GATEWAY: Final[Kind] = "gateway"
ROUTED: Final = 0x1FF
CAME_IN: Final = 0x100
"""Bits of the mark of a packet that is to be routed: the low byte is the number of its uplink, from 1; CAME_IN is set when it
came in by it and was translated. With none of them, what comes in by an uplink is local."""

TABLES: Final[dict[Kind, tuple[str, ...]]] = {
    "host": ("bridge",),
    "gateway": ("ip",),
    "router-eip": ("ip", "ip6", "arp"),
    "router-distgw": ("ip", "ip6", "arp"),
    "router-eip-distgw": ("ip", "ip6", "arp"),
    "router-none": ("ip", "ip6", "arp"),
}
"""The families in which a kind of namespace has a table `vipnet`."""

# vn_guest: a port's frames leave it only with its own MAC and addresses, in both headers. A tagged or LLC frame is of none of
# these types and ends at the drop. The unspecified source is for asking whether an address of its own is free (RFC 4862);
# such a question has no option but a nonce (RFC 7527).
# vn_leg: a physical leg may not claim what is ours, nor bring in other VLANs or VRRP; the mark tells which network it is a
# leg of, as nft here has no bridge name to match.
# vn_forward: what reaches a port unasked (flooded unicast, VRRP of others) stops here; VRRP does not reach the router.
# vn_input: the host itself is on none of these segments.
# IPv6 is looked into by chains of `vipnet_kernel.discovery`.
_HOST: Final = (
    r"""
table bridge vipnet {
	set vn_bridges { type ifname; }
	set vn_ports { type ifname; }
	set vn_arp { type ifname . ether_addr . ether_addr . ipv4_addr; }
	set vn_ip { type ifname . ether_addr . ipv4_addr; }
	set vn_ip6 { type ifname . ether_addr . ipv6_addr; }
""" + SETS6 + r"""	set vn_vrrp { type ifname . ifname; }
	map vn_legs { type ifname : mark; }
	set vn_claims { type mark . ipv4_addr; }
	set vn_claims6 { type mark . ipv6_addr; }
	set vn_claimed { typeof meta mark . @th,64,128; }
	set vn_outer { type ifname; }

	chain vn_prerouting {
		type filter hook prerouting priority -300; policy accept;
		iifname @vn_ports goto vn_guest
		meta mark set iifname map @vn_legs goto vn_leg
	}
	chain vn_guest {
		ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 \
			iifname . ether saddr . arp saddr ether . arp saddr ip @vn_arp accept
		ether type ip iifname . ether saddr . ip saddr @vn_ip accept
		ether type ip6 iifname . ether saddr . ip6 saddr @vn_ip6 jump vn_guest6
		ip6 saddr :: ip6 nexthdr icmpv6 icmpv6 type nd-neighbor-solicit \
			iifname . ether saddr . @th,64,128 @vn_targets jump vn_dad
		drop
	}
""" + GUEST6 + r"""	chain vn_leg {
		ether type { 8021q, 8021ad } drop
		ether type arp meta mark . arp saddr ip @vn_claims drop
		ether type ip meta mark . ip saddr @vn_claims drop
		meta l4proto 112 drop
		ether type ip6 jump vn_leg6
		meta mark set 0
	}
""" + LEG6 + r"""	chain vn_forward {
		type filter hook forward priority -300; policy accept;
		oifname @vn_ports ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether type ip \
			oifname . ether daddr . ip daddr != @vn_ip drop
		oifname @vn_ports ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether type ip6 \
			oifname . ether daddr . ip6 daddr != @vn_ip6 drop
		iifname @vn_ports meta l4proto 112 iifname . oifname @vn_vrrp accept
		iifname @vn_ports meta l4proto 112 drop
	}
	chain vn_input {
		type filter hook input priority -300; policy accept;
		iifname @vn_ports drop
		iifname @vn_outer drop
		iifname "vnr*" drop
		iifname "vnl*" drop
	}
}
"""
)

# vn_arrive: only a mapped EIP comes in, by its own uplink, established or not, and not from what is an address of the VPC's
# subnets; a VIP's packets learn their uplink.
# vn_arrived: translated packets are marked, to be routed past the table in which every address is local; it is that table
# that makes the kernel answer ARP for EIPs, and the arp chain that says for which. The mark also holds the uplink, by
# which the kernel sends its own ICMP errors about the packet.
# vn_post: within the VPC, what was sent to an EIP gets the router's source, so that the answer comes back through here.
# vn_leave: by an uplink only as an EIP of that uplink; by the transit link only as the router. INVALID packets pass no
# NAT, so this asks for the source itself.
# vn_*_limit, vn_*_count: each element has a limit or a counter of its own. They stand where the packet carries the EIP and is
# going to cross the uplink, and the limit stands before the counter. A set of limits needs one for elements that bring none,
# of which there are none.
_ROUTER: Final = """
table ip vipnet {
	map vn_eip_vip { type ipv4_addr : ipv4_addr; }
	map vn_vip_eip { type ipv4_addr : ipv4_addr; }
	map vn_vip_out { type ipv4_addr : mark; }
	map vn_came_by { type ifname : mark; }
	set vn_eips { type ifname . ipv4_addr; }
	set vn_rx_limit { type ipv4_addr; limit rate over 1 bytes/second; }
	set vn_tx_limit { type ipv4_addr; limit rate over 1 bytes/second; }
	set vn_rx_count { type ipv4_addr; counter; }
	set vn_tx_count { type ipv4_addr; counter; }

	chain vn_arrive {
		type filter hook prerouting priority mangle; policy accept;
		iifname "up*" iifname . ip daddr != @vn_eips drop
		iifname "up*" fib saddr oifname "vns*" drop
		iifname "up*" ip daddr @vn_rx_limit drop
		iifname "up*" ip daddr @vn_rx_count
		iifname "vns*" meta mark set ip saddr map @vn_vip_out
	}
	chain vn_dstnat {
		type nat hook prerouting priority dstnat; policy accept;
		dnat to ip daddr map @vn_eip_vip
	}
	chain vn_arrived {
		type filter hook prerouting priority -50; policy accept;
		iifname "up*" ct status & (snat | dnat) != 0 meta mark set iifname map @vn_came_by
	}
	chain vn_input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		iifname "up*" drop
		iifname "vns*" icmp type echo-request accept
		ct state established,related accept
	}
	chain vn_forward {
		type filter hook forward priority filter; policy drop;
		ip protocol 112 drop
		iifname "vns*" oifname "vns*" accept
		FORWARD
	}
	chain vn_post {
		type nat hook postrouting priority srcnat; policy accept;
		iifname "vns*" oifname "vns*" ct status dnat masquerade
		oifname "up*" snat to ip saddr map @vn_vip_eip
		oifname "tr0" masquerade
	}
	chain vn_leave {
		type filter hook postrouting priority 150; policy accept;
		oifname "up*" oifname . ip saddr != @vn_eips drop
		oifname "up*" ip saddr @vn_tx_limit drop
		oifname "up*" ip saddr @vn_tx_count
		oifname "tr0" ip saddr != 100.64.0.0/10 drop
	}
}
"""

# Without an address on the uplink the kernel would ask upstream with a private sender; an uplink's own address would draw
# the gateway's traffic here. So it asks as one of its EIPs, and as nobody, which RFC 5227 allows, while it has none. Such
# questions are answered, too: the kernel does so only for one from an address, so they are taken for one from 192.0.0.8,
# which RFC 7600 keeps for nobody. Nobody is a neighbour by an EIP of the router's own: its announcements come back from the
# bridge.
_ARP: Final = """
table arp vipnet {
	map vn_asker { type ifname : ipv4_addr; }
	set vn_eips { type ifname . ipv4_addr; }

	chain vn_input {
		type filter hook input priority filter; policy accept;
		iifname "up*" iifname . arp saddr ip @vn_eips drop
		iifname "up*" arp operation request iifname . arp daddr ip != @vn_eips drop
		iifname "up*" arp operation request arp saddr ip 0.0.0.0 arp saddr ip set 192.0.0.8
	}
	chain vn_output {
		type filter hook output priority filter; policy accept;
		oifname "up*" arp operation request arp saddr ip set oifname map @vn_asker
		oifname "up*" arp operation request oifname . arp saddr ip != @vn_eips arp saddr ip set 0.0.0.0
		oifname "up*" arp operation reply arp daddr ip 192.0.0.8 arp daddr ip set 0.0.0.0
	}
}
"""

# Between the subnets of the VPC, and no further: no other leg has IPv6. The kernel resolves a neighbour from the leg's
# link-local address.
_ROUTER6: Final = """
table ip6 vipnet {
	chain vn_input {
		type filter hook input priority filter; policy drop;
		iifname "vns*" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, echo-request, echo-reply } accept
	}
	chain vn_forward {
		type filter hook forward priority filter; policy drop;
		iifname "vns*" oifname "vns*" accept
	}
}
"""

_FORWARD_EIP: Final = """
		iifname "up*" oifname "vns*" meta mark & 0x100 == 0x100 accept
		iifname "vns*" oifname "up*" accept
"""

_FORWARD_DISTGW: Final = """
		iifname "vns*" oifname "tr0" accept
		iifname "tr0" oifname "vns*" ct state established,related ct status snat accept
"""

# VPCs meet here only as addresses of their transit links, and never each other.
_GATEWAY: Final = """
table ip vipnet {
	chain vn_input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
	}
	chain vn_forward {
		type filter hook forward priority filter; policy drop;
		iifname "vt*" oifname "up0" accept
		iifname "up0" oifname "vt*" ct state established,related accept
	}
	chain vn_post {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "up0" masquerade
	}
	chain vn_leave {
		type filter hook postrouting priority 150; policy accept;
		oifname "up0" fib saddr type != local drop
	}
}
"""

_FORWARD: Final[dict[AccessMode, str]] = {
    "eip": _FORWARD_EIP,
    "distgw": _FORWARD_DISTGW,
    "eip-distgw": _FORWARD_EIP + _FORWARD_DISTGW,
    "none": "",
}


def router_kind(mode: AccessMode) -> Kind:
    """The kind of a router's rules."""
    return _ROUTER_KINDS[mode]


def kinds() -> tuple[Kind, ...]:
    """Every kind of namespace."""
    return get_args(Kind)


def declaration(kind: Kind) -> str:
    """The rules of a kind of namespace, as nft reads them."""
    return _DECLARATIONS[kind]


_ROUTER_KINDS: Final[dict[AccessMode, Kind]] = {
    "eip": "router-eip",
    "distgw": "router-distgw",
    "eip-distgw": "router-eip-distgw",
    "none": "router-none",
}

_DECLARATIONS: Final[dict[Kind, str]] = {
    "host": _HOST,
    "gateway": _GATEWAY,
    **{
        _ROUTER_KINDS[mode]: _ROUTER.replace("\t\tFORWARD\n", _FORWARD[mode]) + _ROUTER6 + _ARP for mode in get_args(AccessMode)
    },
}
