"""The commands of elastic IPs."""

from __future__ import annotations

from vipnet.cli.declare import Section, change, flag, number, read, text

__all__ = ["EIPS"]

EIPS = Section(
    "Elastic IPs",
    (
        change(
            "eip-create NAME",
            "eips.create",
            "Create an elastic IP.",
            "eip-create front --network pub --bandwidth 30",
            text("--network", "NETWORK", "the EIP network"),
            text("--ip-addr", "IP", "the public address wanted"),
            number("--bandwidth", "MBPS", "limit each way, in 10^6 bit/s"),
            text("--bgp-type", "TYPE", "line type of the EIP network"),
            text("--charge-type", "bandwidth|traffic", "what is paid for (default bandwidth)"),
            flag("--auto-dellocate", "free it when it is dissociated"),
        ),
        read(
            "eip-list",
            "eips.list",
            "List elastic IPs.",
            "eip-list",
            columns="name ip_addr network bandwidth status associate_type associate_id",
        ),
        read("eip-show ID", "eips.show", "Show an elastic IP.", "eip-show front"),
        change(
            "eip-change-bandwidth ID MBPS",
            "eips.change_bandwidth",
            "Change the limit of an elastic IP.",
            "eip-change-bandwidth front 50",
        ),
        change("eip-delete ID", "eips.delete", "Delete an elastic IP that is mapped to nothing.", "eip-delete front"),
    ),
)
