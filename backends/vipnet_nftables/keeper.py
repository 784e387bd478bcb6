"""Begins and ends the ownership of our tables, so that it is known what others may have done before."""

from __future__ import annotations

from vipnet.errors import DataplaneError
from vipnet_kernel import names
from vipnet_kernel.link_entries import Namespace
from vipnet_kernel.memory import Memory
from vipnet_kernel.namespaces import exists, listed
from vipnet_kernel.netlink import loopback_alias
from vipnet_nftables.ownership import OWNED, Ownership
from vipnet_nftables.rules import Rules

__all__ = ["Keeper"]


class Keeper:
    """What ownership has to do with rules and with what is remembered of them."""

    __slots__ = ("_host", "_memory", "_owner", "_ownership", "_rules")

    def __init__(self, ownership: Ownership, rules: Rules, memory: Memory, *, host: str, owner: str) -> None:
        self._ownership = ownership
        self._rules = rules
        self._memory = memory
        self._host = host
        self._owner = owner

    def own(self) -> bool:
        """Own our tables from now on, those of the host and of routers; False: they are not to be owned, or cannot be."""
        if not self._ownership.begin([self._host, *self._routers()]):
            return False
        self.adopt()
        return True

    def disown(self) -> None:
        """Let go of our tables. The host's persist no longer, for others who list them (see `ownership`)."""
        try:
            if self._ownership.flags(self._host) == OWNED:
                self._remake_host(0)
        finally:
            self._ownership.end()

    def adopt(self) -> None:
        """Own what is due. What was done before may be somebody else's: that is looked for before ownership counts."""
        for namespace in sorted(self._ownership.due):
            adopted = self._ownership.adopt(namespace) if exists(namespace) else None
            if adopted is None:
                self._ownership.drop(namespace)
                continue
            if adopted.is_owned:
                self._memory.committed(namespace, adopted.generation)
            else:
                if not self._memory.holds([namespace]):
                    self._memory.learn(None)
                self._remake_host(OWNED)
            self._ownership.confirm(namespace)

    def _remake_host(self, flags: int) -> None:
        self._rules.remake_host(flags)
        self._memory.committed(self._host, self._rules.generation)

    def _routers(self) -> list[str]:
        """The namespaces that carry our mark."""
        found = list[str]()
        for name in listed(names.NAMESPACE):
            try:
                found += [name] if loopback_alias(name) == Namespace(name, self._owner).alias else []
            except DataplaneError:
                if exists(name):
                    raise
        return found
