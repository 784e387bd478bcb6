"""The targets `nft:*`: a ruleset changed in one transaction, and rebuilt whole where its rules are not as declared."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.plan import TargetPlan
from vipnet_kernel.namespaces import exists
from vipnet_kernel.netlink import ruleset_generation
from vipnet_kernel.sockets import Sockets
from vipnet_kernel.sysctls import read_sysctls, write_sysctls
from vipnet_nftables.askers import Askers, is_asker
from vipnet_nftables.assembly import contents
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.entries import Guard, NativeEntry, Skeleton, target_of
from vipnet_nftables.metering import told_of_loss
from vipnet_nftables.operations import Operations, Part, blamed, carried, operations, remaining
from vipnet_nftables.ownership import OWNED, Ownership
from vipnet_nftables.rooms import is_full, larger, room, sizes
from vipnet_nftables.ruleset import HOST, TABLES, Kind
from vipnet_nftables.wire.batch import RETRIES, Fault, Message, transacted
from vipnet_nftables.wire.elements import adding
from vipnet_nftables.wire.links import linked
from vipnet_nftables.wire.making import created, deleted, rebuilt
from vipnet_nftables.wire.objects import kind_of, read_declared, template

__all__ = ["HOST_SYSCTLS", "Rules", "is_host_intact"]

HOST_SYSCTLS = {f"bridge/bridge-nf-call-{family}tables": "0" for family in ("ip", "ip6", "arp")}
"""With these on, bridged frames cross the rules of the host's own IP layer too."""

_FAMILIES = ("bridge", "ip", "ip6", "arp")
_TRIES: Final = 20

_MANY: Final = 256
"""So many EIPs at once are asked room for beforehand: to send them in vain takes longer than to ask."""

_MENDS: Final = 2
"""So often a transaction that is refused is sent again: there may be no room for it, and something of it be there already."""


