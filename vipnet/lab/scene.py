"""The demo's scene: the specification's two nginx servers, a third that is no member, a client beyond the uplink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vipnet.controller import Controller
from vipnet.lab import Lab, LabClient, LabServer
from vipnet.lab.netns import names
from vipnet.lab.record import Run

__all__ = ["GROUP", "LENGTH", "MASTER", "OUTSIDER", "SLAVE", "VIP", "Scene", "build"]

MASTER, SLAVE, OUTSIDER = "nginx-master", "nginx-slave", "outsider"
GROUP = "nginx"
VIP, LENGTH = "192.168.7.246", 22

_SERVERS = {
    MASTER: ("192.168.7.247", "02:24:b1:6d:9b:7d", "vm0"),
    SLAVE: ("192.168.7.248", "02:24:b1:6d:9b:7e", "vm1"),
    OUTSIDER: ("192.168.7.249", "02:24:b1:6d:9b:7f", "vm2"),
}

_CONFIG = """\
store = "{store}"
backend = "{backend}"

[uplinks.pub]
device = "uplink0"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[backends.{backend}]
{options}
"""


@dataclass(slots=True)
class Scene:
    """Everything that the demo's acts need."""

    run: Run
    lab: Lab
    cloud: Controller
    backend: str
    servers: dict[str, LabServer]
    client: LabClient
    say: Callable[[str], None]
    vpc_id: str = ""
    eip: str = ""

    @property
    def namespaces(self) -> dict[str, str]:
        """Namespaces by role: the lab's, and those in which vipnet keeps its own entries."""
        roles = {"host": self.lab.host, "client": self.client.netns}
        roles |= {name: server.netns for name, server in self.servers.items()}
        roles["segment"] = next(name for name in self.lab.namespaces if name not in roles.values())
        targets = " ".join(self.cloud.status().entries)
        ours = [name for name in names() if name in targets and name not in roles.values()]
        return roles | {_role(name, self.vpc_id): name for name in ours}


def build(run: Run, lab: Lab, backend: str, say: Callable[[str], None]) -> Scene:
    """Make the machines and the objects up to the VIP; nginx and keepalived run when it returns."""
    options = lab.options(backend)
    servers = {name: _server(lab, name) for name in _SERVERS}
    client = lab.add_outside(name="client")
    cloud = Controller.open(_write_config(run, backend, options))
    scene = Scene(run=run, lab=lab, cloud=cloud, backend=backend, servers=servers, client=client, say=say)
    try:
        _create(scene)
        _start(scene)
    except BaseException:
        cloud.close()
        raise
    return scene


def _server(lab: Lab, name: str) -> LabServer:
    address, mac, device = _SERVERS[name]
    return lab.add_server(name, device=device, mac=mac, address=f"{address}/{LENGTH}", gateway="192.168.4.1")


def _write_config(run: Run, backend: str, options: Mapping[str, str]) -> Path:
    path = run.folder / "vipnet.toml"
    lines = "\n".join(f'{name} = "{value}"' for name, value in options.items())
    path.write_text(_CONFIG.format(store=run.store, backend=backend, options=lines))
    return path


def _create(scene: Scene) -> None:
    """The specification's objects, by verbs."""
    cloud = scene.cloud
    scene.vpc_id = cloud.vpcs.create("prod", "192.168.0.0/16").id
    cloud.networks.create("web", "192.168.4.0/22", vpc="prod")
    cloud.networks.create("pub", "203.0.113.0/24", server_type="eip", start_ip="203.0.113.100", end_ip="203.0.113.199")
    for place, (name, (address, mac, device)) in enumerate(_SERVERS.items()):
        cloud.hosts.create(f"host{place}")
        cloud.servers.create(name, nets=[f"web:{address}"], host=f"host{place}", macs=[mac], devices=[device])
    cloud.groups.create(GROUP)
    cloud.groups.bind_guests(GROUP, [MASTER, SLAVE])
    group = cloud.groups.attach_network(GROUP, ip_addr=VIP, require_designated_ip=True)
    for name in scene.namespaces.values():
        scene.run.record("namespace", name)
    scene.say(f"VPC prod, network web 192.168.4.0/22, group {GROUP} of {MASTER} and {SLAVE}, VIP {group.vips[0]}/{LENGTH}")


def _start(scene: Scene) -> None:
    for name in (MASTER, SLAVE):
        server = scene.servers[name]
        server.start_nginx(f"{name}\n")
        server.start_keepalived(scene.cloud.groups.keepalived_config(GROUP, name))
    scene.say("nginx and keepalived run in both members, with the configuration that vipnet wrote")


def _role(namespace: str, vpc_id: str) -> str:
    return "router" if vpc_id.replace("-", "")[:12] in namespace else "gateway"
