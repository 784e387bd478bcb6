"""Elements as they are installed, put together to entries.

A translation that is not whole is an entry, too, of the elements that are there: it is replaced by the whole.
"""

from __future__ import annotations

import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from vipnet.errors import DataplaneError
from vipnet_kernel import names
from vipnet_nftables.columns import ElementEntry, leg_key, standard_limit
from vipnet_nftables.entries import COUNTERS, LIMITS, Count, Element, Guard, Nat, Torn, limit_words
from vipnet_nftables.metering import owner_of
from vipnet_nftables.wire.asking import InterruptedDumpError
from vipnet_nftables.wire.elements import Limit, SetElement, decoded, dumped_elements
from vipnet_nftables.wire.fields import layouts, unpacked

__all__ = ["Found", "assembled", "contents", "dumped_set", "limit_in_words"]

Found = Mapping[tuple[str, str], Mapping[bytes, SetElement]]
"""The elements of sets, by family and name of the set and by key."""

_PERIODS: Final = {1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}
_EIPS: Final = (("ip", "vn_eips"), ("arp", "vn_eips"))
_LOOKS: Final = 5


def _by_eip(key: bytes, _: Mapping[bytes, bytes]) -> bytes:
    return key[-4:]


def _by_vip(key: bytes, eip_of_vip: Mapping[bytes, bytes]) -> bytes | None:
    return eip_of_vip.get(key)


_EIP_OF: Final = {
    ("ip", "vn_eip_vip"): _by_eip,
    ("ip", "vn_vip_eip"): _by_vip,
    ("ip", "vn_vip_out"): _by_vip,
    **{("ip", name): _by_eip for name in LIMITS},
    **dict.fromkeys(_EIPS, _by_eip),
}
"""Which EIP an element of a set is about, by its key and by the EIPs of VIPs."""


def contents(link: socket.socket, families: Sequence[str]) -> Found:
    """Read the elements of all sets of ours that a namespace has. Raises OSError and DataplaneError."""
    return {where: there for where in layouts() if where[0] in families and (there := dumped_set(link, *where))}


def dumped_set(link: socket.socket, family: str, name: str) -> dict[bytes, SetElement]:
    """All elements of a set, by key. Raises OSError, and DataplaneError when others keep changing it."""
    for _ in range(_LOOKS):
        with suppress(InterruptedDumpError):
            return {one.key: one for one in map(decoded, dumped_elements(link, family, name))}
    raise DataplaneError(f"elements of set {family} {name} cannot be read: others keep changing them")


def assembled(namespace: str, found: Found) -> Iterator[ElementEntry]:
    """The entries of a namespace ("": the host's). Guards are said to be intact: that is for others to know."""
    left = {where: dict(elements) for where, elements in found.items()}
    for counter in COUNTERS:
        yield from (_count(namespace, counter, one) for one in left.pop(("ip", counter), {}).values())
    yield from _nats(namespace, left)
    yield from _torn(namespace, left)
    for key in left.pop(("bridge", "vn_bridges"), {}):
        yield Guard(unpacked(key, ("ifname",)).strip('"'))
    for (family, name), elements in left.items():
        yield from (_element(namespace, family, name, one) for one in elements.values())


def _count(namespace: str, counter: str, one: SetElement) -> Count:
    owner, _ = owner_of(one.comment)
    return Count(namespace, "vn_rx_count" if counter == "vn_rx_count" else "vn_tx_count", _ip(one.key), owner)


def _nats(namespace: str, left: dict[tuple[str, str], dict[bytes, SetElement]]) -> Iterator[Nat]:
    """The translations that are whole; their elements are taken out of `left`."""
    there, back, out = (left.get(("ip", name), {}) for name in ("vn_eip_vip", "vn_vip_eip", "vn_vip_out"))
    eips = [left.get(where, {}) for where in _EIPS]
    limits = [left.get(("ip", name), {}) for name in LIMITS]
    for eip, vip in [(key, one.value) for key, one in there.items()]:
        if vip not in back or back[vip].value != eip or vip not in out:
            continue
        uplink = int.from_bytes(out[vip].value, sys.byteorder) - 1
        leg = leg_key(names.uplink_leg(uplink), _ip(eip))
        rate = _rate([some.get(eip) for some in limits])
        if rate is None or not all(leg in some for some in eips):
            continue
        for some, key in ((there, eip), (back, vip), (out, vip), *((one, leg) for one in eips), *((one, eip) for one in limits)):
            some.pop(key, None)
        yield Nat(namespace, _ip(eip), _ip(vip), uplink, rate)


def _torn(namespace: str, left: dict[tuple[str, str], dict[bytes, SetElement]]) -> Iterator[Torn]:
    """What is left of translations, by the EIP that it is about; it is taken out of `left`."""
    back = {key: one.value for key, one in left.get(("ip", "vn_vip_eip"), {}).items()}
    eip_of_vip = {one.value: key for key, one in left.get(("ip", "vn_eip_vip"), {}).items()} | back
    pieces: dict[bytes, list[Element]] = defaultdict(list)
    for (family, name), eip_of in _EIP_OF.items():
        for key, one in list(left.get((family, name), {}).items()):
            if (eip := eip_of(key, eip_of_vip)) is not None:
                pieces[eip].append(_element(namespace, family, name, one))
                del left[family, name][key]
    yield from (Torn(namespace, _ip(eip), tuple(some)) for eip, some in pieces.items())


def _rate(limits: list[SetElement | None]) -> int | None:
    """What both limits let pass in bytes a second, 0: there are none; None: they are not as they are set."""
    rx, tx = (None if one is None else one.limit for one in limits)
    if limits == [None, None]:
        return 0
    return rx.rate if rx is not None and rx == tx == standard_limit(rx.rate) else None


def _element(namespace: str, family: str, name: str, one: SetElement) -> Element:
    layout = layouts()[family, name]
    words = unpacked(one.key, layout.key)
    value = unpacked(one.value, (layout.value,)) if layout.value else ""
    return Element(namespace, family, name, words, value, limit=limit_in_words(one.limit))


def _ip(data: bytes) -> int:
    return int.from_bytes(data, "big")


def limit_in_words(there: Limit | None) -> str:
    """A limit in nft's words, "" for none."""
    if there is None:
        return ""
    return limit_words(there.rate, burst=there.burst, per=_PERIODS.get(there.unit, f"{there.unit} seconds"), over=there.over)
