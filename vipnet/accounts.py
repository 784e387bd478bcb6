"""What an EIP had counted in mappings that have ended: kept by the store, so that its counters never go back while it exists.

The data plane counts in the element of a mapping, which goes with it. When a change ends a mapping, the backend leaves what
it had counted in place until the revision is programmed; the transaction that marks the revision adds it to the EIP's
account. A revision is marked once, whoever does it, so nothing is lost and nothing counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vipnet.views import Counters

__all__ = ["Account", "Closing", "added"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What ended mappings of an EIP had counted; `revision` is the last one that ended any."""

    counters: Counters
    revision: int


@dataclass(frozen=True, slots=True)
class Closing:
    """What a revision puts into the accounts: by EIP id what its mapping had counted. Accounts of EIPs that are `gone` go."""

    counted: Mapping[str, Counters] = field(default_factory=dict[str, Counters])
    gone: frozenset[str] = frozenset()


def added(account: Account | None, counters: Counters, revision: int) -> Account:
    """The account after a revision has ended another mapping."""
    return Account(counters=counters if account is None else account.counters + counters, revision=revision)
