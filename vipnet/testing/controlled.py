"""The scene brought about by a Controller's verbs: the whole road from a verb to a packet."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from types import TracebackType
from typing import Any, Self

from vipnet.config import Config, UplinkConfig
from vipnet.controller import Controller
from vipnet.store import open_store
from vipnet.testing.faults import Faults, FaultyBackend
from vipnet.testing.network import able, clear
from vipnet.testing.scene import Scene
from vipnet.testing.system import System
from vipnet.transaction import Transaction

__all__ = ["EIP_NETWORK", "ControlledNetwork", "build", "eip_name", "scene_config"]

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
            _create_eip(tx, eip.ip)
            tx.groups.associate_eip(eip.group, eip_id=eip_name(eip.ip))


class ControlledNetwork:
    """A Controller on a system, with a store in a file; what the promises are asked of, changed by verbs. A context manager.

    Its backend fails where `faults` say so.
    """

    def __init__(self, system: System, scene: Scene) -> None:
        self.system = system
        self.faults = Faults()
        self.config = replace(scene_config(scene, name=system.name), store=f"sqlite:///{system.folder}/store.db")
        system.plant()
        self.cloud = self._opened()
        scene = able(self.cloud.backend, scene)
        self.probe = system.probe(self.cloud.backend, scene)
        build(self.cloud, scene)
        self.arrive(scene)

    def become(self, scene: Scene) -> None:
        """Bind, unbind, associate and dissociate what differs, in one transaction."""
        scene = able(self.cloud.backend, scene)
        with self.cloud.transaction() as tx:
            self._move_eips(tx, scene)
            for old, new in zip(self.scene.groups, scene.groups, strict=True):
                if gone := sorted({*old.members} - {*new.members}):
                    tx.groups.unbind_guests(old.name, gone)
                if come := sorted({*new.members} - {*old.members}):
                    tx.groups.bind_guests(old.name, come)
        self.arrive(scene)

    def arrive(self, scene: Scene) -> None:
        """Take notice that the network has become that of another scene."""
        self.scene = able(self.cloud.backend, scene)
        self.probe.refresh(self.scene)

    def stop(self) -> None:
        """End vipnet; what is installed stays."""
        self.cloud.close()

    def start(self) -> None:
        """Start vipnet, which remembers nothing but what is in its store."""
        self.cloud = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        clear(self.cloud.backend)
        self.cloud.close()

    def _opened(self) -> Controller:
        backend = FaultyBackend(self.system.backend(), self.faults)
        return Controller(config=self.config, store=open_store(self.config.store), backend=backend)

    def _move_eips(self, tx: Transaction, scene: Scene) -> None:
        before, after = ({(eip.ip, eip.group) for eip in one.eips} for one in (self.scene, scene))
        for _, group in sorted(before - after):
            tx.groups.dissociate_eip(group)
        known = {eip.ip_addr for eip in tx.eips.list()}
        for ip, group in sorted(after - before):
            if ip not in known:
                _create_eip(tx, ip)
            tx.groups.associate_eip(group, eip_id=eip_name(ip))


def _create_eip(tx: Transaction, ip: str) -> None:
    tx.eips.create(eip_name(ip), network=EIP_NETWORK, ip_addr=ip, charge_type="traffic")


def eip_name(ip: str) -> str:
    """The name of an EIP of a scene."""
    return f"eip-{ip}"


def _prefix(gateway: str) -> str:
    return str(ip_interface(gateway).network)