class Rules:
    """Applies steps to rulesets. The host's rules belong to no entry: they come with the first one and go with the last.

    `generation` is that of the ruleset after the last step, None: there is none, or it is not known.
    """

    __slots__ = ("_grew", "_host", "_intact_at", "_sockets", "askers", "generation")

    def __init__(self, sockets: Ownership, host: str) -> None:
        self._sockets = sockets
        self._host = host
        self._intact_at: int | None = None
        self._grew: set[str] = set()
        self.generation: int | None = None
        self.askers = Askers()

    def apply(self, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        """Commit a step; return the reasons of what was refused, by key. Raises OwnedError where the tables are another's."""
        namespace = step.target.removeprefix(target_of("")) or self._host
        comes, self.generation = bool(step.create or step.replace), None
        if not comes and not exists(namespace):
            return {}
        try:
            return self._apply_host(step, comes=comes) if namespace == self._host else self._apply_router(namespace, step)
        except DataplaneError as error:
            if isinstance(error.__cause__, PermissionError):
                self._sockets.check([namespace])
            raise

    def remake_host(self, flags: int) -> None:
        """Make the host's tables anew, with all that is in them: the kernel gives a table that is there no other flags.

        All policies there are to accept, so that no packet is lost. Raises DataplaneError.
        """
        with linked(self._sockets, self._host) as link:
            if not read_declared(link, TABLES[HOST]).families:
                return
            faults: list[Fault] = []
            for _ in range(_TRIES):
                generation = ruleset_generation(link)
                faults, _ = _renewed(link, HOST, Operations(), flags, generation=generation)
                if not any(fault.code in RETRIES for fault in faults):
                    break
            if faults:
                raise DataplaneError(f"the host's tables cannot be made anew: {faults[0].reason}")
            self.generation = self._intact_at = ruleset_generation(link)

    def short(self) -> list[str]:
        """The routers that got EIPs and have little room for more."""
        self._grew = {router for router in self._grew if exists(router) and self._is_short(router)}
        return sorted(self._grew)

    def grow(self, router: str) -> None:
        """Give a router more room. Raises DataplaneError."""
        with linked(self._sockets, router) as link:
            if faults := _resized(link, Operations(), self._sockets.flags(router))[0]:
                raise DataplaneError(f"the maps of {router} cannot be given more room: {faults[0].reason}")
            self.generation = ruleset_generation(link)

    def _is_short(self, router: str) -> bool:
        with linked(self._sockets, router) as link:
            found = room(link)
            return found is not None and found.is_short

    def _apply_host(self, step: TargetPlan[NativeEntry], *, comes: bool) -> dict[str, str]:
        if comes:
            _settle_host(self._host)
        with linked(self._sockets, self._host) as link:
            if not comes and any(isinstance(entry, Guard) for entry in step.delete) and _is_last(link, step):
                return _without(link, step)
            build = HOST if comes and not self._is_intact(link) else None
            refused = _commit(link, step, build, self._sockets.flags(self._host))
            self.generation = ruleset_generation(link)
            self._intact_at = self.generation if comes and not refused else None
            return refused

    def _apply_router(self, namespace: str, step: TargetPlan[NativeEntry]) -> dict[str, str]:
        done = told_of_loss(self.askers.completed(namespace, step))
        with linked(self._sockets, namespace) as link:
            refused = _commit(link, done, _skeleton(step), self._sockets.flags(namespace))
            self.generation = ruleset_generation(link)
        if not refused:
            self.askers.keep(done)
            if step.create:
                self._grew.add(namespace)
        return refused

    def _is_intact(self, link: socket.socket) -> bool:
        return (self._intact_at is not None and self._intact_at == ruleset_generation(link)) or _is_declared(link)


def is_host_intact(sockets: Sockets, host: str) -> bool:
    """Whether the rules in the host's namespace are as declared, and its settings with them."""
    off = all(value == "0" for value in read_sysctls(host, HOST_SYSCTLS).values())
    with linked(sockets, host) as link:
        return off and _is_declared(link)


def _is_declared(link: socket.socket) -> bool:
    return kind_of(read_declared(link, TABLES[HOST]), (HOST,)) is not None


def _settle_host(host: str) -> None:
    on = {name: "0" for name, value in read_sysctls(host, HOST_SYSCTLS).items() if value != "0"}
    if on and (refused := write_sysctls(host, on)):
        raise DataplaneError(f"settings {', '.join(refused)} cannot be switched off: {next(iter(refused.values()))}")


def _skeleton(step: TargetPlan[NativeEntry]) -> Kind | None:
    """The kind of rules to build anew, if any."""
    comes = (*step.create, *(new for _, new in step.replace))
    return next((entry.kind for entry in comes if isinstance(entry, Skeleton)), None)


def _commit(link: socket.socket, step: TargetPlan[NativeEntry], build: Kind | None, flags: int) -> dict[str, str]:
    if any(isinstance(entry, Skeleton) for entry in step.delete):
        return _without(link, step)
    asked = operations(_goes(step), _comes(step))
    if build is not None:
        return _blame(*_built(link, build, asked, flags), step)
    resize = partial(_resized, flags=flags)
    send = _added if _has_room(link, asked) else resize
    faults, parts = send(link, asked)
    for _ in range(_MENDS):
        if not faults:
            break
        if is_full(faults):
            send = resize
        else:  # something was there already, or gone: look, and ask for the difference
            asked = remaining(link, asked)
        faults, parts = send(link, asked)
    return _blame(faults, parts, step)


def _has_room(link: socket.socket, asked: Operations) -> bool:
    """Whether there is room for what comes, as far as it is worth asking: where it is little, there mostly is."""
    more = _mappings(asked)
    return more < _MANY or (found := room(link)) is None or found.holds(more)


def _sent(
    link: socket.socket, before: Sequence[Message], asked: Operations, *, generation: int | None = None
) -> tuple[list[Fault], list[Part]]:
    """Commit messages and operations; what hinders, and of what the parts of each message are."""
    parts = [*map(Part, before), *asked.parts()]
    messages = [part.message for part in parts]
    faults = transacted(link, messages, generation=generation)
    if any(fault.code == errno.EPERM for fault in faults):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    for _ in range(_TRIES):
        if not faults or any(fault.code not in RETRIES for fault in faults) or generation is not None:
            return faults, parts
        faults = transacted(link, messages)
    raise DataplaneError(f"the kernel puts a transaction off again and again: {faults[0].reason}")


def _added(link: socket.socket, asked: Operations) -> tuple[list[Fault], list[Part]]:
    """Commit operations."""
    return _sent(link, [], asked)


def _resized(link: socket.socket, asked: Operations, flags: int) -> tuple[list[Fault], list[Part]]:
    """Commit operations together with room for them. In tables that are owned a ruleset that moves on was others' tables."""
    for _ in range(_TRIES):
        before, seen = larger(link, _mappings(asked))
        generation = None if flags == OWNED else seen
        faults, parts = _sent(link, before, asked, generation=generation)
        if not faults or any(fault.code not in RETRIES for fault in faults):
            return faults, parts
    raise DataplaneError("there is no more room for EIPs, and none can be made: others keep changing the rules")


def _built(link: socket.socket, kind: Kind, asked: Operations, flags: int) -> tuple[list[Fault], list[Part]]:
    """Make the rules anew, and do what is left to do then: in place, so that no counter misses a packet and no packet its way;
    or in new tables, which takes as long as a chain that goes and whose policy is to drop hangs on its hook without its rules."""
    wanted, there = template(kind), read_declared(link, TABLES[kind])
    in_place = rebuilt(there, wanted, sizes=sizes(_mappings(asked)), flags=flags)
    if in_place is not None:
        faults, parts = _sent(link, in_place, remaining(link, asked))
        if not is_full(faults):
            return faults, parts
    return _renewed(link, kind, asked, flags)


def _renewed(
    link: socket.socket, kind: Kind, asked: Operations, flags: int, *, generation: int | None = None
) -> tuple[list[Fault], list[Part]]:
    """Make tables anew, with what they hold."""
    kept, left = carried(contents(link, TABLES[kind]), asked)
    elements = (message for (family, name), some in kept.items() for message, _ in adding(family, name, some))
    rooms = sizes(max(map(len, kept.values()), default=0) + _mappings(asked))
    anew = [*deleted(TABLES[kind]), *created(template(kind), sizes=rooms, flags=flags), *elements]
    return _sent(link, anew, left, generation=generation)


def _mappings(asked: Operations) -> int:
    """How many EIPs come, at most."""
    return max((len(column.elements) for column in asked.comes), default=0)


def _without(link: socket.socket, step: TargetPlan[NativeEntry]) -> dict[str, str]:
    return _blame(*_sent(link, deleted(_FAMILIES), Operations()), step)


def _is_last(link: socket.socket, step: TargetPlan[NativeEntry]) -> bool:
    """Whether nothing is left in the host's tables after what goes."""
    kept, _ = carried(contents(link, TABLES[HOST]), operations(_goes(step), ()))
    return not any(kept.values())


def _goes(step: TargetPlan[NativeEntry]) -> list[ElementEntry]:
    return [entry for entry in (*step.delete, *(old for old, _ in step.replace)) if isinstance(entry, ElementEntry)]


def _comes(step: TargetPlan[NativeEntry]) -> list[ElementEntry]:
    return [entry for entry in (*(new for _, new in step.replace), *step.create) if isinstance(entry, ElementEntry)]


def _blame(faults: Sequence[Fault], parts: Sequence[Part], step: TargetPlan[NativeEntry]) -> dict[str, str]:
    """What was refused, by key: what faults point at, or the whole step."""
    if not faults:
        return {}
    named = {entry.key: fault.reason for fault in faults for entry in blamed(fault, parts) if not is_asker(entry)}
    whole = (entry for entry in (*step.create, *(new for _, new in step.replace), *step.delete) if not is_asker(entry))
    return named or dict.fromkeys((entry.key for entry in whole), faults[0].reason)
