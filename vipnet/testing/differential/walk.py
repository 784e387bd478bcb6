"""Cases at random: a cloud, verbs that change it, and packets of the addresses that are or were in it. Needs hypothesis.

The verbs are tried on a simulator while they are drawn, so that most of them are possible then; some are meant to be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from vipnet.addresses import format_ip4, format_ip6
from vipnet.controller import Controller
from vipnet.errors import RefusedError
from vipnet.model import DEFAULT_VPC, Eip, InstanceGroup, Membership, Network, Nic, Server, Vip, Vpc
from vipnet.testing.differential.case import Announce, Ask, Case, Setting, Step, Together, Verb
from vipnet.testing.differential.pair import worlds
from vipnet.testing.differential.questions import Questions
from vipnet.testing.differential.setting import DEVICES, LEGGED, MACS, PUBLIC, configured

__all__ = ["cases"]

T = TypeVar("T")

_SETTINGS: tuple[Setting, ...] = ("plain", "plain", "plain", "plain", "nameless", "islands")
_MODES = {
    "plain": ("eip", "distgw", "eip-distgw", "eip-distgw", "eip-distgw", "none"),
    "nameless": ("eip", "eip", "none"),  # there is no address to masquerade with
    "islands": ("distgw", "eip-distgw", "eip", "none"),
}
_PREFIXES = ("10.1.0.0/28", "10.2.0.0/24", "10.3.0.0/22", "10.4.0.0/24")
_CLASSIC = (LEGGED, "lan")
_EIPS = tuple(f"203.0.113.{last}" for last in range(100, 106))


@st.composite
def cases(draw: st.DrawFn, *, ipv6: bool, verbs: int = 22, questions: int = 70) -> Case:
    """A cloud made in one transaction, then `verbs` verbs and some announcements; packets in between and at the end.

    With `ipv6` some VPCs and networks have both families.
    """
    setting = draw(st.sampled_from(_SETTINGS))
    clock, world, _ = worlds("walk")
    with Controller.open(configured(setting, "simulator", {}), world=world) as cloud:
        walk = _Walk(draw, cloud, setting, ipv6=ipv6)
        walk.begin()
        for number in range(verbs):
            clock.now += 11
            walk.go_on()
            if number == verbs // 2:
                walk.ask(questions // 3)
        walk.ask(questions - questions // 3)
        return Case(setting, tuple(walk.steps))


class _Walk:
    """Steps of a case, drawn one after another."""

    def __init__(self, draw: st.DrawFn, cloud: Controller, setting: Setting, *, ipv6: bool) -> None:
        self._ipv6 = ipv6
        self._draw, self._cloud, self._setting = draw, cloud, setting
        self.steps: list[Step] = []
        self._count = 0
        self._questions = Questions(draw, cloud)
        self._kinds: list[Callable[[], Step | None]] = [
            method for method, weight in self._weights() for _ in range(weight)
        ]

    def _weights(self) -> list[tuple[Callable[[], Step | None], int]]:
        anywhere: list[tuple[Callable[[], Step | None], int]] = [
            (self._create_vpc, 1),
            (self._delete_vpc, 1),
            (self._create_network, 2),
            (self._delete_network, 1),
            (self._move_gateway, 1),
            (self._create_server, 3),
            (self._delete_server, 2),
            (self._replace_server, 1),
            (self._attach_nic, 2),
            (self._detach_nic, 1),
            (self._create_group, 1),
            (self._delete_group, 1),
            (self._bind, 3),
            (self._unbind, 3),
            (self._join, 1),
            (self._leave, 1),
            (self._attach_vip, 3),
            (self._detach_vip, 2),
            (self._apply, 1),
        ]
        with_eips: list[tuple[Callable[[], Step | None], int]] = [
            (self._create_group_eip, 3),
            (self._create_eip, 2),
            (self._associate, 3),
            (self._dissociate, 2),
            (self._delete_eip, 1),
            (self._move_eip, 3),
            (self._change_bandwidth, 1),
        ]
        return anywhere if self._setting == "islands" else [*anywhere, *with_eips]

    def begin(self) -> None:
        """Make a cloud: VPCs of the same addresses, servers, groups with VIPs, EIPs."""
        verbs: list[Verb] = []
        if self._setting != "islands":
            verbs.append(_verb("networks.create", "pub", PUBLIC, server_type="eip", start_ip=_EIPS[0], end_ip=_EIPS[-1]))
        self._take(Together((*verbs, *self._first_vpcs())))
        servers = [verb for _ in range(self._int(5, 8)) if (verb := self._create_server())]
        # One after another, as each takes a device; in one transaction, as that is quicker.
        self._take(Together(tuple(self._distinct(servers))))
        for _ in range(self._int(2, 3)):
            self._take(self._create_group())
            self._fill_newest_group()
        for group in self._all(InstanceGroup)[:2]:
            if self._setting != "islands" and self._int(0, 4):
                self._take(_verb("groups.create_eip", group.name, charge_type="traffic"))
        for group in self._all(InstanceGroup) * (1 + self._ipv6):
            self._take(self._announce_member(group))

    def go_on(self) -> None:
        """Do one verb; now and then somebody announces a VIP."""
        for _ in range(8):
            step = self._draw(st.sampled_from(self._kinds))()
            if step is not None:
                self._take(step)
                break
        if self._int(0, 3) == 0:
            self._take(self._announce())

    def ask(self, count: int) -> None:
        """Draw packets."""
        self.steps.append(Ask(tuple(self._questions.draw_one() for _ in range(count))))

    # ------------------------------------------------------------------------------------------------- doing

    def _take(self, step: Step | None) -> None:
        if step is None:
            return
        self.steps.append(step)
        if isinstance(step, Verb | Together):
            try:
                step.run(self._cloud)
            except RefusedError:
                return
        if isinstance(step, Announce):
            self._questions.note_holder(step.device, step.ip)
        self._questions.note_addresses()

    def _int(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    def _one(self, things: Sequence[T]) -> T | None:
        return self._draw(st.sampled_from(things)) if things else None

    def _all(self, kind: type[T]) -> list[T]:
        found: list[Any] = sorted(self._cloud.topology.all(kind), key=lambda thing: getattr(thing, "name", thing.id))  # type: ignore[type-var]
        return found

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _is_wild(self) -> bool:
        """Whether to choose without regard to what is possible."""
        return self._int(0, 7) == 0

    # ------------------------------------------------------------------------------------------------- VPCs and networks

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
        return _verb("vpcs.create", name, "10.0.0.0/8", external_access_mode=self._mode(), **_if(is_dual, cidr6="fd00::/16"))

    def _network(self, prefix: str, vpc: str, *, is_dual: bool) -> Verb:
        six = f"fd00:{_PREFIXES.index(prefix) + 1}::/64"
        return _verb("networks.create", self._name("n"), prefix, vpc=vpc, **_if(is_dual, prefix6=six))

    def _mode(self) -> str:
        return self._draw(st.sampled_from(_MODES[self._setting]))

    def _create_vpc(self) -> Verb | None:
        if len(self._all(Vpc)) > 4:
            return None
        return self._vpc(self._name("v"), is_dual=self._is_dual())

    def _delete_vpc(self) -> Verb | None:
        empty = [vpc for vpc in self._all(Vpc) if not self._cloud.topology.by(Network, "vpc_id", vpc.id)]
        vpc = self._one(self._all(Vpc) if self._is_wild() else [vpc for vpc in empty if vpc.id != DEFAULT_VPC])
        return None if vpc is None else _verb("vpcs.delete", vpc.name)

    def _create_network(self) -> Verb | None:
        vpc = self._one(self._all(Vpc))
        assert vpc is not None
        if vpc.id == DEFAULT_VPC:
            name = self._draw(st.sampled_from(_CLASSIC))
            return self._classic(name)
        return self._network(self._draw(st.sampled_from(_PREFIXES)), vpc.name, is_dual=vpc.cidr6 is not None and self._is_dual())

    def _classic(self, name: str) -> Verb:
        here = f"172.{16 + _CLASSIC.index(name)}.0"
        six = _if(self._is_dual(), prefix6=f"fd00:{16 + _CLASSIC.index(name)}::/64")
        return _verb("networks.create", name, f"{here}.0/24", start_ip=f"{here}.10", end_ip=f"{here}.40", **six)

    def _delete_network(self) -> Verb | None:
        used = {nic.network_id for nic in self._all(Nic)} | {vip.network_id for vip in self._all(Vip)}
        network = self._one([one for one in self._guest_networks() if self._is_wild() or one.id not in used])
        return None if network is None else _verb("networks.delete", network.name)

    def _move_gateway(self) -> Verb | None:
        network = self._one([one for one in self._guest_networks() if one.gateway is not None])
        if network is None or network.gateway is None:
            return None
        first = network.start - 1
        return _verb("networks.update", network.name, gateway=format_ip4(first if network.gateway != first else network.end + 1))

    def _guest_networks(self) -> list[Network]:
        return [network for network in self._all(Network) if network.server_type == "guest"]

    # ------------------------------------------------------------------------------------------------- servers

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
        return _verb("servers.create", self._name("s"), nets=list(nets), devices=list(devices), macs=macs)

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
        return None if server is None else _verb("servers.delete", server.name)

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
        return Together((_verb("servers.delete", old), self._server_of([device], [net])))

    def _attach_nic(self) -> Verb | None:
        server, network, device = self._one(self._all(Server)), self._one(self._guest_networks()), self._one(self._free_devices())
        if server is None or network is None or device is None:
            return None
        return _verb("servers.attach_network", server.name, self._nic(network), mac=MACS[device], device=device)

    def _detach_nic(self) -> Verb | None:
        nic = self._one(self._all(Nic))
        if nic is None:
            return None
        topology = self._cloud.topology
        return _verb("servers.detach_network", topology.at(Server, nic.server_id).name, topology.at(Network, nic.network_id).name)

    # ------------------------------------------------------------------------------------------------- groups

    def _create_group(self) -> Verb:
        return _verb("groups.create", self._name("g"))

    def _delete_group(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup))
        return None if group is None else _verb("groups.delete", group.name)

    def _fill_newest_group(self) -> None:
        group = max(self._all(InstanceGroup), key=lambda one: int(one.name[1:]))
        nic = self._one([nic for nic in self._all(Nic) if self._is_alone(nic)])
        if nic is None:
            return
        beside = [other for other in self._all(Nic) if other.network_id == nic.network_id and self._is_alone(other)]
        members = sorted(self._cloud.topology.at(Server, other.server_id).name for other in beside)[: self._int(1, 4)]
        self._take(_verb("groups.bind_guests", group.name, members))
        self._take(self._vip_of(group))

    def _is_alone(self, nic: Nic) -> bool:
        return len(self._cloud.topology.by(Nic, "server_id", nic.server_id)) == 1

    def _bind(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup))
        if group is None:
            return None
        topology = self._cloud.topology
        places = {vip.network_id for vip in topology.by(Vip, "group_id", group.id)}
        fitting = [topology.at(Server, nic.server_id) for nic in self._all(Nic) if not places or nic.network_id in places]
        server = self._one(self._all(Server) if self._is_wild() else fitting)
        return None if server is None else _verb("groups.bind_guests", group.name, [server.name])

    def _unbind(self) -> Verb | None:
        row = self._one(self._memberships())
        return None if row is None else _verb("groups.unbind_guests", row[0].name, [row[1].name])

    def _join(self) -> Verb | None:
        server, group = self._one(self._all(Server)), self._one(self._all(InstanceGroup))
        return None if server is None or group is None else _verb("servers.join_groups", server.name, [group.name])

    def _leave(self) -> Verb | None:
        row = self._one(self._memberships())
        return None if row is None else _verb("servers.leave_groups", row[1].name, [row[0].name])

    def _memberships(self) -> list[tuple[InstanceGroup, Server]]:
        topology = self._cloud.topology
        rows = [(topology.at(InstanceGroup, row.group_id), topology.at(Server, row.server_id)) for row in self._all(Membership)]
        return sorted(rows, key=lambda row: (row[0].name, row[1].name))

    def _attach_vip(self) -> Verb | None:
        group = self._one([one for one in self._all(InstanceGroup) if self._is_wild() or not self._vips(one)])
        return None if group is None else self._vip_of(group)

    def _vip_of(self, group: InstanceGroup) -> Verb | None:
        members = self._cloud.topology.by(Membership, "group_id", group.id)
        nics = [nic for row in members for nic in self._cloud.topology.by(Nic, "server_id", row.server_id)]
        network = self._cloud.topology.at(Network, nics[0].network_id) if nics else self._one(self._guest_networks())
        if network is None:
            return None
        options: dict[str, Any] = _if(not nics, network_id=network.name)
        offset = self._int(5, 9)
        if network.start6 is not None and self._int(0, 3):
            options["ip6_addr"] = format_ip6(network.start6 + offset)
        return _verb("groups.attach_network", group.name, ip_addr=format_ip4(network.start + offset), **options)

    def _vips(self, group: InstanceGroup) -> Sequence[Vip]:
        return list(self._cloud.topology.by(Vip, "group_id", group.id))

    def _detach_vip(self) -> Verb | None:
        group = self._one([one for one in self._all(InstanceGroup) if self._vips(one)])
        return None if group is None else _verb("groups.detach_network", group.name)

    # ------------------------------------------------------------------------------------------------- EIPs

    def _mapped_groups(self, *, mapped: bool) -> list[InstanceGroup]:
        eips = {eip.vip_id for eip in self._all(Eip)}
        return [one for one in self._all(InstanceGroup) for vip in self._vips(one) if (vip.id in eips) == mapped]

    def _create_group_eip(self) -> Verb | None:
        group = self._one(self._all(InstanceGroup) if self._is_wild() else self._mapped_groups(mapped=False))
        if group is None:
            return None
        options: dict[str, Any] = {"charge_type": "traffic"} if self._draw(st.booleans()) else {"bandwidth": self._int(1, 50)}
        return _verb("groups.create_eip", group.name, auto_dellocate=self._draw(st.booleans()), **options)

    def _create_eip(self) -> Verb:
        return _verb("eips.create", self._name("e"), network="pub", bandwidth=self._int(1, 50))

    def _associate(self) -> Verb | None:
        eip = self._one([eip for eip in self._all(Eip) if self._is_wild() or eip.vip_id is None])
        group = self._one(self._all(InstanceGroup) if self._is_wild() else self._mapped_groups(mapped=False))
        return None if eip is None or group is None else _verb("groups.associate_eip", group.name, eip_id=eip.name)

    def _dissociate(self) -> Verb | None:
        group = self._one(self._mapped_groups(mapped=True))
        return None if group is None else _verb("groups.dissociate_eip", group.name, auto_delete=self._draw(st.booleans()))

    def _delete_eip(self) -> Verb | None:
        eip = self._one([eip for eip in self._all(Eip) if self._is_wild() or eip.vip_id is None])
        return None if eip is None else _verb("eips.delete", eip.name)

    def _move_eip(self) -> Together | None:
        """An EIP changes its group, perhaps its VPC, in one transaction."""
        eip, to = self._one([eip for eip in self._all(Eip) if eip.vip_id]), self._one(self._mapped_groups(mapped=False))
        if eip is None or to is None or eip.auto_dellocate:
            return None
        vip = self._cloud.topology.at(Vip, str(eip.vip_id))
        group = self._cloud.topology.at(InstanceGroup, vip.group_id)
        return Together((_verb("groups.dissociate_eip", group.name), _verb("groups.associate_eip", to.name, eip_id=eip.name)))

    def _change_bandwidth(self) -> Verb | None:
        eip = self._one(self._all(Eip))
        return None if eip is None else _verb("eips.change_bandwidth", eip.name, self._int(1, 50))

    def _apply(self) -> Verb:
        return _verb("apply", audit=True) if self._draw(st.booleans()) else _verb("apply")

    # ------------------------------------------------------------------------------------------------- announcements

    def _announce(self) -> Announce | None:
        """By a member, or by anybody else in the network, who may have been one."""
        group = self._one([one for one in self._all(InstanceGroup) if self._vips(one)])
        if group is None or self._int(0, 2):
            return None if group is None else self._announce_member(group)
        vip = self._vips(group)[0]
        nic = self._one([nic for nic in self._all(Nic) if nic.network_id == vip.network_id])
        return None if nic is None else self._announcement(nic.device, vip)

    def _announce_member(self, group: InstanceGroup) -> Announce | None:
        topology = self._cloud.topology
        rows = sorted(topology.by(Membership, "group_id", group.id), key=lambda row: row.position)
        devices = [nic.device for row in rows for nic in topology.by(Nic, "server_id", row.server_id)]
        vips, device = self._vips(group), self._one(devices)
        return None if not vips or device is None else self._announcement(device, vips[0])

    def _announcement(self, device: str, vip: Vip) -> Announce:
        if vip.ip6 is not None and self._draw(st.booleans()):
            return Announce(device, format_ip6(vip.ip6))
        return Announce(device, format_ip4(vip.ip), self._draw(st.sampled_from(("request", "reply"))))


def _if(condition: bool, /, **options: Any) -> dict[str, Any]:
    return options if condition else {}


def _verb(path: str, *args: Any, **options: Any) -> Verb:
    return Verb(path, args, tuple(options.items()))
