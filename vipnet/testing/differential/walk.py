"""Cases at random: a cloud, verbs that change it, and packets of the addresses that are or were in it. Needs hypothesis.

The verbs are tried on a simulator while they are drawn, so that most of them are possible then; some are meant to be refused.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from vipnet.controller import Controller
from vipnet.errors import RefusedError
from vipnet.model import InstanceGroup, Nic, Server
from vipnet.testing.differential.case import Announce, Ask, Case, Setting, Step, Together, Verb
from vipnet.testing.differential.group_verbs import GroupVerbs
from vipnet.testing.differential.hand import a_verb
from vipnet.testing.differential.pair import worlds
from vipnet.testing.differential.questions import Questions
from vipnet.testing.differential.setting import PUBLIC, configured

__all__ = ["cases"]

_SETTINGS: tuple[Setting, ...] = ("plain", "plain", "plain", "plain", "nameless", "islands")
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


class _Walk(GroupVerbs):
    """Steps of a case, drawn one after another."""

    def __init__(self, draw: st.DrawFn, cloud: Controller, setting: Setting, *, ipv6: bool) -> None:
        super().__init__(draw, cloud, setting, ipv6=ipv6)
        self.steps: list[Step] = []
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
            verbs.append(a_verb("networks.create", "pub", PUBLIC, server_type="eip", start_ip=_EIPS[0], end_ip=_EIPS[-1]))
        self._take(Together((*verbs, *self._first_vpcs())))
        servers = [verb for _ in range(self._int(5, 8)) if (verb := self._create_server())]
        # One after another, as each takes a device; in one transaction, as that is quicker.
        self._take(Together(tuple(self._distinct(servers))))
        for _ in range(self._int(2, 3)):
            self._take(self._create_group())
            self._fill_newest_group()
        for group in self._all(InstanceGroup)[:2]:
            if self._setting != "islands" and self._int(0, 4):
                self._take(a_verb("groups.create_eip", group.name, charge_type="traffic"))
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

    def _fill_newest_group(self) -> None:
        group = max(self._all(InstanceGroup), key=lambda one: int(one.name[1:]))
        nic = self._one([nic for nic in self._all(Nic) if self._is_alone(nic)])
        if nic is None:
            return
        beside = [other for other in self._all(Nic) if other.network_id == nic.network_id and self._is_alone(other)]
        members = sorted(self._cloud.topology.at(Server, other.server_id).name for other in beside)[: self._int(1, 4)]
        self._take(a_verb("groups.bind_guests", group.name, members))
        self._take(self._vip_of(group))
