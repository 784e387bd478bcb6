"""The commands of hosts and servers."""

from __future__ import annotations

from vipnet.cli.declare import Section, change, many, read, required, text

__all__ = ["HOSTS", "SERVERS"]

HOSTS = Section(
    "Hosts",
    (
        change(
            "host-create NAME",
            "hosts.create",
            "Register a machine that servers run on.",
            "host-create h1",
            text("--zone", "ZONE", "zone (default: default)"),
        ),
        read("host-list", "hosts.list", "List hosts.", "host-list", columns="name zone"),
        change("host-delete ID", "hosts.delete", "Delete a host without servers.", "host-delete h1"),
    ),
)

SERVERS = Section(
    "Servers",
    (
        change(
            "server-create NAME",
            "servers.create",
            "Create a server with its NICs.",
            "server-create node1 --net web:192.168.7.247 --host h1 --group nginx",
            many("--net", "NETWORK[:IP4][,IP6]", "a NIC in this network"),
            text("--host", "HOST", "the machine it runs on"),
            many("--group", "GROUP", "join this instance group"),
            text("--project", "PROJECT", "project (default: default)"),
            many("--mac", "MAC", "MAC address of a NIC, in the order of --net"),
            many("--device", "IFNAME", "the NIC's interface on the host, in the order of --net"),
        ),
        read(
            "server-list",
            "servers.list",
            "List servers.",
            "server-list --ip-addr 192.168.7.246",
            text("--ip-addr", "IP", "only those that have or share this address"),
            columns="name host project nics virtual_ips groups",
        ),
        read("server-show ID", "servers.show", "Show a server.", "server-show node1"),
        change(
            "server-attach-network ID",
            "servers.attach_network",
            "Give a server a NIC in one more network.",
            "server-attach-network node1 --net app:192.168.8.9",
            required("--net", "NETWORK[:IP4][,IP6]", "the network"),
            text("--mac", "MAC", "MAC address (default: derived)"),
            text("--device", "IFNAME", "the NIC's interface on the host (default: derived)"),
        ),
        change(
            "server-detach-network ID",
            "servers.detach_network",
            "Take a server's NIC in a network away.",
            "server-detach-network node1 --net app",
            required("--net", "NETWORK", "the network"),
        ),
        change(
            "server-join-groups ID",
            "servers.join_groups",
            "Make a server a member of groups.",
            "server-join-groups node1 --group nginx",
            many("--group", "GROUP", "an instance group", always=True),
        ),
        change(
            "server-leave-groups ID",
            "servers.leave_groups",
            "Take a server out of groups.",
            "server-leave-groups node1 --group nginx",
            many("--group", "GROUP", "an instance group", always=True),
        ),
        change("server-delete ID", "servers.delete", "Delete a server; it leaves its groups.", "server-delete node1"),
    ),
)
