"""The commands of VPCs and networks."""

from __future__ import annotations

from vipnet.cli.declare import Section, change, flag, number, read, text

__all__ = ["NETWORKS", "VPCS"]

VPCS = Section(
    "VPCs",
    (
        change(
            "vpc-create NAME CIDR",
            "vpcs.create",
            "Create a private address space.",
            "vpc-create prod 192.168.0.0/16",
            text("--cidr6", "PREFIX", "IPv6 prefix"),
            text("--external-access-mode", "eip|distgw|eip-distgw|none", "what may cross an uplink (default eip-distgw)"),
        ),
        read("vpc-list", "vpcs.list", "List VPCs.", "vpc-list", columns="name cidr_block cidr_block6 external_access_mode"),
        read("vpc-show ID", "vpcs.show", "Show a VPC.", "vpc-show prod"),
        change("vpc-delete ID", "vpcs.delete", "Delete a VPC that has no networks.", "vpc-delete prod"),
    ),
)

NETWORKS = Section(
    "Networks",
    (
        change(
            "network-create NAME PREFIX",
            "networks.create",
            "Create a network.",
            "network-create web 192.168.4.0/22 --vpc prod",
            text("--vpc", "ID", "the VPC it belongs to (default: the classic VPC)"),
            text("--start-ip", "IP", "first address of the range"),
            text("--end-ip", "IP", "last address of the range"),
            text("--gateway", "IP", "gateway of a classic network"),
            text("--prefix6", "PREFIX", "IPv6 prefix"),
            text("--alloc-policy", "none|stepdown|stepup|random", "which free address is taken"),
            text("--server-type", "guest|eip", "eip: public addresses (default guest)"),
            text("--bgp-type", "TYPE", "line type of an EIP network"),
            text("--zone", "ZONE", "zone (default: default)"),
            number("--vlan-id", "N", "VLAN on the physical leg of a classic network"),
            text("--project", "PROJECT", "project (default: default)"),
            flag("--shared", "other projects may use it"),
            number("--alloc-timeout-seconds", "N", "how long released addresses rest"),
        ),
        read(
            "network-list",
            "networks.list",
            "List networks.",
            "network-list",
            columns="name vpc prefix guest_ip_start guest_ip_end server_type used_count free_count",
        ),
        read("network-show ID", "networks.show", "Show a network.", "network-show web"),
        change(
            "network-update ID",
            "networks.update",
            "Change a network.",
            "network-update web --alloc-policy stepup",
            text("--start-ip", "IP", "first address of the range"),
            text("--end-ip", "IP", "last address of the range"),
            text("--alloc-policy", "none|stepdown|stepup|random", "which free address is taken"),
            text("--gateway", "IP", "gateway of a classic network"),
        ),
        change("network-delete ID", "networks.delete", "Delete a network that nothing lives in.", "network-delete web"),
        read(
            "network-addresses ID",
            "networks.addresses",
            "List the used and reserved addresses of a network.",
            "network-addresses web",
        ),
        read(
            "network-why-not NETWORK IP",
            "networks.why",
            "Say whether an address can be had, and if not why and which beside it can.",
            "network-why-not web 192.168.4.9",
        ),
        change(
            "network-reserve-ip NETWORK NOTES IP...",
            "networks.reserve_ip",
            "Keep addresses from the automatic choice.",
            "network-reserve-ip web printers 192.168.4.9 192.168.4.10 --duration 1M",
            text("--duration", "TIME", "how long, like 10I (minutes), 1H, 1D, 1W, 1M or 1Y (default: for ever)"),
            columns="ip_addr notes expired_at",
        ),
        change(
            "network-release-reserved-ip NETWORK IP",
            "networks.release_reserved_ip",
            "End a reservation.",
            "network-release-reserved-ip web 192.168.4.9",
        ),
    ),
)
