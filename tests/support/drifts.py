"""What somebody else may do to the rules and links of the nftables backend, harmless to whoever has a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from vipnet.errors import DataplaneError
from vipnet.process import run
from vipnet_kernel import names
from vipnet_kernel.handles import Handles
from vipnet_kernel.links import inventory
from vipnet_kernel.namespaces import identity, listed

__all__ = ["DRIFTS"]

WATCHED = "203.0.113.100"


def a_rule_more_at_the_host(host: str) -> None:
    _nft(host, "add rule bridge vipnet vn_input counter")


def a_chain_more_at_the_host(host: str) -> None:
    _nft(host, "add chain bridge vipnet theirs { type filter hook forward priority 10; }")


def a_port_more_at_the_host(host: str) -> None:
    _nft(host, 'add element bridge vipnet vn_ports { "nobody" }')


def a_rule_more_in_routers(host: str) -> None:
    for router in _routers(host):
        _nft(router, "add rule ip vipnet vn_forward counter")


def a_chain_more_in_routers(host: str) -> None:
    for router in _routers(host):
        _nft(router, "add chain ip vipnet theirs { type filter hook forward priority 10; }")


def another_policy_in_routers(host: str) -> None:
    for router in _routers(host):
        _nft(router, "chain ip vipnet vn_forward { policy accept; }")


def an_eip_more_in_routers(host: str) -> None:
    for router in _routers(host):
        _nft(router, "add element ip vipnet vn_eip_vip { 203.0.113.250 : 192.168.7.250 }")


def a_counter_less_in_routers(host: str) -> None:
    """Of a watched EIP: its packets are not counted, and not lost."""
    for router in _routers(host):
        run(["ip", "netns", "exec", router, "nft", f"delete element ip vipnet vn_rx_count {{ {WATCHED} }}"], check=False)


def a_port_less_at_the_host(host: str) -> None:
    with closing(Handles()) as handles:
        links = inventory(handles, host).links
    for name in sorted(name for name, link in links.items() if name.startswith("x") and link.master)[:1]:
        run(["ip", "-n", host, "link", "set", name, "nomaster"])


DRIFTS: Mapping[str, Callable[[str], None]] = {
    one.__name__.replace("_", " "): one
    for one in (
        a_rule_more_at_the_host,
        a_chain_more_at_the_host,
        a_port_more_at_the_host,
        a_port_less_at_the_host,
        a_rule_more_in_routers,
        a_chain_more_in_routers,
        another_policy_in_routers,
        an_eip_more_in_routers,
        a_counter_less_in_routers,
    )
}


def _nft(namespace: str, command: str) -> None:
    run(["ip", "netns", "exec", namespace, "nft", command])


def _routers(host: str) -> list[str]:
    """The routers of the vipnet that programs this host."""
    mark = f"vipnet {names.owner_mark(identity(host))}"
    with closing(Handles()) as handles:
        return [name for name in listed(names.NAMESPACE) if not names.GATEWAY.fullmatch(name) and _alias(handles, name) == mark]


def _alias(handles: Handles, namespace: str) -> str:
    try:
        return inventory(handles, namespace).links["lo"].alias
    except DataplaneError:  # somebody else's, and it has gone
        return ""
