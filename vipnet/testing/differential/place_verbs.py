"""Verbs of VPCs, networks and servers, drawn. Needs hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from vipnet.addresses import format_ip4, format_ip6
from vipnet.errors import RefusedError
from vipnet.model import DEFAULT_VPC, Network, Nic, Server, Vip, Vpc
from vipnet.testing.differential.case import Together, Verb
from vipnet.testing.differential.hand import Hand, a_verb, if_
from vipnet.testing.differential.setting import DEVICES, LEGGED, MACS

__all__ = ["PlaceVerbs"]

_MODES = {
    "plain": ("eip", "distgw", "eip-distgw", "eip-distgw", "eip-distgw", "none"),
    "nameless": ("eip", "eip", "none"),  # there is no address to masquerade with
    "islands": ("distgw", "eip-distgw", "eip", "none"),
}
_PREFIXES = ("10.1.0.0/28", "10.2.0.0/24", "10.3.0.0/22", "10.4.0.0/24")
_CLASSIC = (LEGGED, "lan")


class PlaceVerbs(Hand):
    """Each method draws a verb, or None if there is nothing that it could be about."""

    def _first_vpcs(self) -> list[Verb]:
        verbs: list[Verb] = []
        for _ in range(self._int(2, 3)):
            vpc = self._name("v")
            is_dual = self._is_dual()
            verbs.append(self._vpc(vpc, is_dual=is_dual))
            prefixes = self._draw(st.lists(st.sampled_from(_PREFIXES[:3]), min_size=1, max_size=2, unique=True))
            verbs += [self._network(prefix, vpc, is_dual=is_dual) for prefix in prefixes]
        if self._draw(st.booleans()):
            verbs.append(self._classic(LEGGED))
        return verbs

    def _is_dual(self) -> bool:
        return self._ipv6 and self._int(0, 2) > 0

    def _vpc(self, name: str, *, is_dual: bool) -> Verb:
        return a_verb("vpcs.create", name, "10.0.0.0/8", external_access_mode=self._mode(), **if_(is_dual, cidr6="fd00::/16"))

    def _network(self, prefix: str, vpc: str, *, is_dual: bool) -> Verb:
        six = f"fd00:{_PREFIXES.index(prefix) + 1}::/64"
        return a_verb("networks.create", self._name("n"), prefix, vpc=vpc, **if_(is_dual, prefix6=six))

    def _mode(self) -> str:
        return self._draw(st.sampled_from(_MODES[self._setting]))

    def _create_vpc(self) -> Verb | None:
        if len(self._all(Vpc)) > 4:
            return None
        return self._vpc(self._name("v"), is_dual=self._is_dual())

    def _delete_vpc(self) -> Verb | None:
        empty = [vpc for vpc in self._all(Vpc) if not self._cloud.topology.by(Network, "vpc_id", vpc.id)]
        vpc = self._one(self._all(Vpc) if self._is_wild() else [vpc for vpc in empty if vpc.id != DEFAULT_VPC])
        return None if vpc is None else a_verb("vpcs.delete", vpc.name)

    def _create_network(self) -> Verb | None:
        vpc = self._one(self._all(Vpc))
        assert vpc is not None
        if vpc.id == DEFAULT_VPC:
            name = self._draw(st.sampled_from(_CLASSIC))
            return self._classic(name)
        return self._network(self._draw(st.sampled_from(_PREFIXES)), vpc.name, is_dual=vpc.cidr6 is not None and self._is_dual())

    def _classic(self, name: str) -> Verb:
        here = f"172.{16 + _CLASSIC.index(name)}.0"
        six = if_(self._is_dual(), prefix6=f"fd00:{16 + _CLASSIC.index(name)}::/64")
        return a_verb("networks.create", name, f"{here}.0/24", start_ip=f"{here}.10", end_ip=f"{here}.40", **six)

    def _delete_network(self) -> Verb | None:
        used = {nic.network_id for nic in self._all(Nic)} | {vip.network_id for vip in self._all(Vip)}
        network = self._one([one for one in self._guest_networks() if self._is_wild() or one.id not in used])
        return None if network is None else a_verb("networks.delete", network.name)

    def _move_gateway(self) -> Verb | None:
        network = self._one([one for one in self._guest_networks() if one.gateway is not None])
        if network is None or network.gateway is None:
            return None
        first = network.start - 1
        return a_verb("networks.update", network.name, gateway=format_ip4(first if network.gateway != first else network.end + 1))

    def _guest_networks(self) -> list[Network]:
        return [network for network in self._all(Network) if network.server_type == "guest"]

    def _free_devices(self) -> list[str]:
        taken = {nic.device for nic in self._all(Nic)}
        return [device for device in DEVICES if device not in taken]

    def _nic(self, network: Network) -> str:
        """A NIC in a network: any address, or one of the few that all VPCs have."""
        if self._int(0, 3) == 0:
            return network.name
        offset = self._int(1, 6)
        net = f"{network.name}:{format_ip4(network.start + offset)}"
        return net if network.start6 is None or self._int(0, 2) == 0 else f"{net},{format_ip6(network.start6 + offset)}"

    def _create_server(self) -> Verb | None:
        free, networks = self._free_devices(), self._guest_networks()
        if not free or not networks:
            return None
        crowded = [*networks, *[networks[0]] * len(networks)]  # groups need servers in one network
        chosen = self._draw(st.lists(st.sampled_from(crowded), min_size=1, max_size=1 + (self._int(0, 7) == 0), unique=True))
        devices = self._draw(st.permutations(free))[: len(chosen)]
        if len(devices) < len(chosen):
            return None
        return self._server_of(devices, [self._nic(network) for network in chosen])

    def _server_of(self, devices: Sequence[str], nets: Sequence[str]) -> Verb:
        macs = [MACS[device] for device in devices]
        return a_verb("servers.create", self._name("s"), nets=list(nets), devices=list(devices), macs=macs)

    def _distinct(self, servers: Sequence[Verb]) -> list[Verb]:
        """Those of the servers that can be made one after another."""
        made: list[Verb] = []
        with self._cloud.transaction(dry_run=True) as tx:
            for verb in servers:
                try:
                    verb.run(tx)
                except RefusedError:
                    continue
                made.append(verb)
        return made

    def _delete_server(self) -> Verb | None:
        server = self._one(self._all(Server))
        return None if server is None else a_verb("servers.delete", server.name)

    def _replace_server(self) -> Together | None:
        """Another server, with the address of one that goes in the same moment."""
        nic, free = self._one(self._all(Nic)), self._free_devices()
        if nic is None or not free:
            return None
        topology = self._cloud.topology
        net = f"{topology.at(Network, nic.network_id).name}:{format_ip4(nic.ip)}"
        net = net if nic.ip6 is None else f"{net},{format_ip6(nic.ip6)}"
        old = topology.at(Server, nic.server_id).name
        device = self._draw(st.sampled_from([*free, nic.device]))
        return Together((a_verb("servers.delete", old), self._server_of([device], [net])))

    def _attach_nic(self) -> Verb | None:
        server, network, device = self._one(self._all(Server)), self._one(self._guest_networks()), self._one(self._free_devices())
        if server is None or network is None or device is None:
            return None
        return a_verb("servers.attach_network", server.name, self._nic(network), mac=MACS[device], device=device)

    def _detach_nic(self) -> Verb | None:
        nic = self._one(self._all(Nic))
        if nic is None:
            return None
        server, network = self._cloud.topology.at(Server, nic.server_id), self._cloud.topology.at(Network, nic.network_id)
        return a_verb("servers.detach_network", server.name, network.name)
