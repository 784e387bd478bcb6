"""keepalived.conf for a member of a group, from the group's own values. Source: keepalived.conf(5) 2.2, RFC 5798."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vipnet.addresses import format_ip4, format_ip6
from vipnet.errors import InputParameterError, NotSupportedError
from vipnet.model import DEVICE_NAME

__all__ = ["CHECK", "MEMBERS_MAX", "keepalived_config"]

CHECK = "/etc/keepalived/check_nginx.sh"
"""The check command when none is named."""

MEMBERS_MAX = 127
"""So many members have priorities of their own; see `_priority`."""

_COMMAND = re.compile(r"(/[A-Za-z0-9%&+,\-./:=?_]*|[A-Za-z0-9][A-Za-z0-9+\-._]*)( [A-Za-z0-9 %&+,\-./:=?_]*)?")


def keepalived_config(
    *,
    router_id: str,
    position: int,
    addresses: Sequence[int],
    vip: int,
    length: int,
    vrid: int | None,
    vip6: int | None = None,
    length6: int | None = None,
    device: str = "eth0",
    advert_int: float = 1.0,
    check: str = CHECK,
    preempt: bool = True,
) -> str:
    """Return the text of keepalived.conf for one member.

    `addresses` are the members' own IPv4 addresses in the order of the group, `position` the place of this one among
    them (0: preferred). `length` and `length6` are prefix lengths of `vip` and `vip6`. With `vrid` None the members
    advertise to each other by unicast. `advert_int` is in seconds, 0.01 to 40.95, in steps of 0.01. `check` is the command
    whose exit status other than 0 moves the VIP. Without `preempt` a repaired member does not take the VIP back while
    its holder is well.

    Raises InputParameterError for an interval, device or check that keepalived would not read as meant, and
    NotSupportedError for more than `MEMBERS_MAX` members.
    """
    count = len(addresses)
    if count > MEMBERS_MAX:
        raise NotSupportedError(f"{count} members are too many for VRRP's priorities; a group may have {MEMBERS_MAX}")
    body = [
        "state BACKUP",  # the priorities decide
        f"interface {_checked_device(device)}",
        f"virtual_router_id {vip % 255 + 1 if vrid is None else vrid}",
        f"priority {_priority(position, count)}",
        "version 3",
        f"advert_int {_seconds(advert_int)}",
        *([] if preempt else ["nopreempt"]),
        *(_unicast(addresses, position) if vrid is None and count > 1 else []),
        *_block("virtual_ipaddress", [f"{format_ip4(vip)}/{length} dev {device}"]),
        # one instance advertises one family; what is excluded from the advertisement moves with it all the same
        *([] if vip6 is None else _block("virtual_ipaddress_excluded", [f"{format_ip6(vip6)}/{length6} dev {device}"])),
        *_block("track_script", ["check"]),
    ]
    blocks = [_global(router_id), _check(_checked_command(check), count), _block("vrrp_instance vip", body)]
    return "\n".join([_head(vrid), *("\n".join(block) + "\n" for block in blocks)])


def _head(vrid: int | None) -> str:
    head = "# Written by vipnet, for keepalived 2.2 or later.\n"
    if vrid is None:
        head += "# No VRID was free in this network: members advertise by unicast to the others; the number is arbitrary.\n"
    return head


def _global(router_id: str) -> list[str]:
    """Global settings.

    Scripts run as root and must not be writable by others: else keepalived drops the check in silence and the VIP never
    moves. A new holder announces at once, and once more every minute, should the first have been lost; it answers a
    lower priority's advertisement with one announcement, not five, so that a thawed server is no flood.
    """
    return _block(
        "global_defs",
        [
            f"router_id {router_id}",
            "script_user root",
            "enable_script_security",
            "max_auto_priority 0",
            "vrrp_garp_master_delay 1",
            "vrrp_garp_master_repeat 3",
            "vrrp_garp_master_refresh 60",
            "vrrp_garp_master_refresh_repeat 1",
            "vrrp_garp_lower_prio_repeat 1",
        ],
    )


def _check(command: str, count: int) -> list[str]:
    """The tracked check: every 2 s as in the specification's example; its success is worth the weight."""
    return _block("vrrp_script check", [f'script "{command}"', "interval 2", "timeout 2", f"weight {_weight(count)}"])


def _weight(count: int) -> int:
    return max(count, 2)


def _priority(position: int, count: int) -> int:
    """Priorities fall by 1 from member to member, and a good check is worth more than all members lie apart.

    So whoever's check is good stands above all whose check failed, the first of them wins, and if all fail the VIP stays
    somewhere, as in the specification's example (100 and 99, weight 2), which holds for two members only: with three,
    100 failed would tie with 98 + 2. The numbers end at VRRP's highest for a member, 254, because a backup waits
    (256 - priority) / 256 of the interval before it takes over: 12 ms at 253, but 0.6 s at 101.
    """
    return 254 - _weight(count) - position


def _unicast(addresses: Sequence[int], position: int) -> list[str]:
    peers = [format_ip4(ip) for place, ip in enumerate(addresses) if place != position]
    return [f"unicast_src_ip {format_ip4(addresses[position])}", *_block("unicast_peer", peers)]


def _seconds(interval: float) -> str:
    hundredths = round(interval * 100) if 0 < interval < 1000 else 0
    if not 1 <= hundredths <= 4095 or abs(hundredths - interval * 100) > 1e-6:
        raise InputParameterError(f"advertisement interval {interval:g} s is not accepted; use 0.01 to 40.95 in hundredths")
    return f"{hundredths / 100:g}"


def _checked_device(device: str) -> str:
    if DEVICE_NAME.fullmatch(device) is None:
        raise InputParameterError(f"device {device!r} is not accepted; use an interface name such as eth0")
    return device


def _checked_command(command: str) -> str:
    if _COMMAND.fullmatch(command) is None or len(command) > 256:
        raise InputParameterError(
            f"check {command!r} is not accepted; give a program, by name or absolute path, and its arguments, in at most "
            "256 letters, digits, blanks and characters of %&+,-./:=?_ (keepalived starts it without a shell)"
        )
    return command


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]
