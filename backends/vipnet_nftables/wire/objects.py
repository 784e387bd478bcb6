"""Tables, chains, sets and rules: read, compared, and made again from what was read.

The declaration stays in nft's words, and nft translates it once, in a namespace that nobody sees. What the kernel then says of
it is the template by which others are compared and made: the same attributes go both ways, but for those that only the
kernel gives. Sets without a name, of one rule each, are called by the order of their rules.
"""

from __future__ import annotations

import functools
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.process import run
from vipnet_kernel.namespaces import scratch
from vipnet_kernel.netlink import NETFILTER, attribute, attributes, talking
from vipnet_nftables.ruleset import TABLES, Kind, declaration
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import InterruptedDumpError, asked, dumped, each
from vipnet_nftables.wire.batch import Message
from vipnet_nftables.wire.elements import TABLE, adding, dumped_elements

__all__ = ["Declared", "created", "deleted", "kind_of", "read_declared", "rebuilt", "template"]

_Name = tuple[str, str]
"""A family, and the name of a chain or set of our table of that family."""

_LOOKS: Final = 5

_KEPT_OF_CHAIN: Final = (header.CHAIN_TABLE, header.CHAIN_NAME, header.CHAIN_HOOK, header.CHAIN_POLICY, header.CHAIN_TYPE)
_KEPT_OF_RULE: Final = (header.RULE_TABLE, header.RULE_CHAIN, header.RULE_EXPRESSIONS)
_KEPT_OF_SET: Final = (
    header.SET_TABLE,
    header.SET_NAME,
    header.SET_FLAGS,
    header.SET_KEY_TYPE,
    header.SET_KEY_LEN,
    header.SET_DATA_TYPE,
    header.SET_DATA_LEN,
    header.SET_DESC,
    header.SET_TIMEOUT,
    header.SET_GC_INTERVAL,
    header.SET_USERDATA,
    header.SET_OBJ_TYPE,
    header.SET_EXPR,
    header.SET_EXPRESSIONS,
)


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A set that has no name of its own: what it is, without its name, and its elements, encoded."""

    attributes: bytes
    elements: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """Our tables in one namespace, without the elements of named sets; equal where they do the same.

    Attributes are those that make it again. `sizes` of sets, 0: without bound, and `flags` of tables are beside that.
    """

    families: frozenset[str]
    chains: Mapping[_Name, bytes]
    sets: Mapping[_Name, bytes]
    rules: Mapping[_Name, tuple[bytes, ...]]
    anonymous: Mapping[_Name, Anonymous]
    sizes: Mapping[_Name, int] = field(compare=False)
    flags: Mapping[str, int] = field(compare=False)


# --------------------------------------------------------------------------------------------------- reading


def read_declared(link: socket.socket, families: Sequence[str]) -> Declared:
    """Read our tables of some families; what is no table, chain, set or rule is not looked at. Raises OSError, DataplaneError."""
    for _ in range(_LOOKS):
        with suppress(InterruptedDumpError):
            return _read(link, families)
    raise DataplaneError("rules cannot be read: others keep changing them")


def _read(link: socket.socket, families: Sequence[str]) -> Declared:
    tables = {family: found for family in families if (found := _table(link, family)) is not None}
    chains: dict[_Name, bytes] = {}
    sets: dict[_Name, bytes] = {}
    sizes: dict[_Name, int] = {}
    hidden: dict[_Name, Anonymous] = {}
    rules: dict[_Name, list[bytes]] = defaultdict(list)
    for family in tables:
        for found in _all(link, family, header.GETCHAIN, header.CHAIN_TABLE):
            chains[family, _text(found[header.CHAIN_NAME])] = _kept(found, _KEPT_OF_CHAIN)
        for found in _all(link, family, header.GETSET, header.SET_TABLE):
            name = family, _text(found[header.SET_NAME])
            if _number(found.get(header.SET_FLAGS)) & header.SET_ANONYMOUS:
                hidden[name] = _anonymous(link, name, found)
            else:
                sets[name], sizes[name] = _unsized(found)
        for found in _all(link, family, header.GETRULE, header.RULE_TABLE):
            rules[family, _text(found[header.RULE_CHAIN])].append(_kept(found, _KEPT_OF_RULE))
    flags = {family: _number(found.get(header.TABLE_FLAGS)) for family, found in tables.items()}
    ordered, anonymous = _renamed({name: rules[name] for name in sorted(rules)}, hidden)
    return Declared(frozenset(tables), chains, sets, ordered, anonymous, sizes, flags)


def _table(link: socket.socket, family: str) -> dict[int, bytes] | None:
    try:
        (answer,) = asked(link, header.GETTABLE, _of_table(family, header.TABLE_NAME))
    except FileNotFoundError:
        return None
    return attributes(answer)


def _all(link: socket.socket, family: str, kind: int, table: int) -> list[dict[int, bytes]]:
    """All objects of a kind in our table."""
    rows = map(attributes, dumped(link, kind, _of_table(family, table)))
    return [row for row in rows if _text(row[table]) == TABLE]  # kernels differ in whether they look at what is asked


def _anonymous(link: socket.socket, name: _Name, found: Mapping[int, bytes]) -> Anonymous:
    elements = [attribute(header.LIST_ELEM, element) for element in dumped_elements(link, *name)]
    rest = _kept(found, [kind for kind in _KEPT_OF_SET if kind != header.SET_NAME])
    return Anonymous(rest, tuple(sorted(elements, key=_by_interval)))


def _by_interval(element: bytes) -> tuple[bytes, bool]:
    """Intervals from below, the end of one before the beginning of the next: so the kernel takes them."""
    found = attributes(element[4:])
    return found[header.SET_ELEM_KEY], header.SET_ELEM_FLAGS not in found


def _unsized(found: Mapping[int, bytes]) -> tuple[bytes, int]:
    """What a set is but for its size, and that."""
    described = attributes(found.get(header.SET_DESC, b""))
    size = _number(described.pop(header.SET_DESC_SIZE, None))
    rest = {**found, header.SET_DESC: b"".join(attribute(kind, data) for kind, data in described.items())}
    return _kept(rest, [kind for kind in _KEPT_OF_SET if rest.get(kind)]), size


def _renamed(
    rules: Mapping[_Name, Sequence[bytes]], hidden: Mapping[_Name, Anonymous]
) -> tuple[dict[_Name, tuple[bytes, ...]], dict[_Name, Anonymous]]:
    """Call sets without a name by the order of the rules that they are of."""
    anonymous: dict[_Name, Anonymous] = {}

    def renamed(family: str, name: bytes) -> bytes:
        if (known := hidden.get((family, _text(name)))) is None:
            return name
        called = f"__set{len(anonymous)}"
        anonymous[family, called] = known
        return f"{called}\0".encode()

    ordered = {where: tuple(_with_sets(rule, partial(renamed, where[0])) for rule in some) for where, some in rules.items()}
    return ordered, anonymous


def _with_sets(rule: bytes, renamed: Callable[[bytes], bytes]) -> bytes:
    """A rule whose lookups name other sets."""
    found = attributes(rule)
    expressions = (_expression(body, renamed) for _, body in each(found.get(header.RULE_EXPRESSIONS, b"")))
    return _kept({**found, header.RULE_EXPRESSIONS: b"".join(expressions)}, _KEPT_OF_RULE)


def _expression(body: bytes, renamed: Callable[[bytes], bytes]) -> bytes:
    found = attributes(body)
    if found[header.EXPR_NAME] == b"lookup\0":
        data = attributes(found[header.EXPR_DATA])
        data[header.LOOKUP_SET] = renamed(data[header.LOOKUP_SET])
        found[header.EXPR_DATA] = b"".join(attribute(kind, value) for kind, value in data.items())
    return attribute(header.LIST_ELEM, b"".join(attribute(kind, value) for kind, value in found.items()))


def _kept(found: Mapping[int, bytes], kinds: Iterable[int]) -> bytes:
    return b"".join(attribute(kind, found[kind]) for kind in kinds if kind in found)


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _of_table(family: str, table: int) -> bytes:
    return _genmsg(family) + attribute(table, f"{TABLE}\0".encode())


def _genmsg(family: str) -> bytes:
    return bytes((header.FAMILIES[family], 0, 0, 0))


# --------------------------------------------------------------------------------------------------- templates


@functools.cache
def template(kind: Kind) -> Declared:
    """What a kind of namespace should have, as nft and this kernel understand its declaration. Raises DataplaneError."""
    with scratch():
        done = run(["nft", "-f", "-"], stdin=declaration(kind), timeout=120, check=False)
        if done.returncode != 0:
            raise DataplaneError(f"this kernel does not take the rules of kind {kind}: {done.stderr.strip() or done.returncode}")
        with talking("", NETFILTER) as link:
            return read_declared(link, TABLES[kind])


def kind_of(found: Declared, kinds: Iterable[Kind]) -> Kind | None:
    """Which kind's rules, all of them and nothing else, a namespace has."""
    return next((kind for kind in kinds if template(kind) == found), None)


