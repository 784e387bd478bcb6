"""Real keepalived with an IPv6 instance of VRRP, behind the nftables backend: members share the VIP, a stranger takes no part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vipnet.backend import BackendContext
from vipnet.lab import Lab, LabServer
from vipnet.lab.node import wait_for
from vipnet.testing import Answer, Network, clear, standard_scene
from vipnet.testing.real import RealProbe
from vipnet_nftables import NftablesBackend

pytestmark = pytest.mark.root

VIP6, D6 = "fd00:4::246", "fd00:8::10"


def config(priority: int) -> str:
    return f"""
global_defs {{
    router_id member-{priority}
    max_auto_priority 0
    vrrp_garp_master_delay 1
}}
vrrp_instance vip {{
    state BACKUP
    interface eth0
    virtual_router_id 66
    priority {priority}
    version 3
    advert_int 0.2
    virtual_ipaddress {{
        {VIP6}/64 dev eth0
    }}
}}
"""


@pytest.fixture
def network() -> Iterator[tuple[Network, dict[str, LabServer]]]:
    scene = standard_scene()
    with Lab(prefix="kad6") as lab, RealProbe(lab, scene) as probe:
        backend = NftablesBackend(BackendContext(options={"namespace": lab.host}))
        try:
            one = Network(backend, probe, scene)
            yield one, {node.name: node for node in lab.nodes if isinstance(node, LabServer)}
            clear(backend)
        finally:
            backend.close()


def has_link_local(server: LabServer) -> bool:
    """Whether the address that VRRP is sent from may be used yet."""
    shown = server.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link").stdout
    return "fe80::" in shown and "tentative" not in shown


def start(server: LabServer, priority: int) -> None:
    wait_for(lambda: has_link_local(server), f"the link-local address of {server.name}")
    server.start_keepalived(config(priority))


def test_the_ipv6_vip_fails_over_among_members_alone(network: tuple[Network, dict[str, LabServer]]) -> None:  # P6, P7, P9, P18
    one, servers = network
    a, b, c = (servers[name] for name in "abc")

    def answers(server: LabServer) -> bool:
        return one.probe.udp("d", VIP6) == Answer(server.name, D6)

    start(a, 200)
    start(b, 100)
    wait_for(lambda: answers(a), "the first member to answer at the VIP", timeout=10)
    assert not b.holds(VIP6)  # it hears the first one's advertisements

    start(c, 254)
    wait_for(lambda: c.holds(VIP6), "the stranger to think that it is alone", timeout=10)
    assert a.holds(VIP6)  # it does not hear the stranger's
    assert answers(a)

    a.stop_keepalived()
    wait_for(lambda: answers(b), "the second member to answer at the VIP")
    assert not a.holds(VIP6)
    a.start_keepalived(config(200))
    wait_for(lambda: answers(a), "the first member to come back")
    wait_for(lambda: not b.holds(VIP6), "the second member to give way")
