"""Tables, chains, sets and rules: made, made again, taken away."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from vipnet_kernel.netlink import attribute, attributes
from vipnet_nftables.wire import header
from vipnet_nftables.wire.batch import Message
from vipnet_nftables.wire.elements import adding
from vipnet_nftables.wire.objects import Declared, Name, kept, of_family, of_table

__all__ = ["created", "deleted", "flagged", "rebuilt", "resized"]


def created(wanted: Declared, *, sizes: Mapping[Name, int] = MappingProxyType({}), flags: int = 0) -> list[Message]:
    """What makes tables where there are none. `sizes`: for how many elements a set is to have room; `flags`: of the tables."""
    return [
        *(Message(header.NEWTABLE, header.CREATE, _named_table(family, flags)) for family in sorted(wanted.families)),
        *(_made(header.NEWCHAIN, name, chain) for name, chain in wanted.chains.items()),
        *(_made_set(name, found, at, sizes.get(name, 0)) for at, (name, found) in enumerate(wanted.sets.items())),
        *_rules(wanted),
    ]


def rebuilt(
    found: Declared, wanted: Declared, *, sizes: Mapping[Name, int] = MappingProxyType({}), flags: int = 0
) -> list[Message] | None:
    """What puts tables right in place, around sets that are as they should be, whose elements and sizes stay.

    None where only new tables can do it: something that is wanted is there in another shape. A chain's policy is put right by
    asking for it. `flags`: of tables that are missing.
    """
    if not found.families or any(found.sets.get(name, one) != one for name, one in wanted.sets.items()):
        return None
    if any(_shape(found.chains.get(name, one)) != _shape(one) for name, one in wanted.chains.items()):
        return None
    families = sorted(wanted.families - found.families)
    missing = {name: one for name, one in wanted.sets.items() if name not in found.sets}
    surplus, empty = found.sets.keys() - wanted.sets, found.chains.keys() - wanted.chains
    return [
        *(Message(header.NEWTABLE, header.CREATE, _named_table(family, flags)) for family in families),
        *(Message(header.DELRULE, 0, of_table(family, header.RULE_TABLE)) for family in sorted(found.families)),
        *(_gone(header.DELSET, header.SET_TABLE, header.SET_NAME, name) for name in surplus),  # maps lead to chains
        *(_gone(header.DELCHAIN, header.CHAIN_TABLE, header.CHAIN_NAME, name) for name in empty),
        *(_made(header.NEWCHAIN, name, one) for name, one in wanted.chains.items() if found.chains.get(name) != one),
        *(_made_set(name, one, at, sizes.get(name, 0)) for at, (name, one) in enumerate(missing.items())),
        *_rules(wanted),
    ]


def resized(there: Declared, rooms: Mapping[Name, tuple[int, Sequence[bytes]]]) -> list[Message]:
    """What gives sets that are there other sizes, with all their encoded elements; rules come again as they are.

    Packets meet the old sets until they meet the new ones: all rules that look into them change over in one transaction.
    """
    families = sorted({family for family, _ in rooms})
    return [
        *(Message(header.DELRULE, 0, of_table(family, header.RULE_TABLE)) for family in families),
        *(_gone(header.DELSET, header.SET_TABLE, header.SET_NAME, name) for name in rooms),
        *(_made_set(name, there.sets[name], at, size) for at, (name, (size, _)) in enumerate(rooms.items())),
        *(message for name, (_, elements) in rooms.items() for message, _ in adding(*name, elements)),
        *_rules(there, families),
    ]


def deleted(families: Iterable[str]) -> list[Message]:
    """What takes our tables away, and is no error where they are not."""
    return [
        message
        for family in families
        for message in (
            Message(header.NEWTABLE, header.CREATE, _named_table(family, 0)),
            Message(header.DELTABLE, 0, of_table(family, header.TABLE_NAME)),
        )
    ]


def flagged(families: Iterable[str], flags: int) -> list[Message]:
    """What gives tables that are there, or are made by it, other flags."""
    return [Message(header.NEWTABLE, header.CREATE, _named_table(family, flags)) for family in families]


def _rules(wanted: Declared, families: Collection[str] | None = None) -> Iterator[Message]:
    """Rules with the sets that are of one each, of some families or of all."""
    for at, ((family, name), one) in enumerate(wanted.anonymous.items(), start=len(wanted.sets)):
        if families is None or family in families:
            named = attribute(header.SET_NAME, f"{name}\0".encode())
            yield Message(header.NEWSET, header.CREATE, of_family(family) + one.attributes + named + _set_id(at))
            yield from (message for message, _ in adding(family, name, one.elements))
    for (family, _), rules in wanted.rules.items():
        if families is None or family in families:
            yield from (Message(header.NEWRULE, header.CREATE | header.APPEND, of_family(family) + rule) for rule in rules)


def _named_table(family: str, flags: int) -> bytes:
    return of_table(family, header.TABLE_NAME) + (attribute(header.TABLE_FLAGS, flags.to_bytes(4, "big")) if flags else b"")


def _made(kind: int, name: Name, one: bytes) -> Message:
    return Message(kind, header.CREATE, of_family(name[0]) + one)


def _made_set(name: Name, one: bytes, at: int, size: int) -> Message:
    found = attributes(one)
    if size:
        room = attribute(header.SET_DESC_SIZE, size.to_bytes(4, "big"))
        found[header.SET_DESC] = found.get(header.SET_DESC, b"") + room
    return Message(header.NEWSET, header.CREATE, of_family(name[0]) + kept(found, found) + _set_id(at))


def _set_id(at: int) -> bytes:
    """A number that is no other set's in the same transaction."""
    return attribute(header.SET_ID, (at + 1).to_bytes(4, "big"))


def _gone(kind: int, table: int, name: int, what: Name) -> Message:
    return Message(kind, 0, of_table(what[0], table) + attribute(name, f"{what[1]}\0".encode()))


def _shape(chain: bytes) -> dict[int, bytes]:
    """What a chain is but for its policy."""
    return {kind: data for kind, data in attributes(chain).items() if kind != header.CHAIN_POLICY}