# --------------------------------------------------------------------------------------------------- making


def created(wanted: Declared, *, sizes: Mapping[_Name, int] = MappingProxyType({}), flags: int = 0) -> list[Message]:
    """What makes tables where there are none. `sizes`: for how many elements a set is to have room; `flags`: of the tables."""
    return [
        *(Message(header.NEWTABLE, header.CREATE, _named_table(family, flags)) for family in sorted(wanted.families)),
        *(_made(header.NEWCHAIN, name, chain) for name, chain in wanted.chains.items()),
        *(_made_set(name, found, at, sizes.get(name, 0)) for at, (name, found) in enumerate(wanted.sets.items())),
        *_rules(wanted),
    ]


def rebuilt(found: Declared, wanted: Declared) -> list[Message] | None:
    """What puts tables right in place, around sets that are as they should be, whose elements stay.

    None where only new tables can do it: something that is wanted is there in another shape. A chain's policy is put right by
    asking for it.
    """
    if not found.families or any(found.sets.get(name, one) != one for name, one in wanted.sets.items()):
        return None
    if any(_shape(found.chains.get(name, one)) != _shape(one) for name, one in wanted.chains.items()):
        return None
    families = sorted(wanted.families - found.families)
    sets = {name: one for name, one in wanted.sets.items() if name not in found.sets}
    surplus, empty = found.sets.keys() - wanted.sets, found.chains.keys() - wanted.chains
    return [
        *(Message(header.NEWTABLE, header.CREATE, _named_table(family, 0)) for family in families),
        *(Message(header.DELRULE, 0, _of_table(family, header.RULE_TABLE)) for family in sorted(found.families)),
        *(_gone(header.DELSET, header.SET_TABLE, header.SET_NAME, name) for name in surplus),  # maps lead to chains
        *(_gone(header.DELCHAIN, header.CHAIN_TABLE, header.CHAIN_NAME, name) for name in empty),
        *(_made(header.NEWCHAIN, name, one) for name, one in wanted.chains.items() if found.chains.get(name) != one),
        *(_made_set(name, one, at, 0) for at, (name, one) in enumerate(sets.items())),
        *_rules(wanted),
    ]


