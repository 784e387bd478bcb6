"""The commands of instance groups: membership, virtual IPs, their elastic IPs."""

from __future__ import annotations

from vipnet.cli.declare import Section, change, flag, many, number, read, text

__all__ = ["GROUPS"]

_MEMBERS = many("--guest", "SERVER", "a server", always=True)

GROUPS = Section(
    "Instance groups",
    (
        change(
            "instancegroup-create NAME",
            "groups.create",
            "Create an anti-affinity group.",
            "instancegroup-create nginx --granularity 2",
            text("--zone-id", "ZONE", "zone"),
            text("--service-type", "TEXT", "what it serves"),
            text("--parent-id", "ID", "parent"),
            text("--sched-strategy", "TEXT", "scheduling strategy"),
            number("--granularity", "N", "members per host at most (default 1)"),
            text("--force-dispersion", "yes|no", "refuse what would break the dispersion (default yes)"),
            text("--project", "PROJECT", "project (default: default)"),
            number("--vrid", "N", "VRRP router id, 1-255 (default: the lowest free)"),
        ),
        read(
            "instancegroup-list",
            "groups.list",
            "List groups.",
            "instancegroup-list --server node1",
            text("--server", "SERVER", "only those of this server"),
            columns="name enabled status guest_count vips vip_eip network",
        ),
        read("instancegroup-show ID", "groups.show", "Show a group.", "instancegroup-show nginx"),
        change("instancegroup-delete ID", "groups.delete", "Delete a group without members.", "instancegroup-delete nginx"),
        change(
            "instancegroup-bind-guests ID",
            "groups.bind_guests",
            "Make servers members of a group.",
            "instancegroup-bind-guests nginx --guest node1 --guest node2",
            _MEMBERS,
        ),
        change(
            "instancegroup-unbind-guests ID",
            "groups.unbind_guests",
            "Take servers out of a group.",
            "instancegroup-unbind-guests nginx --guest node2",
            _MEMBERS,
        ),
        change(
            "instancegroup-attachnetwork ID",
            "groups.attach_network",
            "Give a group its virtual IP.",
            "instancegroup-attachnetwork nginx --ip-addr 192.168.7.246",
            text("--ip-addr", "IP", "the address wanted"),
            text("--alloc-dir", "WORD", "stepdown (default), stepup, random or none: which free address is taken"),
            flag("--reserved", "take --ip-addr from the reserved addresses"),
            flag("--require-designated-ip", "refuse when --ip-addr is in use, instead of taking another"),
            text("--network-id", "ID", "the network (default: the members')"),
            text("--ip6-addr", "IP", "the IPv6 address wanted"),
            flag("--require-ipv6", "with an IPv6 address"),
            number("--vrid", "N", "VRRP router id, 1-255 (default: the lowest free)"),
        ),
        change(
            "instancegroup-detachnetwork ID",
            "groups.detach_network",
            "Take a group's virtual IP away.",
            "instancegroup-detachnetwork nginx --ip-addr 192.168.7.246",
            text("--ip-addr", "IP", "only this one"),
        ),
        change(
            "instancegroup-create-eip ID",
            "groups.create_eip",
            "Create an elastic IP and map it to the group's virtual IP.",
            "instancegroup-create-eip nginx --bandwidth 30",
            number("--bandwidth", "MBPS", "limit each way, in 10^6 bit/s"),
            text("--bgp-type", "TYPE", "line type of the EIP network"),
            flag("--auto-dellocate", "free it when it is dissociated"),
            text("--ip-addr", "IP", "the virtual IP to map"),
            text("--eip-addr", "IP", "the public address wanted"),
            text("--charge-type", "WORD", "bandwidth (default) or traffic"),
        ),
        change(
            "instancegroup-associate-eip ID",
            "groups.associate_eip",
            "Map an elastic IP to the group's virtual IP.",
            "instancegroup-associate-eip nginx --eip-id front",
            text("--eip-id", "EIP", "the elastic IP"),
            text("--ip-addr", "IP", "the virtual IP to map"),
        ),
        change(
            "instancegroup-dissociate-eip ID",
            "groups.dissociate_eip",
            "End the mapping of the group's elastic IP.",
            "instancegroup-dissociate-eip nginx --auto-delete",
            flag("--auto-delete", "free the elastic IP too"),
        ),
        read(
            "groupguest-list",
            "groups.guests",
            "List memberships.",
            "groupguest-list --group nginx",
            text("--group", "GROUP", "only of this group"),
            text("--server", "SERVER", "only of this server"),
        ),
        read(
            "groupnetwork-list",
            "groups.networks",
            "List virtual IPs.",
            "groupnetwork-list --network web",
            text("--group", "GROUP", "only of this group"),
            text("--network", "NETWORK", "only in this network"),
            columns="group network ip_addr ip6_addr eip_addr",
        ),
        read(
            "keepalived-config GROUP SERVER",
            "groups.keepalived_config",
            "Print the keepalived.conf of a member.",
            "keepalived-config nginx node1 --check '/usr/bin/pidof nginx'",
            text("--advert-int", "SECONDS", "time between advertisements"),
            text("--check", "COMMAND", "the command that says whether the member is well"),
        ),
    ),
)
