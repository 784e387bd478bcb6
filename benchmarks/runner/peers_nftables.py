"""Contestants of nftables beside the program nft: libnftables, `nft add element`, and pyroute2's NFTables.

Each adds the very elements that vipnet adds, with their limits and counters.
"""

from __future__ import annotations

import re
import socket
import struct
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib import import_module
from typing import Any, Final

from nft_scene import Scene, declared, grouped, in_words, nft

from runner.changes import Change, timed
from runner.on_nftables import NftChange, NftProgram, installed
from vipnet_kernel.namespaces import entered
from vipnet_nftables.columns import ElementEntry
from vipnet_nftables.entries import Element, NativeEntry

__all__ = ["LibraryChange", "LibraryProgram", "NetlinkChange", "NetlinkProgram", "WordsChange"]

_FAMILIES: Final = {"ip": 2, "arp": 3}
_NAME: Final = 16
"""Bytes of an interface's name in a key."""
_TOGETHER: Final = 400
"""Elements of one message: the length of its attribute has 16 bits."""
_RATE: Final = re.compile(r"over (\d+) bytes/second burst (\d+) bytes")

_Sets = Mapping[tuple[str, str], Sequence[Any]]
"""Elements for pyroute2, by family and set."""


class LibraryProgram(NftProgram):
    """libnftables by its Python module, in this process: the text that `nft -f` reads from a file, in one `cmd`."""

    def load(self, router: str, path: str) -> float:
        with open(path) as file:  # noqa: PTH123
            text = file.read()
        library = _library(router)
        return timed(lambda: _told(library, text))


class _Adding(NftChange):
    """Adds the elements of one EIP more, which are looked for by key each time."""

    def made(self, change: Change) -> float:
        entries = self.scene.backend.compile(change.after)
        took = timed(self.work(entries.values()))
        installed(self.scene, entries)
        change.undone.carry_out(self.scene)
        return took

    @abstractmethod
    def work(self, entries: Collection[NativeEntry]) -> Callable[[], object]:
        """Get ready to add entries, and return what does it."""


class LibraryChange(_Adding):
    """libnftables with the elements of one EIP more as text, in one `cmd` of a handle that stays open."""

    most = 25

    def prepare(self) -> None:
        self._library = _library(self.scene.router)

    def work(self, entries: Collection[NativeEntry]) -> Callable[[], object]:
        text = grouped(in_words(entries))
        return lambda: _told(self._library, text)


class WordsChange(_Adding):
    """`nft add element` with the elements of one EIP more on the command line.

    Option `calls`: "one" has all commands as arguments of one nft, which is one transaction; "each" starts nft for every set.
    """

    def work(self, entries: Collection[NativeEntry]) -> Callable[[], object]:
        lines = grouped(in_words(entries)).splitlines()
        calls = [";".join(lines)] if self.options["calls"] == "one" else lines
        return lambda: [nft(self.scene.router, line) for line in calls]


class NetlinkProgram(NftProgram):
    """pyroute2: `NFTables.set_elems`, a message of 400 elements at a time; each is a transaction.

    The maps are made large enough for so many by nft, which does not count.
    """

    def program(self, scene: Scene) -> float:
        elements = _for_netlink(scene.backend.compile(scene.mappings(0, self.scale)).values())
        nft(scene.router, "-f", "-", text=declared(scene.router, self.scale))
        with ExitStack() as stack:
            links = _links(scene.router, stack)
            return timed(lambda: _put(links, elements))


class NetlinkChange(_Adding):
    """pyroute2: `NFTables.set_elems` for each set that one EIP more has an element in; each is a transaction."""

    most = 25

    def prepare(self) -> None:
        self._links = _links(self.scene.router, self.stack)

    def work(self, entries: Collection[NativeEntry]) -> Callable[[], object]:
        elements = _for_netlink(entries)
        return lambda: _put(self._links, elements)


def _library(router: str) -> Any:
    """A handle of libnftables, whose socket is in the namespace that it is made in."""
    with entered(router):
        return import_module("nftables").Nftables()


def _told(library: Any, text: str) -> None:
    status, _, said = library.cmd(text)
    assert status == 0, said[:300]


def _links(router: str, stack: ExitStack) -> dict[str, Any]:
    """NFTables by family: a family is of the whole handle."""
    tables = import_module("pyroute2.nftables.main").NFTables
    with entered(router):
        return {name: stack.enter_context(closing(tables(nfgen_family=number))) for name, number in _FAMILIES.items()}


def _put(links: Mapping[str, Any], elements: _Sets) -> None:
    set_of = import_module("pyroute2.nftables.main").NFTSet
    for (family, name), some in elements.items():
        where = set_of(table="vipnet", name=name)
        for first in range(0, len(some), _TOGETHER):
            links[family].set_elems("add", set=where, elements=some[first : first + _TOGETHER])


def _for_netlink(entries: Collection[NativeEntry]) -> _Sets:
    found: dict[tuple[str, str], list[Any]] = {}
    kind = _element_kind()
    for part in (part for entry in entries if isinstance(entry, ElementEntry) for part in entry.parts()):
        found.setdefault((part.family, part.set), []).append(kind(part))
    return found


def _element_kind() -> Callable[[Element], Any]:
    """The class of pyroute2's elements, and what they lack: a map's data, and limits; its messages have both."""
    base: Any = import_module("pyroute2.nftables.main").NFTSetElem

    class Whole(base):  # type: ignore[misc]
        def __init__(self, part: Element) -> None:
            base.__init__(self, value=_key(part.element), comment=part.owner or None)
            self.more = list(_more(part))

        def as_netlink(self, _modifier: object) -> dict[str, Any]:
            return {"attrs": [*base.as_netlink(self, None)["attrs"], *self.more]}

    return Whole


def _more(part: Element) -> Iterator[list[Any]]:
    if part.value:
        data = _address(part.value) if "." in part.value else struct.pack("=I", int(part.value))
        yield ["NFTA_SET_ELEM_DATA", {"attrs": [("NFTA_DATA_VALUE", data)]}]
    if limit := _RATE.search(part.limit):
        names = ("RATE", "BURST", "UNIT", "TYPE", "FLAGS")  # in bytes a second, what is over it
        values = zip(names, (int(limit[1]), int(limit[2]), 1, 1, 1), strict=True)
        attributes = [(f"NFTA_LIMIT_{name}", value) for name, value in values]
        named = [("NFTA_EXPR_NAME", "limit"), ("NFTA_EXPR_DATA", {"attrs": attributes})]
        yield ["NFTA_SET_ELEM_EXPR", {"attrs": named}]


def _key(words: str) -> bytes:
    device, _, address = words.rpartition(" . ")
    return (device.strip('"').encode().ljust(_NAME, b"\0") if device else b"") + _address(address)


def _address(text: str) -> bytes:
    return socket.inet_aton(text)
