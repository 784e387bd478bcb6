"""Tables, chains, sets and rules: read and compared.

The declaration stays in nft's words, and nft translates it once, in a namespace that nobody sees. What the kernel then says of
it is the template by which others are compared and made: the same attributes go both ways, but for those that only the
kernel gives. Sets without a name, of one rule each, are called by the order of their rules.
"""

from __future__ import annotations

import functools
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from vipnet.errors import DataplaneError
from vipnet.process import run
from vipnet_kernel.namespaces import scratch
from vipnet_kernel.netlink import NETFILTER, attribute, attributes, talking
from vipnet_nftables.ruleset import TABLES, Kind, declaration
from vipnet_nftables.wire import header
from vipnet_nftables.wire.asking import InterruptedDumpError, asked, dumped, each
from vipnet_nftables.wire.elements import TABLE, dumped_elements

__all__ = ["Anonymous", "Declared", "Name", "kept", "kind_of", "of_family", "of_table", "read_declared", "template"]

Name = tuple[str, str]
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
    chains: Mapping[Name, bytes]
    sets: Mapping[Name, bytes]
    rules: Mapping[Name, tuple[bytes, ...]]
    anonymous: Mapping[Name, Anonymous]
    sizes: Mapping[Name, int] = field(compare=False)
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
    chains: dict[Name, bytes] = {}
    sets: dict[Name, bytes] = {}
    sizes: dict[Name, int] = {}
    hidden: dict[Name, Anonymous] = {}
    rules: dict[Name, list[bytes]] = defaultdict(list)
    for family in tables:
        for found in _all(link, family, header.GETCHAIN, header.CHAIN_TABLE):
            chains[family, _text(found[header.CHAIN_NAME])] = kept(found, _KEPT_OF_CHAIN)
        for found in _all(link, family, header.GETSET, header.SET_TABLE):
            name = family, _text(found[header.SET_NAME])
            if _number(found.get(header.SET_FLAGS)) & header.SET_ANONYMOUS:
                hidden[name] = _anonymous(link, name, found)
            else:
                sets[name], sizes[name] = _unsized(found)
        for found in _all(link, family, header.GETRULE, header.RULE_TABLE):
            rules[family, _text(found[header.RULE_CHAIN])].append(kept(found, _KEPT_OF_RULE))
    flags = {family: _number(found.get(header.TABLE_FLAGS)) for family, found in tables.items()}
    ordered, anonymous = _renamed({name: rules[name] for name in sorted(rules)}, hidden)
    return Declared(frozenset(tables), chains, sets, ordered, anonymous, sizes, flags)


def _table(link: socket.socket, family: str) -> dict[int, bytes] | None:
    try:
        (answer,) = asked(link, header.GETTABLE, of_table(family, header.TABLE_NAME))
    except FileNotFoundError:
        return None
    return attributes(answer)


def _all(link: socket.socket, family: str, kind: int, table: int) -> list[dict[int, bytes]]:
    """All objects of a kind in our table."""
    rows = map(attributes, dumped(link, kind, of_table(family, table)))
    return [row for row in rows if _text(row[table]) == TABLE]  # kernels differ in whether they look at what is asked


def _anonymous(link: socket.socket, name: Name, found: Mapping[int, bytes]) -> Anonymous:
    elements = [attribute(header.LIST_ELEM, element) for element in dumped_elements(link, *name)]
    rest = kept(found, [kind for kind in _KEPT_OF_SET if kind != header.SET_NAME])
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
    return kept(rest, [kind for kind in _KEPT_OF_SET if rest.get(kind)]), size


def _renamed(
    rules: Mapping[Name, Sequence[bytes]], hidden: Mapping[Name, Anonymous]
) -> tuple[dict[Name, tuple[bytes, ...]], dict[Name, Anonymous]]:
    """Call sets without a name by the order of the rules that they are of."""
    anonymous: dict[Name, Anonymous] = {}

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
    return kept({**found, header.RULE_EXPRESSIONS: b"".join(expressions)}, _KEPT_OF_RULE)


def _expression(body: bytes, renamed: Callable[[bytes], bytes]) -> bytes:
    found = attributes(body)
    if found[header.EXPR_NAME] == b"lookup\0":
        data = attributes(found[header.EXPR_DATA])
        data[header.LOOKUP_SET] = renamed(data[header.LOOKUP_SET])
        found[header.EXPR_DATA] = b"".join(attribute(kind, value) for kind, value in data.items())
    return attribute(header.LIST_ELEM, b"".join(attribute(kind, value) for kind, value in found.items()))


def kept(found: Mapping[int, bytes], kinds: Iterable[int]) -> bytes:
    """Attributes of some kinds, in their order, encoded."""
    return b"".join(attribute(kind, found[kind]) for kind in kinds if kind in found)


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def of_table(family: str, table: int) -> bytes:
    """How a payload begins that is about our table of a family; `table`: what its name is there."""
    return of_family(family) + attribute(table, f"{TABLE}\0".encode())


def of_family(family: str) -> bytes:
    """An nfgenmsg."""
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
