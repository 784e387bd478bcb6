"""The difference between what is installed and what should be, as a value: print it, count it, test it, throw it away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypedDict, TypeVar

__all__ = ["Entry", "EntryDocument", "Plan", "PlanDocument", "TargetDocument", "TargetPlan", "diff"]


class Entry(Protocol):
    """One native object: a map element, a flow, a rule, a link. Entries of one key are equal or one replaces the other."""

    @property
    def target(self) -> str:
        """What one native transaction covers: a namespace, a bridge, a database."""
        ...

    @property
    def key(self) -> str:
        """Identity, unique in the backend and stable over restarts."""
        ...

    @property
    def text(self) -> str:
        """The entry in the data plane's own words, for people."""
        ...


class EntryDocument(TypedDict):
    """An entry, for a reader of JSON."""

    key: str
    text: str


class TargetDocument(TypedDict):
    """What changes in one target; `replace` holds the new entries."""

    target: str
    create: list[EntryDocument]
    replace: list[EntryDocument]
    delete: list[EntryDocument]


class PlanDocument(TypedDict):
    """A plan, for a reader of JSON."""

    empty: bool
    targets: list[TargetDocument]


E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class TargetPlan(Generic[E]):
    """What changes in one target; `replace` holds pairs (old, new).

    `fresh` are the keys of what is created for the first time, None: all of it is. Whatever else is created was there
    before, and what the data plane kept in it, like a counter, is lost. `last`: it holds what ended mappings had counted,
    and is carried out when that is in the accounts.
    """

    target: str
    create: tuple[E, ...] = ()
    replace: tuple[tuple[E, E], ...] = ()
    delete: tuple[E, ...] = ()
    fresh: frozenset[str] | None = None
    last: bool = False

    def __len__(self) -> int:
        return len(self.create) + len(self.replace) + len(self.delete)

    def inverse(self) -> TargetPlan[E]:
        """What takes this back."""
        swapped = tuple((new, old) for old, new in self.replace)
        return TargetPlan(self.target, create=self.delete, replace=swapped, delete=self.create, fresh=frozenset())

    def without(self, keys: frozenset[str]) -> TargetPlan[E]:
        """The same but for the entries of these keys."""
        return TargetPlan(
            self.target,
            create=tuple(entry for entry in self.create if entry.key not in keys),
            replace=tuple(pair for pair in self.replace if pair[1].key not in keys),
            delete=tuple(entry for entry in self.delete if entry.key not in keys),
            fresh=self.fresh,
        )

    def as_json(self) -> TargetDocument:
        """The shape that the command line prints."""
        return {
            "target": self.target,
            "create": [_shown(entry) for entry in self.create],
            "replace": [_shown(new) for _, new in self.replace],
            "delete": [_shown(entry) for entry in self.delete],
        }


@dataclass(frozen=True, slots=True)
class Plan(Generic[E]):
    """A difference, target by target in name order; empty is falsy."""

    targets: tuple[TargetPlan[E], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.targets)

    def __len__(self) -> int:
        return sum(len(target) for target in self.targets)

    def __str__(self) -> str:
        return "\n".join(line for target in self.targets for line in _lines(target)) or "nothing to do"

    def repairing(self, fresh: frozenset[str]) -> Plan[E]:
        """The same, of which all that is created was there before, but for the keys of `fresh`."""
        return Plan(tuple(replace(target, fresh=fresh) for target in self.targets))

    def as_json(self) -> PlanDocument:
        """The shape that the command line prints."""
        return {"empty": not self, "targets": [target.as_json() for target in self.targets]}


def diff(actual: Mapping[str, E], desired: Mapping[str, E]) -> Plan[E]:
    """Compare two maps of entries by key; entries within a target come in the order of the maps."""
    create: dict[str, list[E]] = defaultdict(list)
    replace: dict[str, list[tuple[E, E]]] = defaultdict(list)
    delete: dict[str, list[E]] = defaultdict(list)
    for key, entry in desired.items():
        old = actual.get(key)
        if old is None:
            create[entry.target].append(entry)
        elif old != entry:
            replace[entry.target].append((old, entry))
    for key, entry in actual.items():
        if key not in desired:
            delete[entry.target].append(entry)
    return Plan(
        tuple(
            TargetPlan(name, tuple(create[name]), tuple(replace[name]), tuple(delete[name]))
            for name in sorted({*create, *replace, *delete})
        )
    )


def _shown(entry: Entry) -> EntryDocument:
    return {"key": entry.key, "text": entry.text}


def _lines(target: TargetPlan[E]) -> list[str]:
    return [
        f"{target.target}:",
        *(f"  + {entry.text}" for entry in target.create),
        *(f"  ~ {old.text}  ->  {new.text}" for old, new in target.replace),
        *(f"  - {entry.text}" for entry in target.delete),
    ]
