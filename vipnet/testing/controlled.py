"""The scene brought about by a Controller's verbs: the whole road from a verb to a packet."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Any

from vipnet.config import Config, UplinkConfig
from vipnet.controller import Controller
from vipnet.model import Nic, Server
from vipnet.testing.probe import Probe
from vipnet.testing.scene import Scene
from vipnet.transaction import Transaction

__all__ = ["ControlledNetwork", "build", "nic_ids", "scene_config"]

EIP_NETWORK = "public"


def scene_config(scene: Scene, **backend: Any) -> Config:
    """The configuration for a scene, in memory; `backend` is `name` and the options of the backend."""
    uplink = UplinkConfig(
        name="pub",
        device=scene.uplink_device,
        address=scene.uplink_address,
        gateway=scene.outside,
        networks=(EIP_NETWORK,),
    )
    name = backend.pop("name")
    return Config(store="memory:", backend=name, uplinks={"pub": uplink}, backends={name: backend})


def build(cloud: Controller, scene: Scene) -> None:
    """Create all of a scene in an empty cloud, in one transaction."""
    with cloud.transaction() as tx:
        tx.networks.create(EIP_NETWORK, "203.0.113.0/24", server_type="eip")
        for vpc in scene.vpcs:
            is_dual = any(segment.gateway6 for segment in scene.segments if segment.vpc == vpc.name)
            cidr6 = "fd00::/16" if is_dual else None
            tx.vpcs.create(vpc.name, "192.168.0.0/16", cidr6=cidr6, external_access_mode=vpc.mode)
        for segment in scene.segments:
            prefix6 = None if segment.gateway6 is None else _prefix(segment.gateway6)
            tx.networks.create(segment.name, _prefix(segment.gateway), vpc=segment.vpc, prefix6=prefix6)
        for server in scene.servers:
            ips = server.ip if server.ip6 is None else f"{server.ip},{server.ip6}"
            net, devices, macs = f"{server.segment}:{ips}", [server.device], [server.mac]
            tx.servers.create(server.name, nets=[net], devices=devices, macs=macs)
        for group in scene.groups:
            tx.groups.create(group.name)
            tx.groups.bind_guests(group.name, list(group.members))
            tx.groups.attach_network(group.name, ip_addr=group.vip, ip6_addr=group.vip6, require_designated_ip=True)
        for eip in scene.eips:
            name = _name(eip.ip)
            tx.eips.create(name, network=EIP_NETWORK, ip_addr=eip.ip, charge_type="traffic")
            tx.groups.associate_eip(eip.group, eip_id=name)


class ControlledNetwork:
    """What the promises are asked of, changed by verbs."""

    def __init__(self, cloud: Controller, probe: Probe, scene: Scene) -> None:
        self.cloud = cloud
        self.probe = probe
        self.scene = scene
        probe.refresh(scene)

    def become(self, scene: Scene) -> None:
        """Bind, unbind, associate and dissociate what differs, in one transaction."""
        with self.cloud.transaction() as tx:
            self._move_eips(tx, scene)
            for old, new in zip(self.scene.groups, scene.groups, strict=True):
                if gone := sorted({*old.members} - {*new.members}):
                    tx.groups.unbind_guests(old.name, gone)
                if come := sorted({*new.members} - {*old.members}):
                    tx.groups.bind_guests(old.name, come)
        self.scene = scene
        self.probe.refresh(scene)

    def _move_eips(self, tx: Transaction, scene: Scene) -> None:
        before, after = ({(eip.ip, eip.group) for eip in one.eips} for one in (self.scene, scene))
        for _, group in sorted(before - after):
            tx.groups.dissociate_eip(group)
        for ip, group in sorted(after - before):
            tx.groups.associate_eip(group, eip_id=_name(ip))


def nic_ids(cloud: Controller) -> Iterator[tuple[str, str]]:
    """The name of each server with the id of its first NIC."""
    for nic in cloud.topology.all(Nic):
        if nic.position == 0:
            yield cloud.topology.at(Server, nic.server_id).name, nic.id


def _name(ip: str) -> str:
    return f"eip-{ip}"


def _prefix(gateway: str) -> str:
    return str(ip_interface(gateway).network)