def deleted(families: Iterable[str]) -> list[Message]:
    """What takes our tables away, and is no error where they are not."""
    return [
        message
        for family in families
        for message in (
            Message(header.NEWTABLE, header.CREATE, _named_table(family, 0)),
            Message(header.DELTABLE, 0, _of_table(family, header.TABLE_NAME)),
        )
    ]


def _rules(wanted: Declared) -> Iterator[Message]:
    for at, ((family, name), one) in enumerate(wanted.anonymous.items(), start=len(wanted.sets)):
        named = attribute(header.SET_NAME, f"{name}\0".encode())
        yield Message(header.NEWSET, header.CREATE, _genmsg(family) + one.attributes + named + _set_id(at))
        yield from (message for message, _ in adding(family, name, one.elements))
    for (family, _), rules in wanted.rules.items():
        yield from (Message(header.NEWRULE, header.CREATE | header.APPEND, _genmsg(family) + rule) for rule in rules)


def _named_table(family: str, flags: int) -> bytes:
    return _of_table(family, header.TABLE_NAME) + (attribute(header.TABLE_FLAGS, flags.to_bytes(4, "big")) if flags else b"")


def _made(kind: int, name: _Name, one: bytes) -> Message:
    return Message(kind, header.CREATE, _genmsg(name[0]) + one)


def _made_set(name: _Name, one: bytes, at: int, size: int) -> Message:
    found = attributes(one)
    if size:
        room = attribute(header.SET_DESC_SIZE, size.to_bytes(4, "big"))
        found[header.SET_DESC] = found.get(header.SET_DESC, b"") + room
    return Message(header.NEWSET, header.CREATE, _genmsg(name[0]) + _kept(found, found) + _set_id(at))


def _set_id(at: int) -> bytes:
    """A number that is no other set's in the same transaction."""
    return attribute(header.SET_ID, (at + 1).to_bytes(4, "big"))


def _gone(kind: int, table: int, name: int, what: _Name) -> Message:
    return Message(kind, 0, _of_table(what[0], table) + attribute(name, f"{what[1]}\0".encode()))


def _shape(chain: bytes) -> dict[int, bytes]:
    """What a chain is but for its policy."""
    return {kind: data for kind, data in attributes(chain).items() if kind != header.CHAIN_POLICY}
